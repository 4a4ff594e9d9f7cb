"""How noisy is this policy-gradient estimator, and does it matter?"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`ablate.probe`, loaded as it is asked for: it imports torch, which takes a second."""
    if name == "probe":
        from ablate.probes.module import probe

        return probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
