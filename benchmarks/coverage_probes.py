"""How often limits over probes and over prompts hold the truth: three sections of `benchmarks.coverage_seeds`."""

import numpy as np
import pandas as pd
from scipy import stats

from ablate.sequences import pass_rates
from ablate.statistics import seeds
from ablate.statistics.block_sums import blocks_of
from ablate.statistics.interval import Floats
from ablate.statistics.noise import paired_log_ratio

REPEATS = 1000  # samples a number; its standard error is 0.7% at 95%
SIZES = 5, 10, 20  # seeds
FILES = 12, 30, 100, 300  # prompts in a file of pass rates


def noise() -> list:
    """One-number gradients: each seed's probe estimates their variance, and says from how many episodes it comes."""
    rows = []
    rng = np.random.default_rng(10)
    for name, draw, truth in (
        ("normal", rng.standard_normal, 1.0),
        ("lognormal of deviation 0.7, either sign", lambda shape: _signed(rng, 0.7, shape), np.exp(2 * 0.7**2)),
        ("lognormal of deviation 1, either sign", lambda shape: _signed(rng, 1.0, shape), np.exp(2.0)),
        ("100 with chance 0.1, else 0", lambda shape: 100.0 * (rng.random(shape) < 0.1), 900.0),
        ("100 with chance 0.01, else 0", lambda shape: 100.0 * (rng.random(shape) < 0.01), 99.0),
    ):
        found = []
        for n in SIZES:
            ends = [seeds.trace_variance(probes(draw((n, 64)))) for _ in range(REPEATS)]
            held = float(np.mean([low <= truth <= high for _, low, high in ends]))
            found.append((held, float(np.mean([np.isinf(high) for _, _, high in ends]))))
        rows.append(("median trace variance", name, found))
    return rows


def ratios() -> list:
    """Two estimators on the same one-number gradients: log_ratio with its limits as probe=matched has them."""
    rows = []
    rng = np.random.default_rng(11)
    for name, deviation in (("normal", 0.0), ("lognormal of deviation 0.7", 0.7), ("lognormal of deviation 1", 1.0)):
        truth = np.exp(2 * deviation**2) * 1.25  # of noise that is the reference's, with a part of its own
        found = []
        for n in SIZES:
            ends = [seeds.variance_ratio(matched(rng, deviation, n)) for _ in range(REPEATS // 5)]
            held = float(np.mean([low <= truth <= high for _, low, high in ends]))
            found.append((held, float(np.mean([np.isinf(high) for _, _, high in ends]))))
        rows.append(("variance ratio to the reference", name, found))
    return rows


def matched(rng: np.random.Generator, deviation: float, number: int, episodes: int = 64) -> pd.DataFrame:
    """The rows of the other estimator, a seed each; the reference's noise is normal."""
    y = rng.standard_normal((episodes, number))
    x = (y + 0.5 * rng.standard_normal(y.shape)) * rng.lognormal(0, deviation, y.shape)
    found = paired_log_ratio(blocks_of(np.stack([y, x], -1)[..., None]), 0)
    return pd.DataFrame({name: x[:, 1] for name, x in zip(LOG_RATIO, found, strict=True)} | {"mode": "matched"})


LOG_RATIO = "log_ratio", "log_ratio_low", "log_ratio_high"


def groups() -> list:
    """Pass rates of prompts drawn from a population, as known and as k of 8 answers; 1,024 samples an update."""
    rows = []
    for name, a, b in (("Beta(2, 2)", 2.0, 2.0), ("Beta(0.3, 0.9), most never solved", 0.3, 0.9)):
        rng = np.random.default_rng(12)
        whole = stats.beta.ppf((np.arange(20_000) + 0.5) / 20_000, a, b)
        for what, answers, repeats in (("known rates", 0, 200), ("k of 8", 8, 40)):
            hits: dict[str, list[float]] = {}
            for prompts in FILES:
                told = {name: 0 for name in pass_rates.ESTIMATORS}
                for _ in range(repeats):
                    p = rng.beta(a, b, prompts)
                    own = pass_rates.observed(rng.binomial(answers, p), np.full(prompts, answers)) if answers else None
                    table = pass_rates.by_group_size(own or pass_rates.known(p), 1024, [8]).set_index("estimator")
                    for estimator, advantage in pass_rates.ESTIMATORS.items():
                        m, q = (x.mean() for x in pass_rates.group_moments(whole, 8, advantage))
                        truth = (q - m * m) / 128 / (m * m)
                        told[estimator] += table["nsr_low"][estimator] <= truth <= table["nsr_high"][estimator]
                for estimator, count in told.items():
                    hits.setdefault(estimator, []).append(count / repeats)
            rows += [(f"{estimator}, groups of 8, {what}", name, found) for estimator, found in hits.items()]
    return rows


def _signed(rng: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> Floats:
    return rng.choice([-1.0, 1.0], shape) * rng.lognormal(0, deviation, shape)


def probes(gradients: Floats) -> pd.DataFrame:
    """The rows of a probe of gradients [seeds, episodes], a seed each."""
    squares = np.square(gradients - gradients.mean(1, keepdims=True))
    total = squares.sum(1)
    with np.errstate(invalid="ignore"):
        informative = np.square(total) / np.square(squares).sum(1)
    columns = {"trace_variance": total / (gradients.shape[1] - 1), "informative": informative, "mode": "online"}
    return pd.DataFrame(columns)
