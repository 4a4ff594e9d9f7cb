"""What a figure shows, as numbers: read from what is drawn, so that it cannot say anything else.

`drawn(figure)` has a row for every point:

| column           | meaning                                                                                      |
|------------------|----------------------------------------------------------------------------------------------|
| panel            | its title, or its number                                                                     |
| x_label, y_label | of its axes                                                                                  |
| kind             | value: a line or a marker; interval, seeds, rule and so on: what is drawn around the values  |
| series           | the name in the legend; of what is drawn around values, whose they are                       |
| row              | the word at the height of the point, where the axis has words                                |
| x, y             | of the point; NaN along the direction of an interval                                         |
| low, high        | of an interval, or of a bar                                                                  |
| dx, dy           | of an arrow                                                                                  |

What stands around values is labelled "_KIND of SERIES", which legends leave out.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

COLUMNS = ["panel", "x_label", "y_label", "kind", "series", "row", "x", "y", "low", "high", "dx", "dy"]
AROUND = re.compile(r"_(\w+) of (.*)", re.DOTALL)


def drawn(figure: Figure) -> pd.DataFrame:
    """Every point of a figure. What has no label is left out, as the frame around a picture."""
    rows = []
    for number, panel in enumerate((panel for panel in figure.axes if panel.get_visible()), 1):
        name = panel.get_title(loc="left") or panel.get_title() or str(number)
        named = {"panel": name, "x_label": panel.get_xlabel(), "y_label": panel.get_ylabel()}
        rows_named = words(panel)
        rows += [named | {"row": rows_named.get(round(row.get("y", np.nan), 0), "")} | row for row in points(panel)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.map(lambda x: x.replace("\n", " ") if isinstance(x, str) else x).dropna(axis="columns", how="all")


def words(panel: Axes) -> dict[float, str]:
    """The words beside the heights of an axis, none where they are numbers."""
    ticks = zip(panel.get_yticks(), panel.get_yticklabels(), strict=False)
    words = {float(place): label.get_text() for place, label in ticks}
    return words if any(re.search(r"[^\W\d_]{2}", word) for word in words.values()) else {}


def points(panel: Axes) -> Iterator[dict[str, Any]]:
    for line in panel.lines:
        yield from _line(line.get_label(), *(np.asarray(x, float) for x in (line.get_xdata(), line.get_ydata())))
    for part in panel.collections:
        kind, series = kind_and_series(part.get_label())
        if not kind:
            continue
        if isinstance(part, Quiver):
            columns = np.column_stack([part.get_offsets(), part.U, part.V])
            names = ("x", "y", "dx", "dy")
            yield from ({"kind": kind, "series": series} | dict(zip(names, row, strict=True)) for row in columns)
        elif isinstance(part, PathCollection):
            yield from ({"kind": kind, "series": series, "x": x, "y": y} for x, y in np.asarray(part.get_offsets()))
        elif isinstance(part, PolyCollection):
            corners = pd.DataFrame(np.concatenate([path.vertices for path in part.get_paths()]), columns=["x", "y"])
            for x, y in corners.groupby("x")["y"]:
                yield {"kind": kind, "series": series, "x": x, "low": y.min(), "high": y.max()}
    for bars in panel.containers:
        kind, series = kind_and_series(bars.get_label())
        if kind and isinstance(bars, BarContainer):
            for bar in bars.patches:
                across = bars.orientation == "horizontal"
                place = (
                    {"y": bar.get_y() + bar.get_height() / 2} if across else {"x": bar.get_x() + bar.get_width() / 2}
                )
                low, size = (bar.get_x(), bar.get_width()) if across else (bar.get_y(), bar.get_height())
                yield {"kind": kind, "series": series, "low": low, "high": low + size} | place


def _line(label: object, x: np.ndarray, y: np.ndarray) -> Iterator[dict[str, Any]]:
    kind, series = kind_and_series(label)
    if kind == "interval" and len(x) == 2:
        level = {"y": y[0]} if y[0] == y[1] and x[0] != x[1] else {"x": x[0]}
        low, high = x if "y" in level else y
        yield {"kind": kind, "series": series, "low": low, "high": high} | level
    elif kind:
        yield from ({"kind": kind, "series": series, "x": a, "y": b} for a, b in zip(x, y, strict=True))


def kind_and_series(label: object) -> tuple[str, str]:
    """Kind and series; no kind where an artist has no label of ours."""
    if around := AROUND.fullmatch(str(label)):
        return around[1], around[2]
    return ("", "") if str(label).startswith("_") else ("value", str(label))
