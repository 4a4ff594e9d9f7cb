"""C21: less variance means less noisy gradients, and so better learning: rank of noise against rank of learning."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.statistics import kendall_over_variants, kendall_tau
from analysis.verdicts import draw, learning
from analysis.verdicts.estimates import Mean
from analysis.verdicts.study import Study
from analysis.verdicts.verdict import Finding, Place

RATES = {"cartpole": 0.003, "frozenlake": 3.0, "chain": 0.03}  # the default of each


def evidence(study: Study) -> pd.DataFrame:
    """env, variant (phi - baseline), seed, noise = log trace variance of every variant on the same trajectories of the
    first policy (critics fitted on held-out episodes), area = mean return over training, to the least common budget."""
    tables = []
    for env, rate in RATES.items():
        where = {"env.name": env, "algorithm.name": "policy_gradient"}
        probes = study.probes({**where, "probe.name": "matched", "probe.critic": "fitted"})
        first = probes[probes["iteration"] == 0]
        noise = first.assign(noise=np.log(first["trace_variance"]))[["seed", "phi", "baseline", "noise"]]
        runs = study.curves({**where, "probe.name": "off", "optimizer.lr": rate}, ["phi.name", "baseline.name"])
        runs = runs[runs["seed"] < learning.TUNING]
        budget = runs.groupby(["phi.name", "baseline.name", "seed"])["env_steps"].max().min()
        rows = [
            {"phi": phi, "baseline": baseline, "seed": seed, "area": learning.area(curve, budget)}
            for (phi, baseline, seed), curve in runs.groupby(["phi.name", "baseline.name", "seed"])
        ]
        both = noise.merge(pd.DataFrame(rows), on=["phi", "baseline", "seed"]).assign(env=env)
        bare = both["baseline"] == "none"
        both["variant"] = np.where(bare, both["phi"], both["phi"] + " - " + both["baseline"])
        tables.append(both[["env", "variant", "seed", "noise", "area"]])
    return pd.concat(tables, ignore_index=True)


def measure(evidence: pd.DataFrame) -> Finding:
    """tau between -noise and area over the variants, seed by seed, then the mean over seeds: is it above 0?"""
    places, remarks = [], []
    for env, rows in evidence.groupby("env", sort=False):
        taus = [kendall_tau(-one["noise"].to_numpy(), one["area"].to_numpy()) for _, one in rows.groupby("seed")]
        places.append(Place(f"{env}, {rows['variant'].nunique()} variants", {"tau": Mean.of(taus)}))
        means = rows.groupby("variant")[["noise", "area"]].mean()
        if len(means) > 4:
            tau, low, high = kendall_over_variants(-means["noise"].to_numpy(), means["area"].to_numpy())
            remarks.append(f"{env}, these variants as a sample of others: {tau:.2f} [{low:.2f}, {high:.2f}].")
    remark = "Noise of the first policy, where all can be compared; intervals over seeds. " + " ".join(remarks)
    return Finding(places, remark)


def picture(evidence: pd.DataFrame) -> Figure:
    names = list(evidence["env"].unique())
    figure, panels = draw.figure(len(names), height=3.2)
    variants = list(evidence["variant"].unique())
    for panel, env in zip(panels, names, strict=True):
        means = evidence[evidence["env"] == env].groupby("variant", sort=False)[["noise", "area"]].mean()
        for variant, point in means.iterrows():
            place = variants.index(variant)
            look = draw.look(place) | {"linestyle": "none"}
            panel.plot(np.exp(point["noise"]), point["area"], label=variant, **look)
        panel.set(xscale="log", xlabel="trace variance", title=env)
        panel.xaxis.set_minor_formatter("")
    panels[0].set_ylabel("mean return over training")
    figure.suptitle("Noise of one episode at the first policy, and what training with it comes to", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=6)
    return figure
