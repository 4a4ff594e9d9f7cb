"""What values each setting may have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import UserError, shown

Allowed = tuple[Callable[[Any], bool], str]


def _positive(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < float("inf")


def whole(x: Any) -> bool:
    return _positive(x) and isinstance(x, int)


def _share(x: Any) -> bool:
    return type(x) in (int, float) and 0 <= x <= 1


def _decay(x: Any) -> bool:
    return _share(x) and x < 1


def _sizes(x: Any) -> bool:
    return isinstance(x, list) and all(map(whole, x))


def _numbers(x: Any) -> bool:
    return isinstance(x, list) and x != [] and all(type(one) in (int, float) and abs(one) < float("inf") for one in x)


def _rising(x: Any) -> bool:
    """A pair [low, high]."""
    numbers = isinstance(x, list) and len(x) == 2 and all(type(end) in (int, float) for end in x)
    return numbers and float("-inf") < x[0] < x[1] < float("inf")


A_COUNT = whole, "a whole number of at least 1"
A_SHARE = _share, "in [0, 1]"
A_DECAY = _decay, "in [0, 1)"
LAYERS = _sizes, "a list of layer sizes", "[64,64]"
INITIALIZER = (lambda x: x in ("uniform", "orthogonal")), "uniform or orthogonal", "orthogonal"
Range = tuple[Callable[[Any], bool], str, str]
"""What holds of an allowed value, the same in words, and an example."""

KINDS: dict[str, Range] = {
    "count": (*A_COUNT, "16"),
    "count or 0": (lambda x: x == 0 or whole(x), "a whole number of at least 0", "1000"),
    "several": (lambda x: whole(x) and x > 1, "a whole number of at least 2", "9"),
    "positive": (_positive, "above 0", "0.01"),
    "positive or 0": (lambda x: x == 0 or _positive(x), "0 or above", "0.01"),
    "positive or null": (lambda x: x is None or _positive(x), "above 0 or null", "0.5"),
    "positive share": (lambda x: _positive(x) and x <= 1, "in (0, 1]", "0.5"),
    "share": (*A_SHARE, "0.5"),
    "number": (lambda x: type(x) in (int, float) and abs(x) < float("inf"), "a finite number", "0.5"),
    "flag": (lambda x: isinstance(x, bool), "true or false", "true"),
    "layers": LAYERS,
    "interval": (_rising, "a list [low,high]", "[-2,2]"),
    "intervals or null": (
        lambda x: x is None or (isinstance(x, list) and x != [] and all(map(_rising, x))),
        "null or a list of [low,high]",
        "[[-2,2],[-2,2]]",
    ),
    "count or counts": (
        lambda x: whole(x) or (_sizes(x) and x != []),
        "a number of bins, or one for each dimension",
        "10",
    ),
}
"""The ranges that a yaml may name in `about.ranges`; a list there holds the allowed words themselves."""

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")  # and the packages that write for them
RANGES: dict[str, Range] = {
    "iterations": (whole, "a whole number of at least 1", "100"),
    "env_steps": (lambda x: x is None or whole(x), "a whole number of at least 1, or null", "200000"),
    "episodes": (whole, "a whole number of at least 1", "16"),
    "batch_steps": (lambda x: x is None or whole(x), "a whole number of at least 1, or null", "1000"),
    "outputs": (lambda x: isinstance(x, str), "a folder", "outputs"),
    "checkpoint_seconds": (_positive, "above 0", "10"),
    "tracking": (lambda x: x is None or x in TRACKERS, f"null, {', '.join(TRACKERS)}", "tensorboard"),
    "gamma": (lambda x: _positive(x) and x <= 1, "in (0, 1]", "0.99"),
    "threshold": (lambda x: x is None or abs(x) < float("inf"), "a finite number or null", "null"),
    "optimizer.lr": (_positive, "above 0", "0.003"),
    "optimizer.beta1": (*A_DECAY, "0.9"),
    "optimizer.beta2": (*A_DECAY, "0.999"),
    "optimizer.decay": (*A_DECAY, "0.99"),
    "optimizer.eps": (_positive, "above 0", "1e-8"),
    "optimizer.max_grad_norm": (lambda x: x is None or _positive(x), "above 0 or null", "0.5"),
    "critic.lr": (_positive, "above 0", "0.01"),
    "critic.updates": (whole, "a whole number of at least 1", "16"),
    "critic.batch_size": (lambda x: x == "all" or whole(x), "a whole number of at least 1, or all", "512"),
    "critic.td_lambda": (_share, "in [0, 1]", "0.95"),
    "critic.clock": (lambda x: x in ("none", "append", "product"), "none, append or product", "none"),
    "phi.gae_lambda": (_share, "in [0, 1]", "0.95"),
    "policy.sigma": (_positive, "above 0", "1"),
    "policy.spread": (lambda x: x in ("constant", "learned", "state"), "constant, learned or state", "learned"),
    "policy.hidden": LAYERS,
    "policy.units": (*A_COUNT, "16"),
    "policy.embedding": (*A_COUNT, "8"),
    "policy.initial_logits": (lambda x: x is None or _numbers(x), "a list of numbers or null", "[0,1]"),
    "policy.initializer": INITIALIZER,
    "critic.hidden": LAYERS,
    "critic.initializer": INITIALIZER,
    "probe.episodes": (whole, "a whole number of at least 1", "256"),
    "probe.every": (whole, "a whole number of at least 1", "50"),
    "probe.critic": (lambda x: x in ("run", "exact", "fitted"), "run, exact or fitted", "run"),
    "evaluate.every": (lambda x: x is None or whole(x), "a whole number of at least 1, or null", "10"),
    "evaluate.episodes": (whole, "a whole number of at least 1", "16"),
    "env.horizon": (whole, "a whole number of at least 1", "200"),
    "critic.decay": (*A_SHARE, "0.9"),
    "advantage.ddof": (lambda x: x in (0, 1) and not isinstance(x, bool), "0 or 1", "1"),
    "advantage.epsilon": (lambda x: x == 0 or _positive(x), "0 or above", "1e-6"),
    "aggregation.divisor": (_positive, "above 0", "8"),
    "study.name": (lambda x: isinstance(x, str), "a name", "pilot"),
    "env.group": (whole, "a whole number of at least 1", "4"),
}
DERIVED = "env.horizon", "env.group"  # null: from the rest


def range_of(said: str | list[str]) -> Range:
    """The range that a yaml names."""
    if isinstance(said, str):
        return KINDS[said]
    return lambda x: x in said, f"{', '.join(said[:-1])} or {said[-1]}", said[0]


def _are_ranges(said: Any) -> bool:
    """Whether each setting has a kind, or a list of two words or more."""
    texts = isinstance(said, dict) and all(isinstance(name, str) for name in said)
    return texts and all(
        kind in KINDS if isinstance(kind, str) else isinstance(kind, list) and len(kind) > 1 and _are_texts(kind)
        for kind in said.values()
    )


def _are_texts(said: Any) -> bool:
    return all(isinstance(text, str) for text in said)


ALGORITHM_DESCRIPTION: dict[str, Allowed] = {
    "ranges": (_are_ranges, f"a list of words, or one of {', '.join(KINDS)}, for each setting"),
    "columns": (lambda x: isinstance(x, dict) and _are_texts([*x, *x.values()]), "a text for each column"),
}
"""What an algorithm may say of its settings, and of what it records besides `store.CURVES`; no part of a run."""


def check_ranges(config: dict[str, Any]) -> None:
    """Raises UserError for the first setting that is not in its range: in `RANGES`, or in the algorithm's own yaml."""
    said = config["algorithm"]["about"].get("ranges", {})
    own = {f"algorithm.{key}": range_of(kind) for key, kind in said.items()}
    for name, (allowed, what, example) in (RANGES | own).items():
        group, _, key = name.rpartition(".")
        node = config[group] if group else config
        value = node.get(key)
        if key in node and not (name in DERIVED and value is None) and not allowed(value):
            raise UserError(f"{name}={shown(value)} is not {what}; write for example {name}={example}")


@dataclass(frozen=True)
class Dask:
    """A Dask cluster: the address of its scheduler or its scheduler file, None for one on this machine."""

    scheduler: str | None


def processes(value: Any, dask: Mapping[str, Any]) -> int | Dask | None:
    """How many processes `workers=` names, None for one a core; or the cluster."""
    scheduler = dask.get("scheduler")
    if value == "dask":
        if scheduler is not None and not isinstance(scheduler, str):
            raise UserError(f"dask.scheduler={shown(scheduler)} is no address; write dask.scheduler=tcp://host:8786")
        return Dask(scheduler)
    if scheduler is not None:
        raise UserError(f"dask.scheduler is of workers=dask, and workers={shown(value)}; add workers=dask")
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"workers={value} is not a number of processes; write workers=auto, dask, or 1 or more")
    return value
