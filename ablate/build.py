"""From a resolved configuration to the parts that it names."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import hydra.utils

from ablate import global_generators, user_code
from ablate.configuration.defaults import needs as needs
from ablate.envs.base import Discrete, Environment

Config = Mapping[str, Any]
FACTS = ("name", "about")  # what a node says of itself, besides the arguments of its target


def part(node: Config, **more: Any) -> Any:
    """What a node's `_target_` makes of the node's other keys and of the objects in `more`."""
    arguments = {key: value for key, value in node.items() if key not in FACTS}
    made = hydra.utils.instantiate(arguments | {"_partial_": True}, _convert_="all")
    if not node.get("_partial_"):
        return made(**more)
    return partial(made.func, *made.args, **made.keywords)  # Hydra's own examines its target anew at every call


def environment(config: Config) -> Environment:
    return part(config["env"])


def policy(config: Config, env: Environment) -> Any:
    discrete = isinstance(env.actions, Discrete)
    size = env.actions.n if isinstance(env.actions, Discrete) else env.actions.size
    more = {"discrete": discrete} if config["policy"]["_target_"] == user_code.MODULE else {}
    return part(config["policy"], observation_size=env.observation_size, action_size=size, **more)


def estimator(variant: Config, config: Config) -> Any:
    """The estimator of a variant (its `phi` and `baseline`) under the run's other settings."""
    from ablate.estimator import Estimator

    names = {axis: f"{axis}={variant[axis]['name']}" for axis in ("phi", "baseline")}
    axes = {axis: part(variant[axis]) for axis in ("advantage", "aggregation") if axis in variant}
    phi, baseline = part(variant["phi"]), part(variant["baseline"])
    for axis, made in (("phi", phi), ("baseline", baseline)):
        if user_code.is_users(variant[axis]):
            global_generators.keep(made)
    return Estimator(
        phi=user_code.UserPhi(phi, names["phi"]) if user_code.is_users(variant["phi"]) else phi,
        baseline=user_code.UserBaseline(baseline, names["baseline"])
        if user_code.is_users(variant["baseline"])
        else baseline,
        names=(names["phi"], names["baseline"]),
        measured_from=variant["phi"]["about"]["measured_from"],
        discount_scores=config["discount_scores"],
        whiten=config["whiten"],
        group=config["env"].get("group"),
        **axes,
    )


def critic(node: Config | None, needs: Iterable[str], env: Environment, policy: Any) -> Any:
    """The critic of V, Q or both (``needs``), or None where there is none."""
    if not node:
        return None
    made = part(node, wanted=frozenset(needs), env=env, policy=policy)
    if not user_code.is_users(node):
        return made
    global_generators.keep(made)
    return user_code.UserCritic(made, f"critic={node['name']}")


def optimizer(config: Config, env: Environment, policy: Any) -> Any:
    """The optimizer; one that says that it needs a model is given that of the environment, and the weight of scores."""
    node = config["optimizer"]
    if not node.get("about", {}).get("env_has"):
        return part(node)
    from ablate.models import known

    discount = config["gamma"] if config["discount_scores"] else 1.0
    return part(node, model=known(env, policy), discount=discount)


def learner(config: Config) -> Any:
    return hydra.utils.get_method(config["algorithm"]["_target_"])(config)
