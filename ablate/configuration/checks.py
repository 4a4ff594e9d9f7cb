"""What settings cannot be together. Every check only reads, and raises a UserError with the remedy."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from ablate.configuration.defaults import PLAIN, USED, needed_by_probe, variants
from ablate.configuration.schema import CONF
from ablate.errors import IncompatibleSettings, UserError, shown

if TYPE_CHECKING:
    from ablate.envs.base import Environment
    from ablate.mdp import MDP

EXACT_PROBE = 4.0  # the work of probe=exact for one policy, in tables of `ablate.exact`


def check(asked: dict[str, Any], config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Hold a configuration against itself: `asked` as it was composed of `overrides`, `config` as it was completed."""
    _budget(asked, overrides)
    _unused(config, overrides)
    _batch(config, overrides)
    if config["phi"]:
        _group(config)
        _variant(config)
        _answers(config)
        _probe(config)
        _critic(asked, config, overrides)
    _environment(config)
    if config["algorithm"]["about"]["env"] != "any":
        from ablate import build

        build.learner(config)  # which refuses what it cannot learn in; worth the second that importing torch takes


def _budget(asked: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse two budgets, and env steps where none are made."""
    env_steps, algorithm = asked["env_steps"], asked["algorithm"]
    if env_steps is None:
        return
    if typed := _typed(overrides, "iterations"):
        raise UserError(f"{typed} and env_steps={env_steps} are two budgets; leave one out, or write env_steps=null")
    if algorithm["about"].get("iteration_steps") == []:
        raise IncompatibleSettings(
            f"algorithm={algorithm['name']} makes no env steps; write iterations= in place of env_steps="
        )


def _unused(config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse what was asked for by name and the algorithm has no use for."""
    name, uses = config["algorithm"]["name"], config["algorithm"]["about"]["uses"]
    for part in USED:
        typed = None if part in uses else _typed(overrides, part)
        if typed and typed != "probe=off":
            raise IncompatibleSettings(
                f"algorithm={name} uses no {part}; leave out {typed}, or write algorithm=policy_gradient"
            )
    typed = _typed(overrides, "batch_steps")
    if "episodes" not in uses and typed and typed != "batch_steps=null":
        raise IncompatibleSettings(
            f"algorithm={name} learns as it goes, from no batch of episodes; leave out {typed}, or write "
            "algorithm=policy_gradient"
        )
    for axis, plain in PLAIN.items():
        typed = _typed(overrides, axis)
        if not config["phi"] and typed and typed != f"{axis}={plain}":
            raise IncompatibleSettings(
                f"algorithm={name} uses no {axis}; leave out {typed}, or write algorithm=policy_gradient"
            )
    if not config["phi"] and config["env"].get("group") is not None:
        raise IncompatibleSettings(f"algorithm={name} takes no groups of episodes; leave out env.group")


def _batch(config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse two sizes of a batch, and what needs to know how many episodes one has."""
    if "batch_steps" not in config:
        return
    own = f"batch_steps={config['batch_steps']}"
    doubles = {"episodes": "is another size of a batch", "probe.episodes": "has no use: a probe takes whole batches"}
    for name, does in doubles.items():
        typed = _typed(overrides, re.escape(name))
        if typed and typed != "episodes=null":
            raise UserError(f"{typed} {does} beside {own}; leave one out, or write batch_steps=null")
    remedy = f"write episodes= in place of {own}"
    if "group" in config["env"]:
        raise IncompatibleSettings(f"env={config['env']['name']} plays episodes in groups, of equal size; {remedy}")
    for axis in PLAIN.keys() & config.keys():
        raise IncompatibleSettings(f"{axis}={config[axis]['name']} is of groups of equal size; {remedy}")
    if config["probe"]["name"] == "exact":
        raise IncompatibleSettings(f"probe=exact has values of a fixed number of episodes; {remedy}, or probe=online")


def _typed(overrides: Sequence[str], part: str) -> str | None:
    """The first override of a setting or of a group and its parts."""
    return next((o for o in overrides if re.match(rf"\+*{part}[=.]", o)), None)


def _answers(config: dict[str, Any]) -> None:
    """An advantage stands in the place of Phi - b, and is one number an episode."""
    group = config["env"].get("group")
    batch, what = (config["episodes"], "episodes") if group is None else (group, "env.group")
    for axis in PLAIN.keys() & config.keys():
        name, fewest = f"{axis}={config[axis]['name']}", config[axis]["about"]["fewest_episodes"]
        if config["probe"]["name"] == "exact" and group is None:
            raise IncompatibleSettings(f"probe=exact judges phi and baseline alone, not {name}; write probe=online")
        if batch < fewest:
            raise IncompatibleSettings(
                f"{name} takes groups of {fewest} episodes or more, not {batch}; write {what}={fewest}"
            )
    if "advantage" not in config:
        return
    name = f"advantage={config['advantage']['name']}"
    if config["phi"]["name"] != "return" or config["baseline"]["name"] != "none":
        cell = f"phi={config['phi']['name']} baseline={config['baseline']['name']}"
        raise IncompatibleSettings(
            f"{name} stands in the place of Phi - b, not beside {cell}; write phi=return baseline=none"
        )
    if config["whiten"]:
        raise IncompatibleSettings(f"{name} is standardised as its name says; leave out whiten=true")


def _group(config: dict[str, Any]) -> None:
    group, episodes = config["env"].get("group"), config["episodes"]
    if group is not None and episodes % group:
        more = -(-episodes // group) * group
        raise IncompatibleSettings(f"env.group={group} does not divide episodes={episodes}; write episodes={more}")


def _variant(config: dict[str, Any]) -> None:
    phi, baseline = config["phi"], config["baseline"]
    if baseline["name"] != "none" and not phi["about"]["takes_baseline"]:
        raise IncompatibleSettings(
            f"phi={phi['name']} baseline={baseline['name']} cannot be: phi={phi['name']} has V(s_t) in it already; "
            "write baseline=none"
        )
    if config["episodes"] is None:
        return
    fewest, group = baseline["about"].get("fewest_episodes", 1), config["env"].get("group")
    size, what = (config["episodes"], "episodes") if group is None else (group, "env.group")
    if size < fewest:
        raise IncompatibleSettings(
            f"baseline={baseline['name']} with {what}={size} cannot be: it takes other episodes of "
            f"the batch; write {what}={fewest} or more"
        )


def _probe(config: dict[str, Any]) -> None:
    """Refuse a reference that is not judged, and what the probe has no critic or too few episodes for."""
    probe = config["probe"]
    if probe["name"] == "off":
        return
    judged = list(variants(config))
    allowed = judged if probe["name"] == "exact" else [*judged, None]  # exact ratios have a reference
    if probe["reference"] not in allowed:
        raise UserError(
            f"probe.reference={shown(probe['reference'])} is no variant that probe={probe['name']} judges; "
            f"write probe.reference= one of {', '.join(map(shown, allowed))}"
        )
    if probe["name"] == "exact":
        return
    _others(config)
    if (probe["fitted"] or {}).get("name") == "exact":
        raise IncompatibleSettings(
            "probe.critic=fitted critic=exact cannot be: there is nothing to fit; write probe.critic=exact"
        )


def _others(config: dict[str, Any]) -> None:
    """Refuse to judge baselines of the other episodes where a batch has too few."""
    if config["episodes"] is None:
        return
    group = config["env"].get("group")
    batch, what = (config["episodes"], "episodes") if group is None else (group, "env.group")
    fewest = _fewest(variants(config).values())
    if batch < fewest:
        raise IncompatibleSettings(
            f"probe={config['probe']['name']} with {what}={batch} cannot be: it judges baselines of the other "
            f"episodes of the batch; write {what}={fewest} or more"
        )


def _fewest(judged: Iterable[Mapping[str, Any]]) -> int:
    """How many episodes a batch must have for all variants of these."""
    parts = [part for variant in judged for part in variant.values() if isinstance(part, dict)]
    return max((part.get("about") or {}).get("fewest_episodes", 1) for part in parts)


def _batch_in(config: dict[str, Any], env: "Environment") -> None:
    """Refuse a batch by steps that may be too few episodes, and an environment that records a whole batch at once."""
    from ablate.envs.base import Recorded

    steps, name = config["batch_steps"], config["env"]["name"]
    if isinstance(env, Recorded):
        raise IncompatibleSettings(f"env={name} has a step an episode; write episodes={steps} in place of batch_steps=")
    judged = [config, *(variants(config).values() if config["probe"]["name"] != "off" else ())]
    fewest = _fewest({axis: variant[axis] for axis in ("phi", "baseline")} for variant in judged)
    if steps <= (fewest - 1) * env.horizon:
        raise IncompatibleSettings(
            f"batch_steps={steps} may be one episode of env={name}, and a baseline of the other episodes needs "
            f"{fewest}; write batch_steps={(fewest - 1) * env.horizon + 1} or more"
        )


def _critic(asked: dict[str, Any], config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a critic that neither the run nor its probe has a use for."""
    typed = _typed(overrides, "critic")
    if config["critic"] is not None or not typed:
        return
    probe = config["probe"]
    lent = probe.get("critic") == asked["critic"]["name"] == "exact" and needed_by_probe(config)
    if not (probe.get("fitted") or lent):
        cell = f"phi={config['phi']['name']} baseline={config['baseline']['name']}"
        raise IncompatibleSettings(f"{cell} uses no critic; leave out {typed}, or take a phi or baseline that has one")


def _environment(config: dict[str, Any]) -> None:
    """Build the environment once, which refuses what is wrong with it, and hold the policy and critic against it."""
    from ablate import build
    from ablate.envs.base import Discrete, FiniteModel, LinearQuadraticEnvironment

    env = build.environment(config)
    _algorithm_fits(config["algorithm"], config["env"]["name"], env)
    if "batch_steps" in config:
        _batch_in(config, env)
    policy, name = config["policy"] or {}, config["env"]["name"]
    wanted = _actions(env)
    if policy.get("about", {}).get("actions", wanted) != wanted:
        right = "categorical" if wanted == "discrete" else "gaussian"
        raise IncompatibleSettings(
            f"policy={policy['name']} cannot act in env={name}, which has {env.actions} actions; write policy={right}"
        )
    if policy and not policy["_target_"].startswith("ablate.policies."):
        build.policy(config, env)  # which refuses an environment that it does not read
    first = policy.get("initial_logits")
    if first is not None and isinstance(env.actions, Discrete) and len(first) != env.actions.n:
        raise IncompatibleSettings(
            f"policy.initial_logits has {len(first)} numbers and env={name} has {env.actions.n} actions; "
            "give one an action"
        )
    optimizer = config["optimizer"] or {}
    if optimizer.get("about", {}).get("env_has") and not isinstance(env, FiniteModel):
        raise IncompatibleSettings(
            f"optimizer={optimizer['name']} needs a known finite MDP, which env={name} does not have; "
            "write optimizer=sgd"
        )
    critic = config["critic"] or {}
    wants = critic.get("about", {}).get("env_has", ())
    if config["probe"].get("critic") == "exact":
        critic, wants = {"name": "exact"}, ("mdp", "lqg")
    models: dict[str, Any] = {"mdp": FiniteModel, "lqg": LinearQuadraticEnvironment}
    if wants and not any(isinstance(env, models[what]) for what in wants):
        raise IncompatibleSettings(
            f"critic={critic['name']} needs a known model ({' or '.join(wants)}), which env={name} does not have; "
            "write critic=lambda"
        )
    linear = not policy.get("hidden") and policy.get("spread") != "state" and "module" not in policy
    if wants and isinstance(env, LinearQuadraticEnvironment) and not linear:
        raise IncompatibleSettings(
            f"critic={critic['name']} needs a linear policy in env={name}, whose sigma does not depend on the state; "
            "write policy=gaussian policy.hidden=[] policy.spread=learned"
        )
    if "module" in policy:
        build.policy(config, env)  # which refuses what is no policy; worth the second that importing torch takes
    mdp = env.mdp if isinstance(env, FiniteModel) else None
    if wants and mdp is not None and not mdp.states_are_seen:
        raise IncompatibleSettings(
            f"critic={critic['name']} needs to see the state, which env={name} hides; write critic=lambda"
        )
    if config["probe"]["name"] == "exact":
        _exact_probe(config, mdp)


def _is_markov(env: "Environment") -> bool:
    from ablate.envs.base import Markov

    return isinstance(env, Markov)


def _shows_states(env: "Environment") -> bool:
    from ablate.envs.base import FiniteModel

    return isinstance(env, FiniteModel) and env.mdp.states_are_seen


FITS: dict[str, tuple[Callable[["Environment"], bool], str]] = {
    "any": (lambda env: True, "any environment"),
    "markov": (_is_markov, "an environment whose state can be saved between two steps"),
    "states": (_shows_states, "a finite known model whose states are seen"),
}
"""What an algorithm may ask of an environment (`about.env`)."""


def _fits(about: dict[str, Any], env: "Environment") -> bool:
    return FITS[about["env"]][0](env) and _actions(env) in about["actions"]


def _actions(env: "Environment") -> str:
    from ablate.envs.base import Discrete

    return "discrete" if isinstance(env.actions, Discrete) else "continuous"


def _algorithm_fits(algorithm: dict[str, Any], name: str, env: "Environment") -> None:
    """Refuse an environment that an algorithm cannot learn in, with a list of those where it can."""
    about = algorithm["about"]
    if _fits(about, env):
        return
    from ablate import build

    fitting = []
    for path in sorted((CONF / "env").glob("*.yaml")):
        node: Any = OmegaConf.to_container(OmegaConf.load(path))
        with suppress(UserError, TypeError):  # it asks for a file or an id, and so is not a choice by itself
            if _fits(about, build.environment(node)):
                fitting.append(path.stem)
    wants = FITS[about["env"]][1] + (f" with {about['actions'][0]} actions" if len(about["actions"]) == 1 else "")
    raise IncompatibleSettings(
        f"algorithm={algorithm['name']} needs {wants}, which env={name} is not; write env= one of {', '.join(fitting)}"
    )


def _exact_probe(config: dict[str, Any], mdp: "MDP | None") -> None:
    """Hold `probe=exact` against the rest: there must be exact values of what the run does."""
    from ablate.exact.size_limits import check_size  # only where it is needed: it loads SciPy

    policy, env = config["policy"], config["env"]["name"]
    if mdp is None:
        raise IncompatibleSettings(
            f"probe=exact needs a finite known model, which env={env} does not have; write probe=matched"
        )
    if "group" not in config["env"] and (policy["name"] != "categorical" or policy["hidden"]):
        own = f"policy={policy['name']}" + (f" policy.hidden={shown(policy['hidden'])}" if "hidden" in policy else "")
        raise IncompatibleSettings(
            f"probe=exact needs a linear softmax policy, not {own}; write policy=categorical policy.hidden=[]"
        )
    if config["whiten"]:
        raise IncompatibleSettings(
            "probe=exact has no values of whitened estimators; write whiten=false, or probe=matched"
        )
    if "group" in config["env"]:
        _exact_probe_of_groups(config, mdp)
        return
    try:
        check_size("probe=exact", mdp, mdp.num_states, mdp.num_actions, passes=EXACT_PROBE)
    except UserError as error:
        raise IncompatibleSettings(f"{error}, or write probe=matched") from None
    _others(config)


def _exact_probe_of_groups(config: dict[str, Any], mdp: "MDP") -> None:
    """Groups of answers have exact values for `env=tokens` and its kind, of an advantage or the return itself."""
    from ablate.envs.tokens import problem_of

    env, cell = config["env"]["name"], f"phi={config['phi']['name']} baseline={config['baseline']['name']}"
    if problem_of(mdp) is None:
        raise IncompatibleSettings(
            f"probe=exact takes episodes as independent, which they are not in env={env}; write probe=matched"
        )
    if cell != "phi=return baseline=none":
        raise IncompatibleSettings(
            f"probe=exact in env={env} judges advantages, not {cell}; write phi=return baseline=none"
        )
    if (config.get("advantage") or {}).get("about", {}).get("needs"):
        name = config["advantage"]["name"]
        raise IncompatibleSettings(
            f"probe=exact has no values of advantage={name}, which has a past; write probe=online"
        )
    from ablate.probes.sequences import probe

    try:
        probe(config).check()
    except UserError as error:
        raise IncompatibleSettings(f"{error}, or write probe=online") from None
