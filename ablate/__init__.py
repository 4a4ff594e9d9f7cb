"""How noisy is this policy-gradient estimator, and does it matter?"""

__version__ = "0.1.0"
