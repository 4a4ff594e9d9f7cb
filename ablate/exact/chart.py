"""The picture of a table of variants: where each one's variance comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure

from ablate.exact.estimators import Variant

PARTS = {"v_s0": "initial state", "v_transition": "transitions", "v_action": "actions"}
CUT = 5.0  # a bar longer than this many times the longest shorter one is cut


def number(x: float) -> str:
    """Three digits, without an exponent for thousands."""
    return f"{x:,.0f}" if 1e3 <= x < 1e7 else f"{x:.3g}"


def limit(totals: Sequence[float]) -> float:
    """Where the axis ends: at the longest bar that is not CUT times longer than the next shorter one."""
    ordered = sorted(total for total in totals if total > 0)
    for shorter, longer in zip(ordered[len(ordered) // 2 :], ordered[len(ordered) // 2 + 1 :], strict=False):
        if longer > CUT * shorter:
            return shorter
    return ordered[-1] if ordered else 1.0


def draw(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Stacked bars, the floor first: what initial states and transitions leave no baseline can remove."""
    sns.set_theme(style="whitegrid", rc={"axes.grid.axis": "x"})
    blue, orange, green = sns.color_palette("colorblind")[:3]
    colours = {"v_s0": green, "v_transition": blue, "v_action": orange}
    totals = [row["trace_variance"] for row in rows]
    end = 1.18 * limit(totals)
    figure = Figure(figsize=(9, 1.9 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    left = [0.0] * len(rows)
    for part, meaning in PARTS.items():
        widths = [row[part] for row in rows]
        if not any(widths):
            continue
        axes.barh(places, widths, left=left, color=colours[part], label=meaning, height=0.7, linewidth=0)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, row, total in zip(places, rows, totals, strict=True):
        floor = row["v_s0"] + row["v_transition"]
        if 0 < floor <= end:
            for width, shade in ((5.0, "white"), (2.4, "black")):
                axes.plot([floor, floor], [place - 0.47, place + 0.47], color=shade, linewidth=width, zorder=3)
        cut = total > end
        axes.text(
            0.995 * end if cut else total,
            place,
            f"{number(total)} →" if cut else f" {number(total)}",
            horizontalalignment="right" if cut else "left",
            verticalalignment="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if cut else None,
        )
    axes.set(xlim=(0, end), xlabel="trace variance of one episode's gradient", yticks=places)
    axes.set_yticklabels([Variant(row["phi"], row["baseline"], row["critic"]).label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(title, fontsize=9, loc="left")
    bars = axes.get_legend_handles_labels()[0]
    if any(0 < row["v_s0"] + row["v_transition"] <= end for row in rows):
        bars += axes.plot([], [], color="black", linewidth=2.4, label="floor: no baseline gets below")
    figure.legend(handles=bars, loc="outside lower center", ncols=4, fontsize=8, title="variance from", frameon=False)
    return figure
