"""The figures of a study, by name. A figure is a function of a `Study`; `lacks` says why a study cannot show it.

for name, (draw, alternative) in figures(study).items():
    draw().savefig(...)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.figure import Figure

from ablate.refusal import Refusal

from .. import score_function
from ..frames import Study, finished
from . import comparison, groups, learning, metrics, noise
from .files import formats, made_for, save
from .style import theme

__all__ = ["COMPUTED", "FIGURES", "Picture", "draw", "figures", "formats", "made_for", "save", "theme"]


@dataclass(frozen=True)
class Picture:
    """How to draw a figure, why a study cannot show it ("" where it can), and what it shows in words."""

    draw: Callable[[Study], Figure]
    lacks: Callable[[Study], str]
    alternative: str


FIGURES = {
    "learning": Picture(
        learning.learning,
        learning.no_learning,
        "Learning curves: return of an episode against env steps, one line with an interval band for each variant.",
    ),
    "trade": Picture(
        comparison.trade,
        comparison.no_trade,
        "Scatter plot: the noise of each variant's gradient estimator at the first policy against its mean return over "
        "the env steps that all runs share, and against its worst drawdowns.",
    ),
    "noise": Picture(
        noise.training_noise,
        noise.no_training_noise,
        "Trace variance and noise-to-signal ratio of each run's own gradient estimator against training iterations.",
    ),
    "variance": Picture(
        noise.variance,
        noise.no_matched_noise,
        "Trace variance of each variant relative to the reference, on the same trajectories of the same policy, with "
        "intervals, at the first, a middle and the last policy.",
    ),
    "metrics": Picture(
        metrics.metrics,
        metrics.no_metrics,
        "Noise of each variant relative to the reference at the last policy, with intervals: by env step, in the "
        "optimiser's metric, along the ascent, and by layer.",
    ),
    "split": Picture(
        noise.split,
        noise.no_split,
        "Stacked bars: the exact trace variance of each variant, split into what the first state, the transitions and "
        "the actions contribute, with the floor that no baseline passes.",
    ),
    "horizon": Picture(
        noise.horizon,
        noise.no_horizons,
        "Exact noise-to-signal ratio of each variant against the horizon, for each environment.",
    ),
    "survey": Picture(
        noise.survey,
        noise.no_survey,
        "Over many random MDPs: the share in which each variant has less noise than its reference, and the spread of "
        "the ratio of their variances.",
    ),
    "group_size": Picture(
        groups.group_size,
        groups.no_groups,
        "Noise-to-signal ratio of an update of a fixed number of answers against the number of answers a prompt, one "
        "line for each estimator.",
    ),
    "profiles": Picture(
        comparison.profiles,
        comparison.no_profiles,
        "Performance profiles: the share of seeds whose final return is above each value, one line a variant.",
    ),
    "improvement": Picture(
        comparison.improvement,
        comparison.no_improvement,
        "For pairs of variants, the probability that a seed of one ends above a seed of the other, with intervals.",
    ),
    "td": Picture(
        learning.td,
        learning.no_values,
        "Root mean squared error of the learnt state values to the exact ones against updates, on logarithmic axes.",
    ),
    "bellman": Picture(
        learning.bellman,
        learning.no_q_values,
        "Largest error of the action values to the best ones against sweeps, on a logarithmic axis.",
    ),
    "corridor": Picture(
        learning.corridor,
        learning.no_corridor,
        "The expected return of the short corridor against the chance of going right, with its maximum at 2 minus the "
        "square root of 2, and the returns at which each learner ends.",
    ),
}

COMPUTED = {"group_baselines": noise.group_baselines, "intuition": score_function.figure}
"""Figures of no study: what they show is computed, not run."""


def draw(name: str, study: Study) -> Figure:
    """A figure by its name. Raises Refusal where the study has nothing complete, or not what the figure shows."""
    picture = FIGURES[name]
    if lack := picture.lacks(finished(study)):
        raise Refusal(lack)
    return picture.draw(_drawable(study))


def _drawable(study: Study) -> Study:
    """The same, with its words as matplotlib shows them as they stand: it takes what is between dollar signs for a
    formula, and fails where it is none; and an SVG holds no control characters."""

    def shown(text: object) -> object:
        if not isinstance(text, str):
            return text
        return re.sub(r"[\x00-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", text).replace("$", r"\$")

    cells = study.cells.assign(**{name: study.cells[name].map(shown) for name in ("variant", "label", "env")})
    words = [name for name in ("label", "reference", "env") if name in study.probe]
    return replace(
        study, cells=cells, probe=study.probe.assign(**{name: study.probe[name].map(shown) for name in words})
    )


def in_words(seen: str, study: Study) -> str:
    """What a figure shows, of which study and variants, to those who cannot see it."""
    return f"{seen} Study {study.name}: {', '.join(dict.fromkeys(study.cells['variant']))}."


def figures(study: Study) -> dict[str, tuple[Callable[[], Figure], str]]:
    """The figures that the study has data for: how to draw each, and its alternative text. Call `theme` before.

    Raises Refusal where no run is complete.
    """
    finished(study)
    return {
        name: (partial(picture.draw, _drawable(study)), in_words(picture.alternative, study))
        for name, picture in FIGURES.items()
        if not picture.lacks(study)
    }
