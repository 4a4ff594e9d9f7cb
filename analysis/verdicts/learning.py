"""What learning curves come to, a number a run: the evidence of the claims that something learns, or learns faster.

A step size is chosen on seeds of its own (`TUNING`, the best of what is judged), the same number of step sizes
for every learner; the choice is then judged on the other seeds, and the rest of the sweep is shown.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablate import exact
from ablate.errors import UserError
from ablate.mdp import MDP
from ablate.statistics.learning_curves import FINAL, final_return

from . import draw
from .estimates import Estimate, bounded_mean
from .study import ClaimStudy
from .verdict import Condition

TUNING = 100  # seeds from this one on choose step sizes, and are used for nothing else


def runs(
    study: ClaimStudy,
    wanted: Mapping[str, Any],
    rate: str,
    best: float,
    possible: tuple[float, float],
    start: float | None = None,
) -> pd.DataFrame:
    """A row a run: rate (the setting `rate`), seed, first and last return, the best possible mean, the lowest and the
    highest return that an episode can have; `chosen` where the rate is the one with the best last return on the tuning
    seeds. first is `start`, the exact J of the first policy, where
    it is known, else the mean return of the first iteration: a fast learner has learnt by the end of a tenth of the
    run."""
    curves = study.curves(wanted, [rate]).rename(columns={rate: "rate"})
    rows = []
    for (step, seed), curve in curves.groupby(["rate", "seed"]):
        returns = curve.sort_values("iteration")["return_mean"].dropna().to_numpy()
        first = float(returns[0]) if start is None else start
        rows.append({"rate": step, "seed": seed, "first": first, "last": float(final_return(returns))})
    table = pd.DataFrame(rows).assign(best=best, lowest=possible[0], highest=possible[1])
    return table.assign(chosen=table["rate"] == best_rate(table, "last"))


def tabular_runs(study: ClaimStudy, wanted: Mapping[str, Any], rate: str, mdp: MDP) -> pd.DataFrame:
    """`runs` on a known MDP, of linear policies, which begin with uniform actions."""
    return runs(study, wanted, rate, optimal(mdp), possible_returns(mdp), uniform(mdp))


def uniform(mdp: MDP) -> float:
    """J of uniform actions, at which linear policies begin."""
    return exact.J(mdp, np.full((mdp.num_states, mdp.num_actions), 1 / mdp.num_actions))


def optimal(mdp: MDP) -> float:
    """J* of the finite horizon: V_t = max_a (r + gamma E V_{t+1}), backwards from V_H = 0; at the horizon's gamma."""
    V = np.zeros(mdp.num_states)
    for _ in range(mdp.horizon):
        V = exact.backup(mdp, V).max(-1)
    return float(mdp.rho0 @ V)


def possible_returns(mdp: MDP) -> tuple[float, float]:
    """The lowest and the highest total reward of an episode: U_t(s) = max_{a,s'} (r + U_{t+1}(s')) over what can
    happen, backwards from U_H = 0; and the same with min."""

    def highest(rewards: NDArray[np.float64]) -> float:
        U = np.zeros(mdp.num_states)
        for _ in range(mdp.horizon):
            U = np.where(mdp.probabilities > 0, rewards + U[mdp.successors], -np.inf).max((1, 2))
            U[mdp.terminal] = 0
        return float(U[mdp.rho0 > 0].max())

    return -highest(-mdp.rewards), highest(mdp.rewards)


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
    own = evidence[evidence["seed"] < TUNING]
    claimed, beside = [], []
    for where, rows in own.groupby(column, sort=False):
        chosen = rows[rows["chosen"]]
        rate = chosen["rate"].iloc[0] if len(chosen) else float("nan")
        found = _fraction(chosen)
        claimed.append(Condition(f"{where} (step size {rate:g})", {"fraction": found}))
        beside.append(Condition(f"{where} (step size {rate:g}), the whole way", {"optimum": found}, within=False))
    for (where, rate), rows in own[~own["chosen"]].groupby([column, "rate"]):
        label = f"{where}, step size {rate:g} of the sweep"
        beside.append(Condition(label, {"fraction": _fraction(rows)}, within=False))
    return (*claimed, *beside)


def _fraction(rows: pd.DataFrame) -> Estimate:
    """(last - first) / (best - first) of runs, which lies between those of the lowest and the highest return."""
    way = rows["best"] - rows["first"]
    last, lowest, highest = ((rows[end] - rows["first"]) / way for end in ("last", "lowest", "highest"))
    return bounded_mean(last, lowest.min(), highest.max())


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
        every = 1 + len(rates) // 6  # of the step sizes has its number, so that none lie on one another
        panel.set_xticks(rates, [f"{rate:g}" if k % every == 0 else "" for k, rate in enumerate(rates)])
        panel.minorticks_off()
    panels[0].set_ylabel("undiscounted return")
    draw.legend(figure, panels[-1])
    draw.heading(figure, f"{what}: before training and over its last {FINAL:.0%}, a mark a seed")
    return figure


def concat(tables: Mapping[str, pd.DataFrame], column: str = "place") -> pd.DataFrame:
    """Tables one below the other, each with its name in a column."""
    return pd.concat([table.assign(**{column: name}) for name, table in tables.items()], ignore_index=True)
