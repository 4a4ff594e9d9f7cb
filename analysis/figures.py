"""The figures by name: the one place where each is declared. Imports nothing that draws, as `--help` reads it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A figure of a study.

    | field       | meaning                                                                                     |
    |-------------|---------------------------------------------------------------------------------------------|
    | draw        | the function StudyFrames -> matplotlib Figure, by its place in `analysis`                    |
    | lacks       | the function StudyFrames -> the reason why the study cannot show it, "" where it can        |
    | help        | its line in `--help`                                                                        |
    | alternative | what is seen, for those who cannot see it                                                   |
    | section     | of the report, a key of `report.CAPTIONS`; "" for the last one, "More figures"              |
    | study       | the study whose figure it is where none is named                                            |
    """

    draw: str
    lacks: str
    help: str
    alternative: str
    section: str = ""
    study: str = "main"


class Computed(NamedTuple):
    """A figure of no study: what it shows is computed, not run. `draw`: the function () -> matplotlib Figure."""

    draw: str
    help: str


FIGURES = {
    "learning": Figure(
        "plots.learning.learning",
        "plots.learning.no_learning",
        "learning curves against env steps",
        "Learning curves: return of an episode against env steps, one line with an interval band for each variant.",
        section="sample_efficiency",
    ),
    "trade": Figure(
        "plots.comparison.trade",
        "plots.comparison.no_trade",
        "noise against what is learnt and how steadily, a point a variant",
        "Scatter plot: the noise of each variant's gradient estimator at the first policy against its mean return over "
        "the env steps that all runs share, and against its worst drawdowns.",
        section="side_by_side",
    ),
    "noise": Figure(
        "plots.noise.training_noise",
        "plots.noise.no_training_noise",
        "noise of each run's own estimator along training",
        "Trace variance and noise-to-signal ratio of each run's own gradient estimator against training iterations.",
        section="noise",
    ),
    "variance": Figure(
        "plots.noise.variance",
        "plots.noise.no_matched_noise",
        "noise of every variant on the same trajectories (probe=matched)",
        "Trace variance of each variant relative to the reference, on the same trajectories of the same policy, with "
        "intervals, at the first, a middle and the last policy.",
        section="noise",
        study="variance",
    ),
    "metrics": Figure(
        "plots.metrics.metrics",
        "plots.metrics.no_metrics",
        "the same by its cost, in other metrics and by layer of the network",
        "Noise of each variant relative to the reference at the last policy, with intervals: by env step, in the "
        "optimiser's metric, along the ascent, and by layer.",
        section="noise",
        study="variance",
    ),
    "split": Figure(
        "plots.exact_noise.split",
        "plots.exact_noise.no_split",
        "what the exact variance comes from, and the floor under every baseline",
        "Stacked bars: the exact trace variance of each variant, split into what the first state, the transitions and "
        "the actions contribute, with the floor that no baseline passes.",
        section="noise",
    ),
    "horizon": Figure(
        "plots.exact_noise.horizon",
        "plots.exact_noise.no_horizons",
        "exact noise against the horizon",
        "Exact noise-to-signal ratio of each variant against the horizon, for each environment.",
        section="noise",
        study="horizon",
    ),
    "survey": Figure(
        "plots.exact_noise.survey",
        "plots.exact_noise.no_survey",
        "on how many random MDPs an ordering of variants holds",
        "Over many random MDPs: the share in which each variant has less noise than its reference, and the spread of "
        "the ratio of their variances.",
        section="noise",
        study="survey",
    ),
    "group_size": Figure(
        "plots.groups.group_size",
        "plots.groups.no_groups",
        "noise of an update against the answers a prompt: RLOO, GRPO and others (study=group_baselines)",
        "Noise-to-signal ratio of an update of a fixed number of answers against the number of answers a prompt, one "
        "line for each estimator.",
        study="group_baselines",
    ),
    "profiles": Figure(
        "plots.comparison.profiles",
        "plots.comparison.no_profiles",
        "performance profiles",
        "Performance profiles: the share of seeds whose final return is above each value, one line a variant.",
        section="sample_efficiency",
    ),
    "improvement": Figure(
        "plots.comparison.improvement",
        "plots.comparison.no_improvement",
        "how likely one variant ends above another",
        "For pairs of variants, the probability that a seed of one ends above a seed of the other, with intervals.",
        section="sample_efficiency",
    ),
    "td": Figure(
        "plots.learning.td",
        "plots.learning.no_values",
        "convergence of TD learning",
        "Root mean squared error of the learnt state values to the exact ones against updates, on logarithmic axes.",
    ),
    "bellman": Figure(
        "plots.learning.bellman",
        "plots.learning.no_q_values",
        "convergence of Bellman iteration",
        "Largest error of the action values to the best ones against sweeps, on a logarithmic axis.",
    ),
    "corridor": Figure(
        "plots.learning.corridor",
        "plots.learning.no_corridor",
        "the short corridor's J(p), and where learners end",
        "The expected return of the short corridor against the chance of going right, with its maximum at 2 minus the "
        "square root of 2, and the returns at which each learner ends.",
    ),
}

COMPUTED = {
    "group_baselines": Computed("plots.groups.group_baselines", "one baseline a prompt: mean and noise (no study)"),
    "intuition": Computed("score_function.figure", "the slide's samples, signed scores and averaged step (no study)"),
}

HELP = {name: figure.help for name, figure in (FIGURES | COMPUTED).items()}


def function(place: str) -> Callable[..., Any]:
    """The function at module.name of `analysis`."""
    module, _, name = place.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f".{module}", __package__), name)
    return found
