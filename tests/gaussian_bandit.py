"""A Gaussian policy with one action and a quadratic reward, by hand: an oracle for `ablate.lqg`."""

from dataclasses import dataclass

import numpy as np

from ablate.lqg import ScalarMoments


@dataclass(frozen=True)
class GaussianBandit:
    """One action a = mu + sigma e, e ~ N(0, 1), and r = r_0 + r_1 a + r_2 a^2 + noise * N(0, 1).

    In terms of e, E[r | e] = c_0 + c_1 e + c_2 e^2, with c_0 = r_0 + r_1 mu + r_2 mu^2, c_1 = (r_1 + 2 r_2 mu) sigma
    and c_2 = r_2 sigma^2. The score is (e / sigma, e^2 - 1) for (mu, log sigma); all moments follow from those of e:
    E e^2 = 1, E e^4 = 3, E e^6 = 15, E e^8 = 105.
    """

    mu: float
    sigma: float
    reward: tuple[float, float, float]
    noise: float = 0.0

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """c_0, c_1, c_2."""
        r0, r1, r2 = self.reward
        return r0 + r1 * self.mu + r2 * self.mu**2, (r1 + 2 * r2 * self.mu) * self.sigma, r2 * self.sigma**2

    @property
    def value(self) -> float:
        """V = E r = c_0 + c_2."""
        c0, _, c2 = self.coefficients
        return c0 + c2

    @property
    def optimal_baseline(self) -> float:
        """b* = E[|z|^2 r] / E|z|^2, the constant of least trace variance over (mu, log sigma)."""
        c0, _, c2 = self.coefficients
        precision = 1 / self.sigma**2
        return (precision * (c0 + 3 * c2) + 2 * c0 + 10 * c2) / (precision + 2)

    def moments(self, baseline: float = 0.0) -> ScalarMoments:
        """Of g = z (r - b) for (mu, log sigma), [2] each, with c = c_0 - b:

        E g = (c_1 / sigma, 2 c_2),
        E g_mu^2 = (c^2 + 6 c c_2 + 3 c_1^2 + 15 c_2^2 + noise^2) / sigma^2,
        E g_log_sigma^2 = 2 c^2 + 20 c c_2 + 10 c_1^2 + 78 c_2^2 + 2 noise^2.
        """
        c0, c1, c2 = self.coefficients
        c = c0 - baseline
        mean = np.array([c1 / self.sigma, 2 * c2])
        second = np.array(
            [
                (c**2 + 6 * c * c2 + 3 * c1**2 + 15 * c2**2 + self.noise**2) / self.sigma**2,
                2 * c**2 + 20 * c * c2 + 10 * c1**2 + 78 * c2**2 + 2 * self.noise**2,
            ]
        )
        return ScalarMoments(mean, second - mean**2)
