"""The noise of an estimator, measured on sampled trajectories.

At the first policy, every so many iterations and at the last, with fresh episodes from streams of the probe's own:
training does not notice. `online` judges the run's own estimator; `matched` judges every variant on the same
trajectories of the same policy, so that they differ in nothing but the estimator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ablate import build
from ablate.configuration.defaults import names, variants
from ablate.critics import Critic
from ablate.discounted_sums import Floats, ordered_sum
from ablate.envs.base import Environment
from ablate.episodes.by_steps import rollout_steps
from ablate.episodes.rollout import rollout
from ablate.episodes.trajectories import Trajectories
from ablate.estimator import Estimator
from ablate.gradients import per_trajectory_gradients, policy_gradient, score_products, signals_of
from ablate.learners.base import State
from ablate.models import Model, known
from ablate.optimizers import Optimizer
from ablate.phi import Signals
from ablate.policies import Policy
from ablate.probes.schedule import BATCHES, Schedule
from ablate.randomness import stream, streams
from ablate.statistics import bias, noise, resampling
from ablate.statistics.block_sums import BLOCKS, Accumulator, Blocks, sum_in_order
from ablate.statistics.interval import Interval, inverse

Row = dict[str, Any]
EPISODES_AT_ONCE = 64  # per-trajectory gradients that are held at a time
NUMBERS_AT_ONCE = 2**20  # in the blocks of the seeds that are measured together
COSINE_BATCHES = 16
DIRECTIONS = 1024  # parameters up to which the span of the scores is looked at
FITS = 100  # iterations' worth of updates that a fitted critic gets on its held-out episodes


@dataclass(frozen=True)
class ProbedVariant:
    """An estimator, what names it in a row, and whether the episodes of a batch share its baseline or a context."""

    facts: Mapping[str, str]
    estimator: Estimator
    couples: bool


def probe(config: Mapping[str, Any]) -> "SampledProbe | None":
    """The probe of a resolved configuration, None for `probe=off`."""
    node = config["probe"]
    if node["name"] == "off":
        return None
    env = build.environment(config)
    policy = build.policy(config, env)
    nodes = variants(config)
    needed = set().union(*(build.needs(variant) for variant in nodes.values()))
    source = {"run": config["critic"], "fitted": node.get("fitted"), "exact": {"_target_": "ablate.critics.exact"}}
    critic = build.critic(source[node["critic"]], needed, env, policy) if needed else None
    common: dict[str, Any] = {
        "env": env,
        "policy": policy,
        "optimizer": build.optimizer(config, env, policy),
        "variants": [_variant(variant, node["critic"], config) for variant in nodes.values()],
        "reference": list(nodes).index(node["reference"]) if node["reference"] else None,
        "critic": critic,
        "critic_source": node["critic"],
        "model": known(env, policy),
        "every": node["every"],
        "gamma": config["gamma"],
    }
    if "batch_steps" in config:
        return ProbeBySteps(**common, batch_steps=config["batch_steps"])
    return Probe(**common, episodes=node["episodes"], batch=config["episodes"])


def _variant(node: Mapping[str, Any], critic: str, config: Mapping[str, Any]) -> ProbedVariant:
    phi, baseline = names(node, config)
    facts = {
        "phi": phi,
        "baseline": baseline,
        "critic": critic if build.needs(node) else "none",
    }
    estimator = build.estimator(node, config)
    group = estimator.group or config["episodes"]  # None: a batch by steps is a row of its own
    couples = node["baseline"]["about"]["couples"] or config["whiten"] or estimator.group is not None
    couples = couples or bool(estimator.advantage or estimator.aggregation)
    return ProbedVariant(facts, replace(estimator, group=group), couples)


@dataclass(frozen=True)
class SampledProbe(Schedule):
    env: Environment
    policy: Policy
    optimizer: Optimizer
    variants: Sequence[ProbedVariant]
    reference: int | None
    critic: Critic | None
    critic_source: str
    model: Model | None
    gamma: float

    def measure(
        self, theta: Tensor, critic: State, seeds: Sequence[int], iteration: int, moments: State | None = None
    ) -> list[list[Row]]:
        """A row for every variant, for every seed. ``critic`` and ``moments`` are the states of the run's own critic
        and optimizer; without ``moments`` there is no noise in the optimizer's metric."""
        raise NotImplementedError

    def _held_out(self, theta: Tensor, seeds: Sequence[int], iteration: int) -> Trajectories:
        """Episodes for a critic that is fitted from nothing."""
        raise NotImplementedError

    def _mode(self) -> str:
        return "online" if self.reference is None else "matched"

    def _truth(self, theta: Tensor) -> Floats | None:
        """grad J [S, P], where it is known."""
        return self.model.gradient(theta, self.gamma) if self.model else None

    def _scale(self, theta: Tensor, moments: State | None, iteration: int) -> Floats | None:
        """The diagonal of the optimizer's metric, [S, P], where it has one."""
        scale = None if moments is None else self.optimizer.scale(theta, moments, iteration)
        return None if scale is None else scale.numpy().astype(np.float64)

    def _fitted(self, theta: Tensor, seeds: Sequence[int], iteration: int) -> State:
        """A critic fitted from nothing on held-out episodes of the present policy."""
        assert self.critic is not None
        held_out = self._held_out(theta, seeds, iteration)
        signals = signals_of(self.policy, theta, held_out, self.gamma)
        state = self.critic.initial(seeds)
        for fit in range(1, FITS + 1):
            judged = self.critic.evaluate(state, self.policy, theta, held_out, signals)
            state, _ = self.critic.fit(state, held_out, judged, seeds, fit)
        return state

    def _weights(self, theta: Tensor, episodes: Trajectories, signals: Signals) -> Floats:
        """w_t (Phi_t - b_t) of every variant, [K, S, N, T]; batch baselines over batches of the training's size."""
        products = score_products(self.policy, theta, episodes)
        return np.stack([v.estimator.weights(signals, products) for v in self.variants])

    def _scores(self, theta: Tensor, episodes: Trajectories) -> Floats | None:
        """sum_t z_t of each trajectory, [S, N, P]; None where there are too many parameters."""
        if theta.shape[1] > DIRECTIONS:
            return None
        ones = episodes.mask[None].astype(np.float64)
        return per_trajectory_gradients(self.policy, theta, episodes, ones).numpy()[0].astype(np.float64)


@dataclass(frozen=True)
class Probe(SampledProbe):
    episodes: int
    batch: int  # episodes of the training estimate, N

    def measure(
        self, theta: Tensor, critic: State, seeds: Sequence[int], iteration: int, moments: State | None = None
    ) -> list[list[Row]]:
        episodes = self._collect("probe", theta, seeds, iteration)
        signals = signals_of(self.policy, theta, episodes, self.gamma)
        if self.critic:
            state = self._fitted(theta, seeds, iteration) if self.critic_source == "fitted" else critic
            signals = self.critic.evaluate(state, self.policy, theta, episodes, signals)
        weights = self._weights(theta, episodes, signals)
        truth, scale = self._truth(theta), self._scale(theta, moments, iteration)
        returns = ordered_sum(ordered_sum(episodes.rewards, axis=2), axis=1) / self.episodes
        together = max(1, NUMBERS_AT_ONCE // (len(weights) * theta.shape[1] * min(self.episodes, BLOCKS)))
        rows: list[list[Row]] = []
        for start in range(0, len(seeds), together):
            s = slice(start, start + together)
            exact, own = _of(truth, s), _of(scale, s)
            rows += self._rows(theta[s], episodes.of(s), weights[:, s], exact, own)
        head = {"iteration": iteration, "mode": self._mode()}
        return [
            [head | {"return_mean": float(mean)} | row for row in own] for mean, own in zip(returns, rows, strict=True)
        ]

    def _collect(self, purpose: str, theta: Tensor, seeds: Sequence[int], iteration: int) -> Trajectories:
        sources = (streams(seeds, f"{purpose} {name}", iteration) for name in ("environment", "actions"))
        return rollout(self.policy, theta, self.env, self.episodes, *sources)

    def _held_out(self, theta: Tensor, seeds: Sequence[int], iteration: int) -> Trajectories:
        return self._collect("probe held-out", theta, seeds, iteration)

    def _rows(
        self, theta: Tensor, episodes: Trajectories, weights: Floats, truth: Floats | None, scale: Floats | None
    ) -> list[list[Row]]:
        """The measures of some seeds: theta [S, P], weights [K, S, N, T], truth and scale [S, P]."""
        weights = weights[..., : episodes.rewards.shape[2]]
        units = {self._unit(variant): Accumulator() for variant in self.variants}
        step = max(1, EPISODES_AT_ONCE // self.batch) * self.batch
        for start in range(0, self.episodes, step):
            part = slice(start, start + step)
            gradients = per_trajectory_gradients(self.policy, theta, episodes.between(part), weights[:, :, part])
            chunk = gradients.numpy().transpose(2, 1, 0, 3)  # [n, S, K, P]
            for unit, accumulator in units.items():
                accumulator.add(chunk if unit == 1 else _means(chunk, unit))
        scores, parts = self._scores(theta, episodes), self.policy.network.parts()
        steps = episodes.lengths.astype(np.float64)
        measured = {}
        for unit, accumulator in units.items():
            blocks, mean_steps = accumulator.blocks(), steps.reshape(len(steps), -1, unit).sum(2) / unit
            measured[unit] = measures(blocks, unit, self.batch, self.reference, truth, scores) | in_other_units(
                blocks, unit, mean_steps, scale, scores, parts
            )
        size = {"episodes": self.episodes, "batch": self.batch}
        return [
            [
                {**variant.facts, **size} | _numbers(measured[self._unit(variant)], s, k)
                for k, variant in enumerate(self.variants)
            ]
            for s in range(len(theta))
        ]

    def _unit(self, variant: ProbedVariant) -> int:
        """From how many episodes an observation of the variant comes: of a batch, where they are not independent."""
        return self.batch if variant.couples else 1


@dataclass(frozen=True)
class ProbeBySteps(SampledProbe):
    """Of batches by env steps. How many episodes one has hangs on how long they are, so what is looked at is the
    estimate itself, of whole batches as in training: N tr Cov(estimate) stands for tr C, N their mean number of
    episodes. The mean of the estimate, which is biased by O(1/N), is that of training, too."""

    batch_steps: int

    def measure(
        self, theta: Tensor, critic: State, seeds: Sequence[int], iteration: int, moments: State | None = None
    ) -> list[list[Row]]:
        state = self._fitted(theta, seeds, iteration) if self.critic_source == "fitted" else critic
        truth, scale = self._truth(theta), self._scale(theta, moments, iteration)
        every = []
        for s, seed in enumerate(seeds):
            one = slice(s, s + 1)
            at = {name: x[one].repeat_interleave(BATCHES, 0) for name, x in state.items()}
            here = theta[one].repeat(BATCHES, 1)
            every.append(self._rows(here, at, seed, iteration, _of(truth, one), _of(scale, one)))
        return every

    def _held_out(self, theta: Tensor, seeds: Sequence[int], iteration: int) -> Trajectories:
        sources = (streams(seeds, f"probe held-out {name}", iteration) for name in ("environment", "actions"))
        return rollout_steps(self.policy, theta, self.env, BATCHES * self.batch_steps, *sources)

    def _rows(
        self, theta: Tensor, critic: State, seed: int, iteration: int, truth: Floats | None, scale: Floats | None
    ) -> list[Row]:
        """The measures of one seed: theta and critic [BATCHES, ...], the same for each of its batches; truth and scale
        [1, P]."""
        purposes = ([f"probe {name} {b}" for b in range(BATCHES)] for name in ("environment", "actions"))
        sources = ([stream(seed, purpose, iteration) for purpose in each] for each in purposes)
        episodes = rollout_steps(self.policy, theta, self.env, self.batch_steps, *sources)
        signals = signals_of(self.policy, theta, episodes, self.gamma)
        if self.critic:
            signals = self.critic.evaluate(critic, self.policy, theta, episodes, signals)
        weights = self._weights(theta, episodes, signals)
        single = [policy_gradient(self.policy, theta, episodes, w).gradient.numpy() for w in weights]
        estimates = Accumulator()
        estimates.add(np.stack(single, axis=1)[:, None])  # [BATCHES, 1, K, P]
        blocks, counts = estimates.blocks(), episodes.played.sum(1)
        unit, steps = float(counts.mean()), episodes.lengths.sum(1)
        scores, parts = self._scores(theta, episodes), self.policy.network.parts()
        if scores is not None:
            scores = scores[episodes.played][None]
        found = measures(blocks, unit, unit, self.reference, truth, scores)
        found |= in_other_units(blocks, unit, steps[None] / unit, scale, scores, parts)
        returns = ordered_sum(episodes.rewards, axis=2).reshape(1, -1)
        mean = float(ordered_sum(returns, axis=1)[0]) / int(counts.sum())
        head = {"iteration": iteration, "mode": self._mode(), "return_mean": mean}
        size = {"episodes": int(counts.sum()), "batch": unit}
        return [head | {**variant.facts} | size | _numbers(found, 0, k) for k, variant in enumerate(self.variants)]


def measures(
    blocks: Blocks, unit: float, batch: float, reference: int | None, truth: Floats | None, scores: Floats | None
) -> dict[str, Floats]:
    """The columns of a probe row, [S, K] each; intervals as NAME, NAME_low, NAME_high.

    A unit of the blocks, [S, K, P], is the mean gradient of ``unit`` independent trajectories, or of so many on
    average. truth [S, P]: grad J, where it is known; scores [S, n, P]. Columns, all of one trajectory:

        informative           from how many units the noise comes; below 8 there are no limits
        trace_variance        tr C (for a batch baseline N times the variance of the N-episode estimate)
        squared_signal        |mu|^2;   snr = |mu|^2 / tr C;   nsr = tr C / |mu|^2 (inf: unbounded)
        split_directional_variance
                              along the direction of the mean of one half of the sample, in the other half
        pairwise_cosine       between the means of 16 batches of the probe's episodes
        log_ratio             against a reference: log (trace variance / its own), on the same trajectories
        log_ratio_unpaired    the same, as if each had had trajectories of its own;   effective_rank of C
        distance_squared      |mu - mu of the reference|^2, its bias^2 where the reference has none
        crossover             the episodes N up to which distance_squared + tr C / N is below the reference's tr C / N
        bias_squared          |mu - grad J|^2, where grad J is known; with it mse of the estimate of `batch` episodes,
                              cosine to grad J of batch means, directional_variance along grad J, projection
                              <mu, grad J> / |grad J|^2, and wald_p, the p-value of mu = grad J (NaN where the sample
                              does not fill the span of the scores)
    """

    ratio = _scaled(noise.snr(blocks), 1 / unit)
    intervals = {
        "trace_variance": _scaled(noise.trace_variance(blocks), unit),
        "squared_signal": noise.squared_signal(blocks),
        "snr": ratio,
        "nsr": inverse(ratio),
        "split_directional_variance": _scaled(noise.split_directional_variance(blocks), unit),
        "pairwise_cosine": noise.pairwise_cosine(blocks, COSINE_BATCHES),
    }
    columns: dict[str, Floats] = {"informative": resampling.informative(blocks)}
    if reference is not None:
        columns["effective_rank"] = noise.effective_rank(blocks)
        intervals["log_ratio"] = noise.paired_log_ratio(blocks, reference)
        intervals["log_ratio_unpaired"] = noise.unpaired_log_ratio(blocks, reference)
        intervals["distance_squared"] = away = noise.distance_squared(blocks, reference)
        T = intervals["trace_variance"].value
        columns["crossover"] = noise.crossover(np.maximum(away.value, 0), T, np.zeros_like(T), T[:, [reference]])
    if truth is not None:
        exact = truth[:, None]  # of every variant
        intervals["bias_squared"] = bias.bias_squared(blocks, exact)
        intervals["mse"] = bias.mean_squared_error(blocks, exact, int(batch / unit))
        intervals["cosine"] = bias.cosine(blocks, exact, COSINE_BATCHES)
        intervals["directional_variance"] = _scaled(noise.directional_variance(blocks, exact), unit)
        intervals["projection"] = bias.projection(blocks, exact)
        columns["wald_p"] = np.full(blocks.mean.shape[:-1], np.nan)
        if scores is not None:
            each = zip(truth, scores, strict=True)
            columns["wald_p"] = np.stack([bias.wald(blocks.of(s), g, Z) for s, (g, Z) in enumerate(each)])
    return columns | _with_limits(intervals)


def in_other_units(
    blocks: Blocks,
    unit: float,
    steps: Floats,
    scale: Floats | None,
    scores: Floats | None,
    parts: Mapping[str, slice],
) -> dict[str, Floats]:
    """Columns of a probe row that tell the same noise by its cost, in other metrics and by layer, [S, K] each.

    work_variance               tr C x mean env steps of a trajectory; steps [S, units] are means over a unit
    optimizer_trace_variance    tr C, and optimizer_snr, of g / (sqrt(v) + eps), what Adam and RMSprop step along,
                                at the run's own v; SGD's are those of g. Before the first step there is no v
    fisher_trace_variance       tr F^+ C, and fisher_snr = mu' F^+ mu / tr F^+ C, F the Fisher matrix of a
                                trajectory from the sample's scores; NaN where it is too small to tell F
    share_PART                  of the trace variance, by layer, where there are several
    """
    work = noise.work(blocks, np.stack([blocks.sums_of(x) for x in steps], axis=1))
    nothing = np.full(blocks.mean.shape[:-1], np.nan)
    noisy = ratio = Interval(nothing, nothing, nothing)
    if scale is not None:
        inside, size = noise.in_diagonal_metric(blocks, scale[:, None])
        noisy, ratio = _scaled(noise.trace_variance(inside), unit * size), _scaled(noise.snr(inside), 1 / (unit * size))
    columns = _in_fisher_metric(blocks, unit, scores)
    if len(parts) > 1:
        shares = noise.shares(blocks, list(parts.values()))
        columns |= {f"share_{name}": share for name, share in zip(parts, shares, strict=True)}
    intervals = {"work_variance": _scaled(work, unit), "optimizer_trace_variance": noisy, "optimizer_snr": ratio}
    return columns | _with_limits(intervals)


def _in_fisher_metric(blocks: Blocks, unit: float, scores: Floats | None) -> dict[str, Floats]:
    noisy, ratio = np.full((2, *blocks.mean.shape[:-1]), np.nan)
    for s, factor in enumerate([] if scores is None else map(noise.fisher, scores)):
        if factor is not None:
            inside, size = noise.in_metric(blocks.of(s), factor)
            _, U, _ = noise.distance(inside, np.zeros(inside.mean.shape[-1]))
            T, _ = resampling.trace_variance(inside)
            with np.errstate(divide="ignore", invalid="ignore"):
                noisy[s], ratio[s] = T * (unit * size), U / T * (1 / (unit * size))
    return {"fisher_trace_variance": noisy, "fisher_snr": ratio}


def _means(gradients: Floats, unit: int) -> Floats:
    """Those of runs of ``unit``, [n, ...] -> [n / unit, ...], added in index order, whatever stands beside them."""
    runs = gradients.reshape(-1, unit, *gradients.shape[1:])
    return sum_in_order(x.astype(np.float64) for x in runs.swapaxes(0, 1)) / unit


def _of(x: Floats | None, rows: slice) -> Floats | None:
    return None if x is None else x[rows]


def _numbers(columns: Mapping[str, Floats], s: int, k: int) -> Row:
    """Those of one seed and variant."""
    return {name: float(column[s, k]) for name, column in columns.items()}


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(*(x * factor for x in interval))


def _with_limits(intervals: Mapping[str, Interval]) -> dict[str, Floats]:
    return {
        f"{name}{end}": x
        for name, interval in intervals.items()
        for end, x in zip(("", "_low", "_high"), interval, strict=True)
    }
