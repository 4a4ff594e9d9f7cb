"""From a resolved configuration to the parts that it names."""

from collections.abc import Mapping
from typing import Any

import hydra.utils

from ablate.envs.base import Discrete, Environment

Config = Mapping[str, Any]
FACTS = ("name", "about")  # what a node says of itself, besides the arguments of its target


def part(node: Config, **more: Any) -> Any:
    """What a node's `_target_` makes of the node's other keys and of the objects in `more`."""
    arguments = {key: value for key, value in node.items() if key not in FACTS}
    made = hydra.utils.instantiate(arguments | {"_partial_": True}, _convert_="all")
    return made if node.get("_partial_") else made(**more)


def environment(config: Config) -> Environment:
    return part(config["env"])


def policy(config: Config, env: Environment) -> Any:
    size = env.actions.n if isinstance(env.actions, Discrete) else env.actions.size
    return part(config["policy"], observation_size=env.observation_size, action_size=size)


def estimator(config: Config) -> Any:
    from ablate.estimator import Estimator

    return Estimator(
        phi=part(config["phi"]),
        baseline=part(config["baseline"]),
        measured_from=config["phi"]["about"]["measured_from"],
        discount_scores=config["discount_scores"],
        whiten=config["whiten"],
    )


def critic(config: Config, env: Environment) -> Any:
    """The critic of what Phi and the baseline need, or None if they need none."""
    if config["critic"] is None:
        return None
    wanted = frozenset(config["phi"]["about"]["needs"]) | frozenset(config["baseline"]["about"]["needs"])
    return part(config["critic"], wanted=wanted, env=env)


def optimizer(config: Config) -> Any:
    return part(config["optimizer"])


def learner(config: Config) -> Any:
    return hydra.utils.get_method(config["algorithm"]["_target_"])(config)
