"""What to expect of each slide, and of what the slides leave out: computed exactly, or read from the kept results."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from ablate import exact
from ablate.analysis.ledger.command import from_json, ours
from ablate.analysis.verdicts.question import number
from ablate.analysis.verdicts.variances import NAMED, truth
from ablate.exercises.episodes import known_mdp
from ablate.sequences import advantages
from ablate.sequences.objective import difficulty_weights
from generated.claims import LECTURE, answers, place
from generated.markdown import escaped, table

Row = tuple[str, str]

CHAIN, PRIZE, BANDIT = "chain (20 steps)", "cost, then prize", "sure two-armed bandit"
MANY = {
    "return": ("return", "none", "none"),
    "reward-to-go": ("rtg", "none", "none"),
    "Q": ("q", "none", "exact"),
    "TD error": ("td", "none", "exact"),
    "Q less V": ("q", "value", "exact"),
}
BASELINES = {
    "reward-to-go": ("rtg", "none", "none"),
    "less leave-one-out": ("rtg", "loo", "none"),
    "less V": ("rtg", "value", "exact"),
    "less the best baseline of the state": ("rtg", "optimal state", "none"),
}


def kept(claim: str, *wheres: str) -> Iterator[Row]:
    """The kept answer of a claim at the places whose names begin so; at all that count where none is named."""
    for found in answers()[claim]["places"]:
        chosen = found["where"].startswith(wheres) if wheres else found["within_the_claim"]
        if chosen and found["effect"] is not None:
            where, answer, effect, unit = place(found)
            yield f"[{claim}](claims.md#{claim.lower()}), {where}", f"{effect} {unit} ({answer})"


def published(entry: str) -> Iterator[Row]:
    """Our numbers of an entry of the ledger."""
    for known, found in from_json((LECTURE / "ledger.json").read_text(encoding="utf-8")):
        if known.name == entry:
            yield from ((escaped(name), ours(found[name])) for name in known.numbers)


def noise(problem: str, variants: dict[str, tuple[str, str, str]]) -> Iterator[Row]:
    """The exact trace variance of one episode's gradient."""
    known = truth(NAMED[problem]())
    for name, variant in variants.items():
        yield f"{problem}, trace variance with {name}", number(known.moments(*variant, episodes=10).trace_variance)


def facts() -> Iterator[Row]:
    """Sums over every trajectory of the exercises' task."""
    mdp = known_mdp()
    pi = exact.softmax(mdp.logits)
    z, listed = exact.scores(pi, mdp.features), exact.enumerate_trajectories(mdp)
    p, scores = np.exp(listed.log_prob(pi)), listed.scores(z)
    yield "trajectories of a task of three states and three steps", str(len(p))
    yield r"their probabilities, $\sum_\tau P(\tau)$", number(float(p.sum()))
    yield r"$J = \sum_\tau P(\tau) R(\tau)$", number(float(listed.J(pi)))
    yield r"length of $\sum_\tau P(\tau) \sum_t z_t$", _small(float(np.linalg.norm(p @ scores)))
    yield (
        r"length of $\sum_\tau P(\tau) \sum_t z_t R(\tau) - \nabla J$",
        _small(float(np.linalg.norm(listed.gradient(pi, z) - exact.gradient(mdp, pi, z)))),
    )
    yield r"length of $\nabla J$", number(float(np.linalg.norm(exact.gradient(mdp, pi, z))))


def _small(x: float) -> str:
    return "0, but for rounding" if x < 1e-12 else number(x)


def standardised() -> Iterator[Row]:
    """How a prompt's gradient counts, over that of one that is solved half of the time."""
    rates = np.array([0.01, 0.1, 0.5, 0.9])
    for name, advantage in {
        "group mean": advantages.group_mean,
        "group standardised": lambda r: advantages.group_standardised(r, ddof=1, epsilon=1e-6),
    }.items():
        weights = difficulty_weights(rates, 8, advantage)
        told = ", ".join(f"{number(w)} at p = {p:g}" for p, w in zip(rates, weights / weights[2], strict=True))
        yield f"8 answers, {name}: weight of a prompt's gradient over that at p = 0.5", told


EXPECTED: dict[str, Callable[[], Iterator[Row]]] = {
    "two-approaches": lambda: (row for claim in ("C18", "C19", "C20") for row in list(kept(claim))[:1]),
    "parameterising": lambda: kept("C17", "linear-quadratic control, policy gradient", "linear-quadratic control, Q"),
    "preliminaries": lambda: published("corridor"),
    "facts": facts,
    "reinforce": lambda: kept(
        "C3", "sure two-armed bandit, one episode", "random MDP 0, rewards around 0, one episode"
    ),
    "gaussian": lambda: kept("C15", ""),
    "intuition": lambda: kept("C16"),
    "pseudocode": lambda: kept("C15", "the engine"),
    "many-forms": lambda: noise(CHAIN, MANY),
    "baselines": lambda: (*noise(CHAIN, BASELINES), *kept("C5b", CHAIN)),
    "q-actor-critic": lambda: kept("C11"),
    "td": lambda: kept("C13"),
    "advantage": lambda: kept("C10", f"{CHAIN}, true", f"{CHAIN}, V off by 0.1", f"{CHAIN}, V off by 1 "),
    "a2c": lambda: kept("C12"),
    "q-values": lambda: kept("C14"),
    "noise-and-learning": lambda: (*kept("C21"), *kept("C21b")),
    "cost-then-prize": lambda: (*noise(PRIZE, MANY | {"reward-to-go less V": BASELINES["less V"]}), *kept("C4", PRIZE)),
    "sure-bandit": lambda: noise(BANDIT, BASELINES),
    "shares": lambda: (row for claim in ("C6", "C8", "C9") for row in kept(claim, "random MDPs")),
    "batch-mean": lambda: (*published("group_mean"), *kept("C5", f"{CHAIN}, b = leave")),
    "critic-bias": lambda: kept(
        "C10", *(f"{where}, V off by 0.1" for where in (CHAIN, "FrozenLake 4x4", "gridworld 5x5"))
    ),
    "discounting": lambda: published("discounting"),
    "standardised": standardised,
    "groups": lambda: (*published("group_advantages"), *published("dead_groups")),
    "equal-variance": lambda: published("equal_variance"),
    "large-steps": lambda: kept("C3", "random MDP 0, rewards around 0, one episode"),
}


@cache
def expected(name: str) -> str:
    """The numbers of a slide as a table."""
    return table(("to expect", "number"), EXPECTED[name]())
