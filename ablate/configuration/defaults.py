"""What a configuration leaves open, filled in from the rest; nothing is refused here."""

from collections.abc import Mapping
from copy import deepcopy
from math import prod
from typing import Any

from ablate.configuration.ranges import ALGORITHM_DESCRIPTION

USED = (
    "policy", "optimizer", "critic", "phi", "baseline", "probe", "evaluate", "episodes", "discount_scores", "whiten"
)  # fmt: skip
"""Parts of a configuration that some algorithms have no use for."""


PLAIN = {"advantage": "none", "aggregation": "sequence_sum"}
"""Choices that leave an estimator as Phi and baseline make it, and are left out of a configuration."""

ADDED = {
    ("algorithm", "initial_value"): 0.0,
    ("algorithm", "critic_initializer"): "uniform",
    ("policy", "initial_logits"): None,
    ("policy", "initializer"): "uniform",
    ("critic", "initializer"): "uniform",
    ("env", "reward_std"): None,
    ("env", "vectorization_mode"): "sync",
}
"""Settings of later versions, with the value that leaves a run as it was: there they are left out, so that a cell of
earlier results keeps its name."""


def complete(asked: dict[str, Any]) -> dict[str, Any]:
    """The configuration that is run, of one whose settings are each in their range.

    What the algorithm, Phi and baseline do not use is left out (`critic: null`), so that one experiment has one
    configuration; the probe's episodes are rounded up to whole batches.
    """
    config = deepcopy(asked)
    for key in ALGORITHM_DESCRIPTION:
        config["algorithm"]["about"].pop(key, None)
    _complete_budget(config)
    _complete_batch(config)
    for axis, plain in PLAIN.items():
        if config[axis]["name"] == plain:
            del config[axis]
    for (group, key), default in ADDED.items():
        if key in config[group] and config[group][key] == default:
            del config[group][key]
    uses = config["algorithm"]["about"]["uses"]
    for part in USED:
        if part not in uses:
            config[part] = {"name": "off"} if part == "probe" else None
    if not config["phi"]:
        return config
    if "group" in config["env"]:
        config["env"]["group"] = config["env"]["group"] or config["episodes"]
    _complete_probe(config)
    if not needs(config):
        config["critic"] = None
    return config


def _complete_budget(config: dict[str, Any]) -> None:
    """Leave one budget. Where an iteration is a known number of env steps, `env_steps` comes to a number of iterations,
    so that one experiment has one configuration."""
    env_steps, settings = config.pop("env_steps"), config["algorithm"]["about"].get("iteration_steps")
    if env_steps is not None and settings is None:  # known only as it runs
        config |= {"iterations": None, "env_steps": env_steps}
    elif env_steps is not None:
        config["iterations"] = -(-env_steps // prod(config["algorithm"][name] for name in settings))


def _complete_batch(config: dict[str, Any]) -> None:
    """Leave one size of a batch."""
    if config["batch_steps"] is None or "episodes" not in config["algorithm"]["about"]["uses"]:
        del config["batch_steps"]
    else:
        config["episodes"] = None


def _complete_probe(config: dict[str, Any]) -> None:
    """Whole batches, and the critic that the probe needs."""
    probe, batch = config["probe"], config["episodes"]
    for variant in (probe.get("variants") or {}).values():  # the run's own settings hold where it is one of the list
        variant |= {k: config[k] for k in variant if k in config and variant[k]["name"] == config[k]["name"]}
    if probe["name"] in ("off", "exact"):
        return
    if batch is None:
        probe["episodes"] = None  # `probes.schedule.BATCHES` batches
    else:
        probe["episodes"] = _whole_batches(config, probe["episodes"])
    needed = needed_by_probe(config)
    if needed and config["critic"]["name"] == "exact" and probe["critic"] == "run":
        probe["critic"] = "exact"
    if probe["critic"] == "run" and needed - needs(config):
        probe["critic"] = "fitted"
    probe["fitted"] = dict(config["critic"]) if probe["critic"] == "fitted" and needed else None


def _whole_batches(config: dict[str, Any], episodes: int) -> int:
    """So many episodes or more: whole batches, of which there are 16 where episodes of a batch are not independent."""
    batch = config["episodes"]
    coupled = config["whiten"] or "group" in config["env"] or any(axis in config for axis in PLAIN)
    coupled = coupled or any(variant["baseline"]["about"]["couples"] for variant in variants(config).values())
    fewest = 16 * batch if coupled else 16
    return max(-(-episodes // batch) * batch, fewest)


def variants(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The variants that the probe judges, by name: those that it lists, and the run's own where it is none of them.
    Exact values are of the listed ones alone."""
    probe = config.get("probe") or {}
    listed = probe.get("variants") or {}
    pairs = [names(node, config) for node in (config, *listed.values())]
    return listed if pairs[0] in pairs[1:] or probe.get("name") == "exact" else listed | {"own": config}


def names(variant: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, str]:
    """What the rows of a variant say of phi and baseline. Beside others on the same trajectories an advantage and an
    aggregation, which stand in the place of Phi - b, are named as the baseline is."""
    phi, baseline = variant["phi"]["name"], variant["baseline"]["name"]
    axes = [variant[axis]["name"] for axis in PLAIN if axis in variant and variant[axis]["name"] != PLAIN[axis]]
    if (config.get("probe") or {}).get("name") != "matched" or not axes:
        return phi, baseline
    return phi, " ".join(axes if baseline == "none" else [baseline, *axes])


def needs(variant: Mapping[str, Any]) -> set[str]:
    """Which of V and Q a variant (its `phi` and `baseline`, or its `advantage`) asks a critic for."""
    own = variant.get("advantage", {}).get("about", {}).get("needs", [])
    return {*variant["phi"]["about"]["needs"], *variant["baseline"]["about"]["needs"], *own}


def needed_by_probe(config: dict[str, Any]) -> set[str]:
    """Which of V and Q the probe's variants ask a critic for."""
    return set().union(*(needs(variant) for variant in variants(config).values()))
