"""The values of a figure where they are drawn, for a page to say what is under the pointer.

`readings(figure)` is JSON, a list with an object a panel:

    box      left, top, right, bottom in the SVG's own units, points from its upper left corner
    x, y     the labels of its axes
    rows     whether the heights are names, and the values along x
    series   name -> [across, down, x, y, low, high] of each point, low and high null where there is no interval
"""

import json
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .data import points, words

INCH = 72  # points
Point = list[float | None]


def readings(figure: Figure) -> str:
    """Of a figure that has been drawn, so that its panels are where they stay."""
    panels = [_panel(figure, panel) for panel in figure.axes if panel.get_visible()]
    return json.dumps([panel for panel in panels if panel["series"]], separators=(",", ":"), ensure_ascii=False)


def _panel(figure: Figure, panel: Axes) -> dict[str, Any]:
    scale, height = INCH / figure.dpi, INCH * figure.get_figheight()
    box = panel.get_window_extent()
    found = [point for point in points(panel) if {"x", "y"} & point.keys()]
    rows = bool(words(panel))
    along = "y" if rows else "x"
    limits = {
        (point["series"], _key(point[along])): (point["low"], point["high"])
        for point in found
        if point["kind"] == "interval" and along in point
    }
    series: dict[str, list[Point]] = {}
    for point in found:
        if point["kind"] != "value" or not np.isfinite([point.get("x", np.nan), point.get("y", np.nan)]).all():
            continue
        x, y = panel.transData.transform((point["x"], point["y"])) * scale
        ends = limits.get((point["series"], _key(point[along])), (np.nan, np.nan))
        place = round(float(x), 1), round(float(height - y), 1)
        series.setdefault(point["series"], []).append([*place, *map(_short, (point["x"], point["y"], *ends))])
    labels = [" ".join(text.split()) for text in (panel.get_xlabel(), panel.get_ylabel())]
    corners = [box.x0 * scale, height - box.y1 * scale, box.x1 * scale, height - box.y0 * scale]
    return {
        "box": [round(float(z), 1) for z in corners],
        "x": labels[0],
        "y": labels[1],
        "rows": rows,
        "series": series,
    }


def _key(x: float) -> float:
    return float(f"{x:.9g}")


def _short(x: float) -> float | None:
    """Four digits are what a reader takes in."""
    return float(f"{x:.4g}") if np.isfinite(x) else None
