"""The mean of the estimates against the gradient, over all episodes and in the engine's samples: C1 and C2."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate import exact
from ablate.envs import tabular
from ablate.errors import UserError
from ablate.lqg import LQG, evaluate, scalar_moments
from ablate.randomness import stream
from ablate.statistics.formatting import counted

from . import draw
from .estimates import Exact, Mean
from .study import ClaimStudy
from .verdict import ClaimFinding, Condition

MARGIN = 0.05  # of the sampled check, as the yamls have it
GAINS = ((-0.5, 0.5), (0.2, 0.3))  # (K, sigma) of the Gaussian policies


def chain(phi: str, slip: float, horizon: int) -> float:
    """|E g - grad J| / |grad J| on the chain, the larger of a uniform and a random policy's.

    E g = sum over every trajectory of P(tau) sum_t z_t Phi_t: where g is made, nothing but scores and rewards is looked
    at. grad J by dynamic programming.
    """
    mdp = tabular.chain(slip=slip, horizon=horizon)
    drawn = stream(0, "policy of claims C1 and C2").standard_normal(mdp.logits.shape)
    return max(_distance(phi, mdp, exact.softmax(logits)) for logits in (np.zeros_like(drawn), drawn))


def _distance(phi: str, mdp: Any, pi: np.ndarray) -> float:
    z = exact.scores(pi, mdp.features)
    every = exact.enumerate_trajectories(mdp)
    s, a = every.states[:, :-1], every.actions
    rewards = np.where(every.alive, mdp.rewards[s, a, every.outcomes], 0.0)
    to_go = np.flip(np.flip(rewards, 1).cumsum(1), 1)
    weights = {"return": np.broadcast_to(rewards.sum(1, keepdims=True), rewards.shape), "rtg": to_go}[phi]
    chances = np.exp(every.log_prob(pi))
    mean = np.zeros(z.shape[-1])
    for t in range(mdp.horizon):
        mean += (chances * weights[:, t] * every.alive[:, t]) @ z[s[:, t], a[:, t]]
    gradient = exact.gradient(mdp, pi, z)
    return float(np.linalg.norm(mean - gradient) / np.linalg.norm(gradient))


def lqg(phi: str, horizon: int) -> float:
    """The same for scalar linear-quadratic control and Gaussian policies: E g by quadrature over whole trajectories,
    grad J by the Lyapunov recursion."""
    one, small = np.ones((1, 1)), np.full((1, 1), 0.01)
    problem = LQG(one, one, one, small, small, np.array([-1.0]), small, horizon)
    distances = []
    for K, sigma in GAINS:
        gradient = float(evaluate(problem, np.array([[K]]), np.array([[sigma**2]])).gradient.squeeze())
        mean = float(np.squeeze(scalar_moments(problem, K, sigma)[phi, "none"].mean))
        distances.append(abs(mean - gradient) / abs(gradient))
    return max(distances)


PROBLEMS: Mapping[str, Callable[..., float]] = {"chain": chain, "lqg": lqg}


class Unbiased:
    """Is the mean of the estimates with `phi` the gradient? places: {words: {"env.name": ..., parameters}}."""

    def __init__(self, phi: str, places: Mapping[str, Mapping[str, Any]]) -> None:
        self.phi, self.places = phi, places

    def evidence(self, study: ClaimStudy) -> pd.DataFrame:
        """place, distance = |E g - grad J| / |grad J| exactly; and, a row a run, where there are runs: seed,
        projection = <mean, grad J> / |grad J|^2 of independent episodes, wald_p of equality in all directions."""
        tables = []
        for place, wanted in self.places.items():
            parameters = {key.removeprefix("env."): value for key, value in wanted.items() if key != "env.name"}
            distance = PROBLEMS[wanted["env.name"]](self.phi, **parameters)
            tables.append(self._sampled(study, wanted).assign(place=place, distance=distance))
        return pd.concat(tables, ignore_index=True)

    def _sampled(self, study: ClaimStudy, wanted: Mapping[str, Any]) -> pd.DataFrame:
        columns = ["seed", "projection", "wald_p"]
        asked = {"probe.name": "online", "probe.episodes": study.size["episodes"], "phi.name": self.phi}
        try:
            return study.probes({**asked, **wanted})[columns]
        except UserError:  # exact values decide; the samples only check
            return pd.DataFrame([dict.fromkeys(columns, np.nan)])

    def measure(self, evidence: pd.DataFrame) -> ClaimFinding:
        """The exact distance; beside it, as a check of the code, the mean projection of the samples."""
        places, checks, remarks = [], [], []
        for place, rows in evidence.groupby("place", sort=False):
            places.append(Condition(str(place), {"mean": Exact(float(rows["distance"].iloc[0]))}))
            values = rows.groupby("seed")["projection"].mean().dropna()  # policies of one run are one value
            if len(values):
                checks.append(Condition(f"{place}, sampled", {"sampled": Mean.of(values)}, within=False))
            p = rows["wald_p"].dropna()
            if len(p):
                least = min(1.0, float(p.min()) * len(p))
                remarks.append(
                    f"{place}: least Wald p of {counted(len(p), 'run')}, corrected for their number: {least:.2g}."
                )
        return ClaimFinding([*places, *checks], " ".join(remarks))

    def picture(self, evidence: pd.DataFrame) -> Figure:
        """Every run's projection, the exact one, and the margin of the check."""
        names = list(evidence["place"].unique())
        figure, (panel,) = draw.figure(height=1.4 + 0.5 * len(names))
        for row, name in enumerate(names):
            x = evidence.loc[evidence["place"] == name, "projection"].to_numpy()
            style = {"linestyle": "none"}
            dots = draw.look(0) | style | {"markersize": 2, "label": f"_value of {name}, a run"}
            panel.plot(x, row + np.linspace(-0.2, 0.2, len(x)), **dots)
            panel.plot(1.0, row, label=f"_value of {name}, exact", **draw.look(3) | style)
        panel.axvspan(1 - MARGIN, 1 + MARGIN, color=draw.HUES[2], alpha=0.15, linewidth=0)
        draw.rule(panel, "the gradient", x=1.0, color="black")
        panel.set_yticks(range(len(names)), names)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set(xlabel="⟨mean g, ∇J⟩ / |∇J|²: a dot a run, a triangle the exact mean")
        draw.heading(figure, "How much of the gradient the mean estimate has: 1 is all of it, shaded within 5%")
        return figure
