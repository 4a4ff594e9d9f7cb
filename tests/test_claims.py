"""The claims: verdicts from made-up evidence that is true, false and undecidable; the yamls; and the counterexamples of
the lecture with their numbers."""

import re
import shlex
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver

from ablate.analysis.plots.data import drawn
from ablate.analysis.verdicts.claim import Claim, chosen, claims, family_size
from ablate.analysis.verdicts.study import ClaimStudy
from ablate.analysis.verdicts.verdict import LEVEL, Verdict, family
from ablate.errors import UserError
from ablate.statistics.power import power

NAN, INF = float("nan"), float("inf")
KINDS = ("true", "false", "undecided")
WORDS = dict(zip(KINDS, ("SUPPORTED", "REFUTED", "INCONCLUSIVE"), strict=True))
SEEDS = range(8)
SHARES = ("C19", "C20")  # a share of a few environments
SURVEYS = ("C4", "C6", "C7", "C8", "C9")  # of random MDPs, each decided exactly


def pick(kind: str, true: float, false: float, undecided: float = NAN) -> float:
    return {"true": true, "false": false, "undecided": undecided}[kind]


def around(centre: float, spread: float = 0.01, count: int = len(SEEDS)) -> np.ndarray:
    """`count` numbers with this mean and standard deviation, exactly."""
    x = np.linspace(-1, 1, count)
    return centre + spread * x / x.std(ddof=1)


def effects(kind: str, true: float, false: float, border: float) -> np.ndarray:
    """Eight values whose mean is clear of the border on either side, or on it for all that the sample tells."""
    if kind == "undecided":
        return around(border + 0.05 * (true - border), abs(true - border))
    return around(pick(kind, true, false))


# Made-up evidence, a function a claim: the columns are those that its module documents


def noise_of(pairs):
    """Two named problems, and 300 random ones; undecided: less variance on 285 of these, a share of 0.95."""

    def evidence(kind):
        rows = []
        for survey, places in (("", ["here", "there"]), ("rewards", [f"mdp {k}" for k in range(300)])):
            for number, place in enumerate(places):
                known = kind if kind != "undecided" or not survey else KINDS[number >= 285]
                for name in dict.fromkeys(name for pair in pairs for name in pair):
                    rank = [pair[0] for pair in pairs].count(name) - [pair[1] for pair in pairs].count(name)
                    variance = pick(known, 4.0**-rank, 4.0**rank)
                    rows.append({"place": place, "survey": survey, "estimator": name, "trace_variance": variance})
        return pd.DataFrame(rows).assign(bias=0.0)

    return evidence


def unbiased(kind):
    tables = [pd.DataFrame({"place": p, "seed": SEEDS, "projection": around(1.0), "wald_p": 0.5}) for p in ("a", "b")]
    return pd.concat(tables, ignore_index=True).assign(distance=pick(kind, 1e-15, 0.1))


def ascent(kind):
    rows = [
        {"task": "t", "N": N, "alpha": alpha, "gain": pick(kind, 0.9, -0.9), "error": 0.0, "chance_up": 0.9}
        for N in (0, 1)
        for alpha in (0.01, 1.0)
    ]
    return pd.DataFrame(rows).assign(half=1.0, turns=INF)


def shifts(baseline):
    def evidence(kind):
        columns = {"baseline": baseline, "N": 4, "shift": pick(kind, 0.0, 0.25), "scale": pick(kind, 1.0, 0.75)}
        return pd.DataFrame({"place": ["a", "b"], **columns})

    return evidence


def td_error(kind):
    columns = {"bias_squared": 0.0, "gradient_squared": 1.0, "variance": 1.0, "variance_rtg": 2.0, "crossover": INF}
    return pd.DataFrame({"task": ["a", "b"], "error": 0.0, "gap": pick(kind, 0.0, 0.3), **columns})


def learns(kind):
    last = effects(kind, 10.0, -10.0, 0.0)
    rows, tuned = {"seed": SEEDS, "last": last}, {"seed": [100], "last": 1.0}
    known = {"place": "here", "first": 0.0, "best": 10.0, "lowest": -20.0, "highest": 20.0, "chosen": True, "rate": 0.1}
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(tuned)]).assign(**known)


def temporal_difference(kind):
    slopes = effects(kind, -1.5, 0.5, 0.0)
    distances = effects(kind, 0.01, 0.1, 0.05)
    rows = [
        {"env": "e", "kind": "steps n^-0.75 (Robbins-Monro)", "seed": seed, "env_steps": t, "distance": distance}
        | {"error": np.exp(slope * (t >= 50))}
        for seed, slope, distance in zip(SEEDS, slopes, distances, strict=True)
        for t in range(1, 81)
    ]
    return pd.DataFrame(rows)


def bellman(kind):
    sweeps = np.arange(1, 30)
    return pd.DataFrame(
        {
            "task": "t",
            "gamma": 0.9,
            "sweep": sweeps,
            "error": pick(kind, 0.9, 0.95) ** sweeps if kind != "undecided" else NAN,
        }
    )


def score(kind):
    return pd.DataFrame({"what": ["a", "b", "limit"], "within": [True, True, False], "error": pick(kind, 1e-9, 0.1)})


def arrows(kind):
    numbers = {"projection": pick(kind, 1.0, -1.0), "across": 0.0, "rise": pick(kind, 1.0, -1.0), "uphill": 0.9}
    return pd.DataFrame({"task": ["a", "b"], "N": 4, **numbers})


def continuous(kind):
    regret, rise = effects(kind, 0.01, 0.2, 0.05), effects(kind, 500.0, -500.0, 0.0)
    rows = {"task": "linear-quadratic control", "learner": "policy gradient", "seed": SEEDS, "regret": regret}
    more = {"task": "Pendulum", "learner": "policy gradient", "seed": SEEDS, "regret": NAN}
    return pd.concat(
        [pd.DataFrame({**rows, "first": 0.0, "last": 0.0}), pd.DataFrame({**more, "first": 0.0, "last": rise})]
    ).assign(grid="")


def corridor(kind):
    p = effects(kind, 2 - 2**0.5, 0.75, 2 - 2**0.5 + 0.05)
    own = pd.DataFrame({"learner": "policy gradient", "seed": SEEDS, "p": p, "value": -12.0})
    return pd.concat([own, pd.DataFrame({"learner": "Q-learning", "seed": SEEDS, "p": NAN, "value": -1000.0})])


def rivals(column, kind, true, false):
    """Eight environments: of each family two learners at their best step size, all of the runs alike but for the
    policy gradient's `column`, which is its family's best. Undecided: on the border in all of them."""
    tables = []
    for place, (learner, kin) in product(range(8), RIVALS.items()):
        values = effects(kind, true, false, (true + false) / 2) if learner == "policy gradient" else around(0.0, 0.001)
        rows = {"seed": SEEDS, "steps": 10.0, "drawdown": 0.0, "final": 1.0, "before": 1.0, "collapse": 0.0}
        facts = {"rate": 0.1, "chosen": True, "inside": True, "picked": learner in ("policy gradient", "DQN")}
        told = pd.DataFrame(rows).assign(place=f"e{place}", learner=learner, family=kin, budget=100.0, **facts)
        tables.append(told.assign(**{column: np.exp(values) * 10 if column == "steps" else values}))
    return pd.concat(tables, ignore_index=True)


RIVALS = {"policy gradient": "on-policy", "A2C": "on-policy", "DQN": "Q-learning", "tabular Q-learning": "Q-learning"}


def efficiency(kind):
    return rivals("steps", kind, 1.0, -1.0)


def stability(kind):
    return rivals("drawdown", kind, -0.3, 0.3)


def ranks(one, other):
    """Six variants whose columns agree in rank, or are each other's reverse; undecided: either by seed."""

    def evidence(kind):
        rows = []
        for seed, variant in product(SEEDS, range(6)):
            sign = {"true": 1, "false": -1, "undecided": 1 if seed % 2 else -1}[kind]
            score = 10.0 * sign * variant + (seed + variant) % 3
            rows.append({"seed": seed, "variant": f"v{variant}", **one(variant), **other(score)})
        return pd.DataFrame(rows).assign(place="e", rate=0.1, inside=True, twin="")

    return evidence


noisy = ranks(  # tr C = 10, .. 5; the signal is the score times tr C
    lambda k: {"variance": 10.0 - k, "area": 0.0, "final": 0.0, "k": k},
    lambda score: {"signal": score},
)
better = ranks(lambda k: {"variance": 1.0, "signal": 1.0 + k}, lambda score: {"area": score, "final": score})


EVIDENCE = {
    "C1": unbiased,
    "C2": unbiased,
    "C3": ascent,
    "C4": noise_of([("rtg", "return")]),
    "C5": shifts("constant"),
    "C5b": shifts("mean"),
    "C6": noise_of([("return - b", "return")]),
    "C7": noise_of([("rtg - V", "rtg"), ("rtg - b*", "rtg")]),
    "C8": noise_of([("Q", "rtg")]),
    "C9": noise_of([("Q - V", "Q"), ("Q - V", "rtg - V")]),
    "C10": td_error,
    "C11": learns,
    "C12": learns,
    "C13": temporal_difference,
    "C14": bellman,
    "C15": score,
    "C16": arrows,
    "C17": continuous,
    "C18": corridor,
    "C19": efficiency,
    "C20": stability,
    "C21": noisy,
    "C21b": better,
}


def test_every_claim_of_the_lecture_is_here_and_has_made_up_evidence() -> None:
    ids = [f"C{k}" for k in range(1, 22)]
    ids.insert(5, "C5b")
    ids.append("C21b")
    assert [claim.id for claim in claims()] == ids
    assert set(EVIDENCE) == {claim.id for claim in claims()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_evidence_that_is_true_false_or_undecidable_gets_its_verdict(claim: Claim, kind: str) -> None:
    evidence = EVIDENCE[claim.id](kind)
    kept = evidence.copy(deep=True)
    verdict = claim.evaluate(evidence)
    pd.testing.assert_frame_equal(evidence, kept)  # measuring changes nothing
    assert verdict.word == WORDS[kind], verdict.sentence
    assert verdict.claim == claim.id
    assert claim.plain_words(verdict) == claim.plainly.get(verdict.word, "These numbers cannot tell yet.")
    assert (verdict.p_value is None) == (claim.decided_by == "exact")
    if claim.decided_by == "sampling" and kind == "undecided" and claim.id not in SURVEYS:
        assert verdict.needed is not None
        assert verdict.needed > 8


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_true_in_one_place_and_false_in_another_is_conditional(claim: Claim) -> None:
    """Both sides are told. C3, C18 have one place, or place their tasks otherwise: their own tests are below."""
    both = [EVIDENCE[claim.id](kind) for kind in ("true", "false")]
    named = next((name for name in ("place", "task", "env", "what") if name in both[0]), None)
    if named is None:
        pytest.skip("judged at one place")
    both[1] = both[1].assign(**{named: both[1][named] + " elsewhere"})
    verdict = claim.evaluate(pd.concat(both, ignore_index=True))
    if claim.id == "C17" or claim.id in SHARES or not verdict.answered("holds"):
        pytest.skip("its places are of different kinds, or a sample of places")
    assert verdict.word == "CONDITIONAL", verdict.sentence
    assert any("elsewhere" in row.where for row in verdict.answered("fails", "negligible"))
    assert any("elsewhere" not in row.where for row in verdict.answered("holds"))


def unnamed(artist: Artist) -> bool:
    """Whether something is drawn that the CSV leaves out; the arrows of samples are theirs."""
    empty = isinstance(artist, Line2D) and not len(np.asarray(artist.get_xdata()))
    return str(artist.get_label()).startswith("_child") and not empty and not isinstance(artist, Quiver)


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_every_picture_is_drawn(claim: Claim) -> None:
    """And its CSV has every panel's numbers: nothing is drawn at data's places without a name."""
    figure = claim.module.picture(EVIDENCE[claim.id]("true"))
    assert all(panel.has_data() for panel in figure.axes)
    assert not any(unnamed(artist) for panel in figure.axes for artist in (*panel.lines, *panel.collections))
    assert (drawn(figure)["kind"] == "value").any()
    assert all(panel.get_xlabel() or panel.get_xticklabels() for panel in figure.axes)
    plt.close(figure)


# The yamls


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_every_yaml_is_complete(claim: Claim) -> None:
    asked = [word for question in claim.questions.values() for word in (question.estimand, question.why)]
    assert set(claim.plainly) == {"SUPPORTED", "REFUTED", "CONDITIONAL"}
    assert all(question.asks in ("more", "less", "equal") for question in claim.questions.values())
    assert all(question.smallest_effect > 0 for question in claim.questions.values())
    for text in (
        claim.title,
        claim.slide,
        claim.equation,
        claim.hypothesis,
        claim.limits,
        *asked,
        *claim.plainly.values(),
    ):
        assert isinstance(text, str)
        assert text.strip()
    assert claim.holds_in
    assert claim.decided_by in ("exact", "sampling")
    assert set(claim.size) == set(claim.runs) == {"quick", "full"}
    assert claim.name.startswith(f"c{claim.id[1:].zfill(3 if claim.id[-1].isalpha() else 2)}_")
    for scale in ("quick", "full"):
        for command in claim.commands(scale):
            assert all(re.match(r"[\w./@+~]+=", word) for word in shlex.split(command)), command


@pytest.mark.parametrize("claim", [c for c in claims() if c.decided_by == "sampling"], ids=lambda claim: claim.id)
def test_the_sample_size_of_the_full_study_comes_from_the_power_calculation(claim: Claim) -> None:
    """70% power or more at the strictest level of Holm's correction, at the declared effect and deviation, for both
    sides of an equivalence test; the page says how many values have 80%."""
    assert claim.power is not None
    assert claim.needed is not None
    if claim.id in SHARES:
        assert "cannot be told" in claim.power["why"]  # there are not so many environments
    else:
        effect, spread, full = claim.primary.smallest_effect, claim.power["deviation"], claim.power["samples"]["full"]
        assert 2 * power(effect, spread, full, LEVEL / family_size()) - 1 >= 0.7
    assert claim.power["samples"]["quick"] >= 3


def test_the_family_is_all_claims_that_rest_on_samples() -> None:
    assert family_size() == sum(claim.decided_by == "sampling" for claim in claims()) > 10
    (one,) = family([chosen("C13")[0].evaluate(temporal_difference("true"))], family_size())
    assert one.level == LEVEL / family_size()  # asked alone, it is corrected as among all


def test_choosing_claims() -> None:
    assert [claim.id for claim in chosen("c7, C4")] == ["C4", "C7"]
    for wrong in ("C99", ",", "C4,x"):
        with pytest.raises(UserError, match="choose from C1"):
            chosen(wrong)


# The family, through the claims' own modules


def null(name: str, rng: np.random.Generator) -> pd.DataFrame:
    """Evidence from a truth on a border of the claim's primary question: any answer that says more is a false alarm."""
    question = chosen(name)[0].primary
    border = question.borders[0] if question.asks == "equal" else question.than
    evidence = EVIDENCE[name]("undecided")
    if name in SURVEYS:  # a share on its border, and no named problem
        ((better, worse),) = chosen(name)[0].module.pairs
        places = [f"mdp {k}" for k in range(40)]
        one = pd.DataFrame({"place": places, "estimator": better, "trace_variance": 1.0})
        other = pd.DataFrame({"place": places, "estimator": worse})
        other["trace_variance"] = np.where(rng.random(40) < border, 4.0, 0.25)
        return pd.concat([one, other]).assign(survey="rewards", bias=0.0)
    column = {"C11": "last", "C12": "last", "C17": "regret", "C18": "p"}[name]
    own = evidence[evidence[column].notna()].assign(first=0.0, best=1.0)
    return own.assign(**{column: border + 0.3 * rng.standard_normal(len(own))})


def test_the_sampled_claims_raise_few_alarms_on_their_borders() -> None:
    """60 families of seven claims whose truth is on a border: no share above or below 0.95, no learning, a regret and a
    P(right) on the edge of good enough. At 5% at most 9 families answer beyond that, with a chance of 0.1% of more."""
    rng, alarms = np.random.default_rng(1), 0
    names = ("C4", "C6", "C8", "C11", "C12", "C17", "C18")
    asked = [chosen(name)[0] for name in names]
    for _ in range(60):
        verdicts = family([claim.evaluate(null(claim.id, rng)) for claim in asked])
        alarms += any(verdict.word in ("SUPPORTED", "CONDITIONAL") for verdict in verdicts)
    assert alarms <= 9


# The lecture's counterexamples


def exactly(name: str) -> Verdict:
    (claim,) = chosen(name)
    found = claim.evaluate(claim.module.evidence(ClaimStudy("nowhere", "nothing", claim.size["quick"])))
    return family([found], family_size())[0]


@pytest.mark.parametrize("name", ["C4", "C6", "C7", "C8", "C9"])
def test_what_the_lecture_limits_is_conditional_with_both_sides_shown(name: str) -> None:
    verdict = exactly(name)
    assert verdict.word == "CONDITIONAL"
    assert "Holds: " in verdict.sentence
    assert "Fails: " in verdict.sentence
    assert verdict.headline is not None
    assert verdict.headline.unit == "of problems"  # the share of problems comes first, with its limits
    assert verdict.headline.low < verdict.headline.effect
    assert "the worst" in verdict.remark  # and how bad it gets
