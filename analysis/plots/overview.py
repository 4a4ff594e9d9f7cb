"""The two pictures of a report's first screen: what each variant learns, and how noisy its gradient is."""

import numpy as np
from matplotlib.figure import Figure

from .. import tables
from ..frames import StudyFrames
from .learning import axes_of, each_seed
from .style import limits, logarithmic, looks, panels, points, row_name, title

__all__ = ["axes_of", "curves", "no_noise", "noise"]

SIZE = 4.0, 2.35  # inches, of each: side by side on a screen, one below the other on a phone


def curves(study: StudyFrames, axis: str) -> Figure:
    """The learning curves, as high as the picture beside them."""
    figure = each_seed(study, axis)
    figure.set_size_inches(*SIZE)
    return figure


def no_noise(study: StudyFrames) -> str:
    """Why no noise can be shown; "" where it can."""
    if study.probe.empty:
        return "no run was probed"
    known = np.isfinite(tables.side_by_side(study).get("trace_variance_first", np.array([np.nan])))
    one = len(study.cells["env"].unique()) == 1
    return "" if known.any() and one else "there is no one problem whose noise is known"


def noise(study: StudyFrames) -> Figure:
    """The trace variance of each cell's own estimator at the first policy: median over seeds, with its limits."""
    table = tables.side_by_side(study)
    known = table[np.isfinite(table["trace_variance_first"])]
    look = looks(study.cells.loc[known.index])
    figure, (panel,) = panels(1)
    figure.set_size_inches(*SIZE)
    for y, (cell, row) in enumerate(known.iterrows()):
        own = look[cell]
        ends = row["trace_variance_first_low"], row["trace_variance_first_high"]
        if np.isfinite(ends).all():
            limits(panel, ends, (y, y), row["label"], color=own["color"], linewidth=points(2))
        panel.plot(
            row["trace_variance_first"], y, own["marker"], color=own["color"], markersize=points(6), label=row["label"]
        )
    panel.set_yticks(range(len(known)), known["label"].map(row_name))
    panel.set_ylim(len(known) - 0.5, -0.5)
    panel.set_xlabel("trace variance of the gradient of one episode")
    logarithmic(panel, "x")
    panel.grid(visible=False, axis="y")
    title(figure, "Noise at the first policy", "median over seeds, with 95% limits where they are bounded")
    return figure
