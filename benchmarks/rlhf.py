"""Group and sequence estimators of post-training with exact numbers: by difficulty, by length, by group size.

    python -m benchmarks.rlhf            > docs/rlhf.md, docs/rlhf.svg

All but the learning curves is exact and takes seconds; these are read from docs/rlhf.csv (`benchmarks.rlhf_learning`).
"""

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from ablate.sequences import advantages, aggregations
from ablate.sequences.epochs import GradientStep, epochs
from ablate.sequences.exact import OfBatch, Surrogate, kinds_of, moments, optimal_constant, running_mean_moments
from ablate.sequences.kl import ESTIMATORS as KL
from ablate.sequences.kl import kl_moments
from ablate.sequences.objective import answer_weights, depends_on_the_cut, difficulty_weights
from ablate.sequences.pass_rates import group_moments
from ablate.sequences.problem import TokenProblem
from ablate.sequences.random_prompts import drawn
from benchmarks import rlhf_learning

DOCS = Path(__file__).parents[1] / "docs"
ADVANTAGES: dict[str, OfBatch] = {
    "none": advantages.none,
    "leave-one-out": advantages.leave_one_out,
    "leave-one-out optimal": advantages.leave_one_out_optimal,
    "group mean": advantages.group_mean,
    "length-weighted mean": advantages.length_weighted_mean,
    "group standardised": partial(advantages.group_standardised, epsilon=1e-6),
    "leave-one-out standardised": partial(advantages.leave_one_out_standardised, epsilon=1e-2),
    "batch standardised": advantages.batch_standardised,
    "group mean, batch standardised": advantages.group_mean_batch_standardised,
    "token standardised": advantages.token_standardised,
    "group mean, token standardised": advantages.group_mean_token_standardised,
    "leave-one-out max": advantages.leave_one_out_max,
}
AGGREGATIONS: dict[str, OfBatch] = {
    "sequence sum": aggregations.sequence_sum,
    "sequence mean": aggregations.sequence_mean,
    "token mean": aggregations.token_mean,
}
BY_DIFFICULTY = "leave-one-out", "group mean", "group standardised", "leave-one-out max"
RATES = 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99
SIZES = 2, 4, 8, 16, 32
BUDGET = 1024
LENGTHS = 1, 2, 4, 8
ANSWERS, FEW = 64, (2, 4, 8)


def reference() -> tuple[TokenProblem, np.ndarray]:
    """Three tokens, two prompts: one is solved with chance .6 by the shortest answer, one with chance .1 by a long
    one."""
    problem = TokenProblem.exact_match(3, 3, [(0,), (1, 2, 0)])
    logits = np.zeros((2, len(problem.prefixes), 3))
    logits[0, 0] = np.log([0.6, 0.25, 0.15])
    logits[1, 0] = np.log([0.3, 0.5, 0.2])
    logits[1, 1] = np.log([0.3, 0.3, 0.4])
    logits[1, problem.prefixes[1, 2]] = np.log([0.5, 0.3, 0.2])
    return problem, logits


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def objectives(size: int = 4) -> str:
    """Every pair of advantage and aggregation on the reference problem."""
    problem, logits = reference()
    rows = []
    for advantage, A in ADVANTAGES.items():
        for aggregation, w in AGGREGATIONS.items():
            found = moments(problem, logits, size, A, w)
            easy, hard = found.prompt_weights
            cut = ("no", "yes")[depends_on_the_cut(A, w)[1]]
            numbers = [
                f"{found.projection:.3f}",
                f"{100 * found.orthogonal:.1f}%",
                f"{hard / easy:.2f}",
                f"{found.nsr:.3g}",
            ]
            rows.append([advantage, aggregation, *numbers, cut])
    head = ["advantage", "aggregation", "projection", "orthogonal", "hard / easy", "nsr", "depends on the cut"]
    return markdown(head, rows)


def baselines(size: int = 4) -> str:
    """Those of one mean, grad J: what the baseline is worth, on the two prompts of the reference problem."""
    problem, logits = reference()
    best = optimal_constant(kinds_of(problem, logits), aggregations.sequence_sum)
    found = {
        "none": moments(problem, logits, size, advantages.none),
        "running mean (decay 0.9)": running_mean_moments(problem, logits, size, 0.9),
        "leave-one-out": moments(problem, logits, size, advantages.leave_one_out),
        "leave-one-out optimal": moments(problem, logits, size, advantages.leave_one_out_optimal),
        "success rate of the prompt": moments(
            problem, logits, size, partial(advantages.constant, baseline=problem.success(logits))
        ),
        "optimal constant of the prompt": moments(problem, logits, size, partial(advantages.constant, baseline=best)),
    }
    return markdown(
        ["baseline", "tr Cov g", "nsr"], [[k, f"{m.variance:.4f}", f"{m.nsr:.3g}"] for k, m in found.items()]
    )


def by_difficulty(size: int = 8) -> str:
    rows = [[name, *(f"{x:.3g}" for x in difficulty_weights(RATES, size, ADVANTAGES[name]))] for name in BY_DIFFICULTY]
    return markdown(["advantage", *(f"p = {p:g}" for p in RATES)], rows)


def by_length(size: int = 8, p: float = 0.5) -> str:
    rows = []
    for name, w in AGGREGATIONS.items():
        found = answer_weights(p, LENGTHS, size, advantages.leave_one_out, w)
        scale = found["difference"].mean()
        for kind in ("right", "wrong"):
            rows.append([name, kind, *(f"{x / scale:+.2f}" for x in found[kind])])
    return markdown(["aggregation", "answer", *(f"L = {L}" for L in LENGTHS)], rows)


def noise(p: float, size: int, advantage: OfBatch) -> float:
    """nsr of an update of BUDGET answers to prompts of one difficulty."""
    m, q = group_moments(np.array(p), size, advantage)
    return float((q - m * m) / (BUDGET / size) / (m * m))


def by_group_size() -> str:
    rows = []
    for p in (0.01, 0.05, 0.2, 0.5, 0.9):
        for name in ("none", "leave-one-out", "group standardised"):
            found = [noise(p, N, ADVANTAGES[name]) for N in SIZES]
            cells = [f"**{x:.3g}**" if np.isclose(x, min(found), rtol=1e-9) else f"{x:.3g}" for x in found]
            rows.append([f"{p:g}", name, *cells])
    return markdown(["p", "advantage", *(f"N = {N}" for N in SIZES)], rows)


def at_a_budget() -> str:
    """nsr of an update of ANSWERS answers on the reference problem, a prompt at random for each group."""
    problem, logits = reference()
    pairs = [
        ("none", "sequence sum"),
        ("leave-one-out", "sequence sum"),
        ("leave-one-out optimal", "sequence sum"),
        ("group standardised", "sequence sum"),
        ("group standardised", "sequence mean"),
    ]
    rows = []
    for advantage, aggregation in pairs:
        A, w = ADVANTAGES[advantage], AGGREGATIONS[aggregation]
        found = [drawn(problem, logits, N, ANSWERS // N, A, w).nsr for N in FEW]
        rows.append([advantage, aggregation, *(f"**{x:.3f}**" if x == min(found) else f"{x:.3f}" for x in found)])
    return markdown(["advantage", "aggregation", *(f"N = {N}" for N in FEW)], rows)


def dynamic_sampling() -> str:
    """GRPO on the reference problem: groups accepted, and nsr at the same number of answers drawn."""
    problem, logits = reference()
    A, w = ADVANTAGES["group standardised"], AGGREGATIONS["sequence mean"]
    rows = []
    for N in FEW:
        plain = drawn(problem, logits, N, ANSWERS // N, A, w)
        chosen = drawn(problem, logits, N, ANSWERS // N, A, w, advantages.differ)
        a = chosen.accepted
        rows.append(
            [
                str(N),
                f"{100 * a:.1f}%",
                f"{1 / a:.2f}",
                f"{plain.nsr:.3f}",
                f"{chosen.nsr / a:.3f}",
                f"{chosen.nsr:.3f}",
            ]
        )
    head = ["N", "groups alive", "answers per accepted one", "nsr, every group", "resampled, same answers drawn"]
    return markdown([*head, "resampled, same groups used"], rows)


def stale(size: int = 4) -> str:
    """RLOO and its surrogates on answers of a policy that is k exact gradient steps behind."""
    problem, old = reference()
    inf = np.inf
    surrogates = {
        "no ratio clipped, by token": (inf, inf, "token"),
        "no ratio clipped, by answer": (inf, inf, "sequence"),
        "clipped .2 / .2, by token": (0.2, 0.2, "token"),
        "clipped .2 / .28, by token": (0.2, 0.28, "token"),
        "clipped .2 / .2, by answer": (0.2, 0.2, "sequence"),
    }
    rows = []
    for name, (low, high, ratio) in surrogates.items():
        cells = []
        for steps in (0, 1, 4, 16):
            new = problem.ascended(old, 0.5, steps)
            found = moments(problem, new, size, advantages.leave_one_out, surrogate=Surrogate(old, low, high, ratio))
            cells.append(f"{found.projection:.3f} / {100 * found.orthogonal:.1f}% / {found.nsr:.3g}")
        rows.append([name, *cells])
    return markdown(["surrogate", *(f"k = {k}" for k in (0, 1, 4, 16))], rows)


EPOCHS = 1, 2, 4, 8
CLIPPED: dict[str, tuple[str, str, float, float, str]] = {
    "RLOO, no ratio clipped, by token": ("leave-one-out", "sequence sum", np.inf, np.inf, "token"),
    "RLOO, no ratio clipped, by answer": ("leave-one-out", "sequence sum", np.inf, np.inf, "sequence"),
    "RLOO, .1 / .1, by token": ("leave-one-out", "sequence sum", 0.1, 0.1, "token"),
    "RLOO, .2 / .2, by token": ("leave-one-out", "sequence sum", 0.2, 0.2, "token"),
    "RLOO, .2 / .28, by token": ("leave-one-out", "sequence sum", 0.2, 0.28, "token"),
    "RLOO, .2 / .2, by answer": ("leave-one-out", "sequence sum", 0.2, 0.2, "sequence"),
    "GRPO, .2 / .2, by token": ("group standardised", "sequence mean", 0.2, 0.2, "token"),
}


@cache
def on_one_batch(name: str, size: int = 4) -> list[GradientStep]:
    """Gradient steps of size .5 on the prompts' own success rates, all on the same answers."""
    problem, start = reference()
    A, w, low, high, ratio = CLIPPED[name]
    clip = Surrogate(start, low, high, ratio)
    lr = 0.5 * problem.prompts
    return epochs(problem, start, size, ADVANTAGES[A], AGGREGATIONS[w], clip, lr, max(EPOCHS))


def epochs_bias() -> str:
    rows = []
    for name in CLIPPED:
        steps = [on_one_batch(name)[k - 1] for k in EPOCHS]
        biases = [np.sqrt(step.bias_squared) / np.linalg.norm(step.gradient) for step in steps]
        cells = [
            f"{100 * bias:.1f}% / {step.nsr:.3g} / {100 * step.clipped:.1f}%"
            for bias, step in zip(biases, steps, strict=True)
        ]
        rows.append([name, *cells])
    return markdown(["surrogate", *(f"k = {k}" for k in EPOCHS)], rows)


def epochs_success() -> str:
    problem, start = reference()
    exact = [problem.success(problem.ascended(start, 0.5, k)).mean() for k in EPOCHS]
    rows = [["exact gradient", *(f"{x:.4f} / 0" for x in exact)]]
    for name in CLIPPED:
        steps = [on_one_batch(name)[k - 1] for k in EPOCHS]
        noise = [step.update_variance / np.square(step.update).sum() for step in steps]
        rows.append([name, *(f"{step.success:.4f} / {x:.3g}" for step, x in zip(steps, noise, strict=True))])
    return markdown(["surrogate", *(f"k = {k}" for k in EPOCHS)], rows)


def divergences() -> str:
    """KL from a policy to the one 16 exact steps behind it."""
    problem, old = reference()
    new = problem.ascended(old, 0.5, 16)
    rows = []
    for name in KL:
        found = kl_moments(problem, new, old, name)

        def told(mean: np.ndarray, variance: float, of: np.ndarray = found.gradient) -> list[str]:
            along = float((mean * of).sum() / np.square(of).sum())
            return [f"{along:.3f}", f"{variance:.3g}"]

        rows.append(
            [
                *(name, f"{found.mean:.4f}", f"{found.bias:+.4f}", f"{found.variance:.4f}"),
                *told(found.mean_gradient, found.loss_variance),
                *told(found.reward_gradient, found.reward_variance),
            ]
        )
    head = [
        "",
        "mean",
        "bias",
        "variance",
        "in the loss: projection",
        "variance",
        "in the reward: projection",
        "variance",
    ]
    return markdown(head, rows)


def figure() -> Figure:
    """Weights of prompts by difficulty, and of answers by length."""
    drawing = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = drawing.subplots(1, 2)
    p = np.linspace(0.005, 0.995, 199)
    for k, name in enumerate(BY_DIFFICULTY):
        left.plot(p, difficulty_weights(p, 8, ADVANTAGES[name]), color=f"C{k}", label=name)
    left.set(xlabel="success rate p of a prompt", ylabel="weight of its gradient (N = 8)", ylim=(0, None))
    left.legend(frameon=False)
    lengths = np.arange(1, 11)
    for k, (name, w) in enumerate(AGGREGATIONS.items()):
        found = answer_weights(0.5, lengths.tolist(), 4, advantages.leave_one_out, w)
        scale = found["difference"].mean()
        right.plot(lengths, found["right"] / scale, color=f"C{k}", label=name)
        right.plot(lengths, found["wrong"] / scale, color=f"C{k}", ls="--")
    right.axhline(0, color="0.7", lw=0.8)
    right.set(xlabel="tokens of an answer", ylabel="weight of its score, right (-) and wrong (- -)")
    right.legend(frameon=False)
    return drawing


TABLES = {
    "objectives": objectives,
    "baselines": baselines,
    "by_difficulty": by_difficulty,
    "by_length": by_length,
    "by_group_size": by_group_size,
    "at_a_budget": at_a_budget,
    "dynamic_sampling": dynamic_sampling,
    "stale": stale,
    "epochs_bias": epochs_bias,
    "epochs_success": epochs_success,
    "divergences": divergences,
    "learning": rlhf_learning.table,
}
"""Of the page: each stands after the line `<!-- NAME -->`."""


def filled(page: str) -> str:
    """The page with its tables made anew."""
    for name, table in TABLES.items():
        old = rf"(<!-- {name} -->\n)\n(?:\|[^\n]*\n)*\n?"
        page = re.sub(old, lambda found, made=table: f"{found[1]}\n{made()}\n\n", page)
    return page


def main() -> None:
    page = DOCS / "rlhf.md"
    page.write_text(filled(page.read_text()))
    with rc_context({"svg.hashsalt": "ablate"}):  # else every drawing has other ids
        figure().savefig(DOCS / "rlhf.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
