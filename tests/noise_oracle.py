"""Gradients that the tests of noise share, and its measures as they are written down."""

import numpy as np

SCALES = np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.2])


def three_variants():
    """[N, K, P] = [20, 3, 5]: three variants on the same trajectories."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 1, 5)) * np.array([1.0, 2.0, 0.7])[:, None] + 0.3 * rng.normal(size=(20, 3, 5)) + 0.5


TARGET = np.array([0.4, 0.6, 0.5, -0.2, 0.0])


def naive(name, x):
    """The measures of one variant, x [N, P], as they are written down."""
    N, m = len(x), x.mean(0)
    T = ((x - m) ** 2).sum() / (N - 1)
    v = TARGET / np.linalg.norm(TARGET)
    return {
        "trace_variance": T,
        "squared_signal": m @ m - T / N,
        "bias_squared": (m - TARGET) @ (m - TARGET) - T / N,
        "snr": (m @ m - T / N) / T,
        "nsr": T / (m @ m - T / N),
        "mean_squared_error": (m - TARGET) @ (m - TARGET) - T / N + T / 7,
        "directional_variance": (x @ v).var(ddof=1),
    }[name]
