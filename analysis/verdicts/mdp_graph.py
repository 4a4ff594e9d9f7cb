"""A small MDP as a graph: states in columns by how far they are from the first, an arrow for each outcome."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

from ablate.mdp import MDP

from ..plots import theme

MOST = 6  # states of a graph that can be read
RADIUS = 0.22
APART = 2.2, 1.5  # columns, rows
Way = tuple[int, int, str]  # from, to, what is written on it


def drawable(mdp: MDP) -> bool:
    """Whether it is small enough."""
    return len(mdp.reachable()) <= MOST


def ways(mdp: MDP) -> list[Way]:
    """(s, s', "action 1: -10.5") of each transition from a state that is reached and where something is still done;
    with its probability where that is below 1."""
    return list(_ways(mdp))


def _ways(mdp: MDP) -> Iterator[Way]:
    for state in mdp.reachable():
        if mdp.terminal[state]:
            continue
        for action in range(mdp.num_actions):
            outcomes = zip(
                mdp.successors[state, action],
                mdp.probabilities[state, action],
                mdp.rewards[state, action],
                strict=True,
            )
            for successor, probability, reward in outcomes:
                if probability > 0:
                    chance = "" if probability == 1 else f", p = {probability:.3g}"
                    yield int(state), int(successor), f"action {action}: {_signed(float(reward))}{chance}"


def _signed(x: float) -> str:
    return f"{x:+g}".replace("-", "−") if x else "0"


def places(mdp: MDP) -> dict[int, tuple[float, float]]:
    """Where each state that is reached stands: columns by the fewest steps from where an episode may begin."""
    near: dict[int, int] = {int(state): 0 for state in np.flatnonzero(mdp.rho0 > 0)}
    waiting = list(near)
    for state in waiting:  # grows while it is gone through: breadth first
        for start, end, _ in ways(mdp):
            if start == state and end not in near:
                near[end] = near[state] + 1
                waiting.append(end)
    columns = {depth: [state for state in near if near[state] == depth] for depth in near.values()}
    return {
        state: (APART[0] * depth, APART[1] * ((len(own) - 1) / 2 - row))
        for depth, own in columns.items()
        for row, state in enumerate(own)
    }


def graph(mdp: MDP) -> Figure:
    """The states that are reached; an end has two rings."""
    theme()
    at, all_ways = places(mdp), ways(mdp)
    xs, ys = zip(*at.values(), strict=True)
    span = max(xs) - min(xs) + 1.2, max(ys) - min(ys) + 1.9
    figure, panel = plt.subplots(figsize=(1.15 * span[0], 0.75 * span[1]), layout="constrained")
    for state, place in at.items():
        panel.add_patch(Circle(place, RADIUS, facecolor="white", edgecolor="black", zorder=3))
        if mdp.terminal[state]:
            panel.add_patch(Circle(place, 0.8 * RADIUS, fill=False, edgecolor="black", zorder=3))
        panel.text(*place, str(state), ha="center", va="center", zorder=4)
    for pair in dict.fromkeys((start, end) for start, end, _ in all_ways):
        labels = [text for start, end, text in all_ways if (start, end) == pair]
        for bend, text in zip(_bends(len(labels)), labels, strict=True):
            _arrow(panel, at[pair[0]], at[pair[1]], bend, text)
    panel.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(min(ys) - 0.95, max(ys) + 0.95), aspect="equal")
    panel.axis("off")
    return figure


def _bends(number: int) -> list[float]:
    """How far each of several arrows between two states leaves the straight line."""
    return [0.0] if number == 1 else list(np.linspace(0.38, -0.38, number))


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float], bend: float, text: str) -> None:
    if start == end:
        panel.text(start[0], start[1] + 1.7 * RADIUS, f"↻ {text}", ha="center", va="bottom", fontsize=7)
        return
    style = f"arc3,rad={-bend}"
    size: dict[str, Any] = {"shrinkA": 16, "shrinkB": 16, "mutation_scale": 9}
    panel.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", connectionstyle=style, color="black", lw=0.9, **size))
    along = np.subtract(end, start)
    aside = np.array([-along[1], along[0]])
    x, y = np.add(start, end) / 2 + 0.5 * bend * aside
    panel.text(
        x, y + (0.06 if bend >= 0 else -0.06), text, ha="center", va="bottom" if bend >= 0 else "top", fontsize=7
    )
