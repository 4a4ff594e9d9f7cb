"""What learning curves come to, a number a run: the evidence of the claims that something learns, or learns faster.

A step size is chosen on seeds of its own (`TUNING`, the best of what is judged), the same number of step sizes
for every learner; the choice is then judged on the other seeds, and the rest of the sweep is shown.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate import exact
from ablate.errors import UserError
from ablate.mdp import MDP
from ablate.statistics.learning_curves import FINAL, final_return

from . import draw
from .estimates import Mean
from .study import ClaimStudy
from .verdict import Condition

TUNING = 100  # seeds from this one on choose step sizes, and are used for nothing else


def runs(
    study: ClaimStudy, wanted: Mapping[str, Any], rate: str, best: float, start: float | None = None
) -> pd.DataFrame:
    """A row a run: rate (the setting `rate`), seed, first and last return, the best possible; `chosen` where the rate
    is the one with the best last return on the tuning seeds. first is `start`, the exact J of the first policy, where
    it is known, else the mean return of the first iteration: a fast learner has learnt by the end of a tenth of the
    run."""
    curves = study.curves(wanted, [rate]).rename(columns={rate: "rate"})
    rows = []
    for (step, seed), curve in curves.groupby(["rate", "seed"]):
        returns = curve.sort_values("iteration")["return_mean"].dropna().to_numpy()
        first = float(returns[0]) if start is None else start
        rows.append({"rate": step, "seed": seed, "first": first, "last": float(final_return(returns)), "best": best})
    table = pd.DataFrame(rows)
    return table.assign(chosen=table["rate"] == best_rate(table, "last"))


def uniform(mdp: MDP) -> float:
    """J of uniform actions, at which linear policies begin."""
    return exact.J(mdp, np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions))


def optimal(mdp: MDP) -> float:
    """J* of the finite horizon: V_t = max_a (r + gamma E V_{t+1}), backwards from V_H = 0; at the horizon's gamma."""
    V = np.zeros(mdp.num_states)
    for _ in range(mdp.horizon):
        V = exact.backup(mdp, V).max(-1)
    return float(mdp.rho0 @ V)


def best_rate(table: pd.DataFrame, column: str) -> Any:
    """The rate with the best mean of a column over the tuning seeds, of those that have all of them: a rate at which a
    run diverged is not chosen. Raises UserError where none has."""
    tuning = table[table["seed"] >= TUNING]
    counts = tuning.groupby("rate")["seed"].nunique()
    whole = counts.index[counts == tuning["seed"].nunique()]
    if not len(whole):
        raise UserError("every step size lacks tuning seeds, so none can be chosen; run the claim's commands again")
    return tuning[tuning["rate"].isin(whole)].groupby("rate")[column].mean().idxmax()


def held_out(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that a verdict is about: the chosen rate, and seeds that did not choose it."""
    return table[table["chosen"] & (table["seed"] < TUNING)]


def improvement(evidence: pd.DataFrame, column: str = "place") -> tuple[Condition, ...]:
    """The fraction of the way from first to best that training went. At the chosen step size the claim, and beside it
    whether that is the whole way; at the others the sweep's answer."""
    own = evidence[evidence["seed"] < TUNING].assign(
        fraction=lambda rows: (rows["last"] - rows["first"]) / (rows["best"] - rows["first"])
    )
    claimed, beside = [], []
    for where, rows in own.groupby(column, sort=False):
        chosen = rows[rows["chosen"]]
        rate = chosen["rate"].iloc[0] if len(chosen) else float("nan")
        found = Mean.of(chosen["fraction"])
        claimed.append(Condition(f"{where} (step size {rate:g})", {"fraction": found}))
        beside.append(Condition(f"{where} (step size {rate:g}), the whole way", {"optimum": found}, within=False))
    for (where, rate), rows in own[~own["chosen"]].groupby([column, "rate"]):
        label = f"{where}, step size {rate:g} of the sweep"
        beside.append(Condition(label, {"fraction": Mean.of(rows["fraction"])}, within=False))
    return (*claimed, *beside)


def picture(evidence: pd.DataFrame, what: str) -> Figure:
    """First and last return of every seed against the step size, a panel a place."""
    names = list(evidence["place"].unique())
    figure, panels = draw.figure(len(names))
    for panel, name in zip(panels, names, strict=True):
        rows = evidence[(evidence["place"] == name) & (evidence["seed"] < TUNING)]
        for place, column in enumerate(("first", "last")):
            look = draw.look(place) | {"linestyle": "none"}
            panel.plot(rows["rate"] * (1 + 0.08 * (2 * place - 1)), rows[column], label=f"{column} return", **look)
        chosen = rows[rows["chosen"]]["rate"].iloc[0]
        panel.axvline(chosen, color="black", linewidth=0.8, linestyle=":", label="chosen on other seeds")
        panel.set(xscale="log", xlabel="step size", title=name)
        rates = sorted(rows["rate"].unique())
        panel.set_xticks(rates, [f"{rate:g}" for rate in rates])
        panel.minorticks_off()
    panels[0].set_ylabel("undiscounted return")
    panels[-1].legend()
    figure.suptitle(f"{what}: before training and over its last {FINAL:.0%}, a mark a seed", fontsize=draw.points(9))
    return figure


def concat(tables: Mapping[str, pd.DataFrame], column: str = "place") -> pd.DataFrame:
    """Tables one below the other, each with its name in a column."""
    return pd.concat([table.assign(**{column: name}) for name, table in tables.items()], ignore_index=True)
