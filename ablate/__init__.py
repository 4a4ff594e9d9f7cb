"""How noisy is this policy-gradient estimator, and does it matter?

    ablate.run(phi=["return", "rtg"], seed="0-9")    train, and give the study back     ablate.study.run
    ablate.load("outputs", "main")                   a study that is there              ablate.study.load
    ablate.exact(P, R, rho0, horizon, logits=None)   every estimator's exact moments    ablate.exact
    ablate.probe(model, loss, batch)                 the noise of any torch module      ablate.probes.module.probe

Each is loaded as it is first asked for: importing ablate costs nothing, and torch only where it is needed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
_LENT = {"run": "ablate.study", "load": "ablate.study", "Study": "ablate.study", "UserError": "ablate.errors"}
_RENAMED = {"Refusal": "UserError"}  # names that users may have written
_LENT |= {"probe": "ablate.probes.module"}


def __getattr__(name: str) -> Any:
    name = _RENAMED.get(name, name)
    if name in _LENT:
        return getattr(import_module(_LENT[name]), name)
    if name == "exact":  # a package, which can be called
        return import_module("ablate.exact")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LENT, "exact"]
