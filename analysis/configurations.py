"""Whether a configuration on disk says what tables and figures show of it. It may be of others, and hold anything."""

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

GROUPS = ("algorithm", "env", "phi", "baseline", "critic", "probe")


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value)


def _order(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 31


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


Facts = Mapping[str, Callable[[Any], bool]]

JUDGED: Facts = {
    "label": _text,
    "order": _order,
    "needs": lambda value: isinstance(value, list) and all(map(_text, value)),
}
"""What phi and baseline of a variant that a probe judged say about themselves."""

TRAINED: Facts = {**JUDGED, "symbol": lambda value: _text(value) or _number(value), "unbiased": _text}
"""What those of the run say."""

TOP: Facts = {
    "threshold": _optional(_number),
    "iterations": _optional(lambda value: _number(value) and value >= 0),
    "gamma": _optional(_number),
    "whiten": _optional(lambda value: isinstance(value, bool)),
    "discount_scores": _optional(lambda value: isinstance(value, bool)),
}


def misfit(config: Mapping[str, Any]) -> str | None:
    """The first setting that is not what it must be, as `phi.about.label`; None where there is none."""
    return next(_misfits(config), None)


def _misfits(config: Mapping[str, Any]) -> Iterator[str]:
    for name, fits in TOP.items():
        if not fits(config.get(name)):
            yield name
    for group in GROUPS:
        node = config.get(group)
        if node is not None and not (isinstance(node, Mapping) and _text(node.get("name"))):
            yield f"{group}.name"
            return
    about = (config.get("algorithm") or {}).get("about")
    yield from _wrong(about, {"label": _optional(_text), "order": _optional(_order)}, "algorithm.about")
    if config.get("phi") and config.get("baseline"):
        yield from _estimator(config, TRAINED, "")
        yield from _wrong(config["phi"]["about"], {"measured_from": _text}, "phi.about")
    probe = config.get("probe") or {}
    variants = probe.get("variants")
    if not _optional(lambda value: isinstance(value, Mapping))(variants):
        yield "probe.variants"
        return
    for name, node in (variants or {}).items():
        if not isinstance(node, Mapping):
            yield f"probe.variants.{name}"
            return
        yield from _estimator(node, JUDGED, f"probe.variants.{name}.")
    if not _optional(_text)(probe.get("reference")):
        yield "probe.reference"


def _estimator(node: Mapping[str, Any], facts: Facts, at: str) -> Iterator[str]:
    for part in ("phi", "baseline"):
        inner = node.get(part)
        if not (isinstance(inner, Mapping) and _text(inner.get("name"))):
            yield f"{at}{part}.name"
        elif not isinstance(inner.get("about"), Mapping):
            yield f"{at}{part}.about"
        else:
            yield from _wrong(inner["about"], facts, f"{at}{part}.about")


def _wrong(about: Any, facts: Facts, at: str) -> Iterator[str]:
    if not isinstance(about, Mapping | None):
        yield at
        return
    for name, fits in facts.items():
        if not fits((about or {}).get(name)):
            yield f"{at}.{name}"
