"""The schema of a run, what its settings may be, and every refusal with its remedy. Imports no torch."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from ablate import help
from ablate.refusal import Refusal

if TYPE_CHECKING:
    from ablate.envs.base import Environment

# In a checkout conf/ stands beside the package, in a wheel inside it.
CONF = next(p for p in (Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf") if p.is_dir())
MOST_SEEDS = 100_000
GROUPS = "policy", "optimizer", "critic", "algorithm", "phi", "baseline", "probe", "env", "study"


@dataclass
class Config:
    """The types of conf/config.yaml, which has the defaults and says what each setting means."""

    seed: Any = MISSING
    iterations: int = MISSING
    env_steps: int | None = MISSING
    episodes: int = MISSING
    gamma: float = MISSING
    discount_scores: bool = MISSING
    whiten: bool = MISSING
    threshold: float | None = MISSING
    workers: Any = MISSING
    outputs: str = MISSING
    overwrite: bool = MISSING
    checkpoint_seconds: float = MISSING
    evaluate: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    critic: dict[str, Any] = field(default_factory=dict)
    algorithm: dict[str, Any] = field(default_factory=dict)
    phi: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    env: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)


@cache
def sweep_stamp() -> str:
    """The name of this sweep's record: when it began, and in which process."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}"


def help_text() -> str:
    return help.text(CONF).replace("$", "$$")  # Hydra fills in $names


ConfigStore.instance().store(name="schema", node=Config, provider="ablate")
OmegaConf.register_new_resolver("ablate.now", sweep_stamp, replace=True, use_cache=True)
OmegaConf.register_new_resolver("ablate.help", help_text, replace=True)


@dataclass(frozen=True)
class Job:
    """One job, checked: a resolved configuration, the seeds to run it with, and how."""

    config: dict[str, Any]
    overrides: tuple[str, ...]  # what was typed, for the name of the cell
    seeds: tuple[int, ...]
    workers: int | None  # None: one a core
    outputs: str
    study: str
    overwrite: bool
    checkpoint_seconds: float


class Impossible(Refusal):
    """A combination that cannot exist, though each of its settings can: a sweep goes on without it."""


def parse_seeds(value: Any) -> tuple[int, ...]:
    """The seeds that `seed=` names: 3, "0-9", "0-4,7" or [0,1,"4-6"], in the order given.

    Raises Refusal on anything else, on a range that runs backwards, and on a seed named twice.
    """
    seeds: list[int] = []
    parts = value if isinstance(value, Sequence) and not isinstance(value, str) else str(value).split(",")
    for part in parts:
        text = str(part).strip()
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
        if isinstance(part, bool) or match is None:
            hint = f"write seed={text}9 or the like" if re.fullmatch(r"\d+-", text) else "write seed=3, 0-9 or [0,1,7]"
            raise Refusal(f"seed={text} is not a seed or a range of seeds (whole numbers from 0); {hint}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise Refusal(f"seed={text} runs backwards; write seed={last}-{first}")
        if last >= 1 << 63:
            raise Refusal(f"seed={text} is not below 2^63; write a smaller seed")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise Refusal(f"seed={_shown(value)} is more than the {MOST_SEEDS} seeds of a job; name fewer")
        seeds += range(first, last + 1)
    if not seeds:
        raise Refusal("seed names no seed; write seed=3, 0-9 or [0,1,7]")
    if len(set(seeds)) < len(seeds):
        twice = Counter(seeds).most_common(1)[0][0]
        raise Refusal(f"seed={_shown(value)} names seed {twice} twice; name each seed once")
    return tuple(seeds)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")


def resolve(composed: DictConfig, overrides: Sequence[str]) -> Job:
    """The job of a configuration that Hydra composed of the typed `overrides`.

    What a Phi and its baseline do not use is left out of the resolved configuration (`critic: null`), so that one
    experiment has one configuration. Raises Refusal on every setting that is out of its range or goes with nothing.
    """
    if missing := sorted(OmegaConf.missing_keys(composed)):
        raise Refusal(f"{missing[0]} has no value; add {missing[0]}=...")
    from ablate import build

    config: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    _check_shape(config)
    _check_ranges(config)
    seeds = parse_seeds(config.pop("seed"))
    workers = _workers(config.pop("workers"))
    outputs, overwrite = config.pop("outputs"), config.pop("overwrite")
    checkpoint_seconds, study = config.pop("checkpoint_seconds"), config.pop("study")
    _settle_budget(config, overrides)
    _leave_out(config, overrides)
    if not config["phi"] and config["env"].get("group") is not None:
        raise Impossible(f"algorithm={config['algorithm']['name']} takes no groups of episodes; leave out env.group")
    if config["phi"]:
        _check_group(config)
        _check_variant(config)
        _check_probe(config)
        if not build.needs(config):
            typed = _typed(overrides, "critic")
            if typed and not _lends(config):
                cell = f"phi={config['phi']['name']} baseline={config['baseline']['name']}"
                raise Impossible(f"{cell} uses no critic; leave out {typed}, or take a phi or baseline that has one")
            config["critic"] = None
    _check_environment(config)
    if config["algorithm"]["about"]["env"] != "any":
        build.learner(config)  # which refuses what it cannot learn in; worth the second that importing torch takes
    if digests := {path: _digest(path) for path in _paths(config["env"])}:
        config["files"] = digests
    return Job(config, tuple(overrides), seeds, workers, outputs, study["name"], overwrite, checkpoint_seconds)


def _settle_budget(config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Leave one budget in the configuration. Where an iteration is a known number of env steps, `env_steps` comes to a
    number of iterations, so that one experiment has one configuration."""
    env_steps = config.pop("env_steps")
    if env_steps is None:
        return
    if typed := _typed(overrides, "iterations"):
        raise Refusal(f"{typed} and env_steps={env_steps} are two budgets; leave one out, or write env_steps=null")
    algorithm = config["algorithm"]
    settings = algorithm["about"].get("iteration_steps")
    if settings is None:  # known only as it runs
        config |= {"iterations": None, "env_steps": env_steps}
    elif not settings:
        raise Impossible(f"algorithm={algorithm['name']} makes no env steps; write iterations= in place of env_steps=")
    else:
        config["iterations"] = -(-env_steps // prod(algorithm[name] for name in settings))


USED = (
    "policy", "optimizer", "critic", "phi", "baseline", "probe", "evaluate", "episodes", "discount_scores", "whiten"
)  # fmt: skip
"""Parts of a configuration that some algorithms have no use for."""


def _leave_out(config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Empty what the algorithm does not use; refuse it where it was asked for by name."""
    name, uses = config["algorithm"]["name"], config["algorithm"]["about"]["uses"]
    for part in USED:
        if part in uses:
            continue
        typed = _typed(overrides, part)
        if typed and typed != "probe=off":
            raise Impossible(f"algorithm={name} uses no {part}; leave out {typed}, or write algorithm=policy_gradient")
        config[part] = {"name": "off"} if part == "probe" else None


def _typed(overrides: Sequence[str], part: str) -> str | None:
    """The first override of a setting or of a group and its parts."""
    return next((o for o in overrides if re.match(rf"\+*{part}[=.]", o)), None)


ABOUT = {
    "algorithm": {"label", "order", "uses", "env", "actions"},
    "phi": {"label", "symbol", "order", "needs", "measured_from", "unbiased", "takes_baseline"},
    "baseline": {"label", "symbol", "order", "needs", "unbiased", "fewest_episodes", "couples"},
}
"""What an algorithm, a Phi and a baseline say of themselves, also a user's own."""


def _check_shape(config: dict[str, Any]) -> None:
    """Nothing is there that nobody reads, every group has its choice, and the choice says what it must."""
    if unknown := sorted(config.keys() - Config.__dataclass_fields__.keys()):
        raise Refusal(f"{unknown[0]} is not a setting here; `python -m ablate --help` lists them")
    for group in GROUPS:
        node = config[group]
        if not isinstance(node, dict) or not node.get("name"):
            raise Refusal(f"{group} has no choice; write {group}=..., and in a yaml of your own a line `name: ...`")
        if unsaid := sorted(ABOUT.get(group, set()) - (node.get("about") or {}).keys()):
            known = {"phi": "conf/phi/rtg.yaml", "baseline": "conf/baseline/value.yaml"}.get(
                group, "conf/algorithm/policy_gradient.yaml"
            )
            raise Refusal(f"{group}={node['name']} does not say about.{unsaid[0]}; add it to its yaml, as in {known}")
        module = str(node.get("_target_", "ablate.")).rpartition(".")[0]
        if not _exists(module):
            raise Refusal(f"{group}={node['name']} is in {module}, which is not found; is its folder in PYTHONPATH?")


def _exists(module: str) -> bool:
    """Whether a module can be found (a class counts as one), without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        outer = module.rpartition(".")[0]
        return bool(outer) and module.rpartition(".")[2][:1].isupper() and _exists(outer)
    except (ImportError, ValueError):
        return False


def _workers(value: Any) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refusal(f"workers={value} is not a number of processes; write workers=auto, or 1 or more")
    return value


def _positive(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and 0 < x < float("inf")


def _count(x: Any) -> bool:
    return _positive(x) and isinstance(x, int)


def _share(x: Any) -> bool:
    return type(x) in (int, float) and 0 <= x <= 1


def _decay(x: Any) -> bool:
    return _share(x) and x < 1


def _sizes(x: Any) -> bool:
    return isinstance(x, list) and all(map(_count, x))


def _rising(x: Any) -> bool:
    """A pair [low, high]."""
    numbers = isinstance(x, list) and len(x) == 2 and all(type(end) in (int, float) for end in x)
    return numbers and float("-inf") < x[0] < x[1] < float("inf")


A_COUNT = _count, "a whole number of at least 1"
A_SHARE = _share, "in [0, 1]"
A_DECAY = _decay, "in [0, 1)"
LAYERS = _sizes, "a list of layer sizes", "[64,64]"
RANGES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "iterations": (_count, "a whole number of at least 1", "100"),
    "env_steps": (lambda x: x is None or _count(x), "a whole number of at least 1, or null", "200000"),
    "episodes": (_count, "a whole number of at least 1", "16"),
    "checkpoint_seconds": (_positive, "above 0", "10"),
    "gamma": (lambda x: _positive(x) and x <= 1, "in (0, 1]", "0.99"),
    "threshold": (lambda x: x is None or abs(x) < float("inf"), "a finite number or null", "null"),
    "optimizer.lr": (_positive, "above 0", "0.003"),
    "optimizer.beta1": (*A_DECAY, "0.9"),
    "optimizer.beta2": (*A_DECAY, "0.999"),
    "optimizer.decay": (*A_DECAY, "0.99"),
    "optimizer.eps": (_positive, "above 0", "1e-8"),
    "optimizer.max_grad_norm": (lambda x: x is None or _positive(x), "above 0 or null", "0.5"),
    "critic.lr": (_positive, "above 0", "0.01"),
    "critic.updates": (_count, "a whole number of at least 1", "16"),
    "critic.batch_size": (_count, "a whole number of at least 1", "512"),
    "critic.td_lambda": (_share, "in [0, 1]", "0.95"),
    "critic.clock": (lambda x: x in ("none", "append", "product"), "none, append or product", "none"),
    "phi.gae_lambda": (_share, "in [0, 1]", "0.95"),
    "policy.sigma": (_positive, "above 0", "1"),
    "policy.spread": (lambda x: x in ("constant", "learned", "state"), "constant, learned or state", "learned"),
    "policy.hidden": LAYERS,
    "critic.hidden": LAYERS,
    "algorithm.steps": (*A_COUNT, "500"),
    "algorithm.environments": (*A_COUNT, "8"),
    "algorithm.n_steps": (*A_COUNT, "5"),
    "algorithm.updates": (*A_COUNT, "25"),
    "algorithm.batch_size": (*A_COUNT, "64"),
    "algorithm.buffer_size": (*A_COUNT, "100000"),
    "algorithm.learning_starts": (lambda x: x == 0 or _count(x), "a whole number of at least 0", "1000"),
    "algorithm.target_every": (*A_COUNT, "1"),
    "algorithm.double_q": (lambda x: isinstance(x, bool), "true or false", "true"),
    "algorithm.lr": (_positive, "above 0", "0.001"),
    "algorithm.critic_lr": (_positive, "above 0", "0.1"),
    "algorithm.critic_hidden": LAYERS,
    "algorithm.hidden": LAYERS,
    "algorithm.clock": (lambda x: x in ("none", "append"), "none or append", "none"),
    "algorithm.activation": (lambda x: x in ("tanh", "relu"), "tanh or relu", "relu"),
    "algorithm.value_coefficient": (_positive, "above 0", "0.5"),
    "algorithm.entropy_coefficient": (lambda x: x == 0 or _positive(x), "0 or above", "0"),
    "algorithm.max_grad_norm": (lambda x: x is None or _positive(x), "above 0 or null", "0.5"),
    "algorithm.step_size": (lambda x: _positive(x) and x <= 1, "in (0, 1]", "0.5"),
    "algorithm.step_power": (*A_SHARE, "0.6"),
    "algorithm.initial_epsilon": (*A_SHARE, "1"),
    "algorithm.final_epsilon": (*A_SHARE, "0.05"),
    "algorithm.exploration_fraction": (lambda x: _positive(x) and x <= 1, "in (0, 1]", "0.5"),
    "algorithm.action_bins": (lambda x: _count(x) and x > 1, "a whole number of at least 2", "9"),
    "algorithm.action_range": (_rising, "a list [low,high]", "[-2,2]"),
    "algorithm.state_bins": (
        lambda x: _count(x) or (_sizes(x) and x != []),
        "a number of bins, or one for each dimension",
        "10",
    ),
    "algorithm.state_range": (
        lambda x: x is None or (isinstance(x, list) and x != [] and all(map(_rising, x))),
        "null or a list of [low,high]",
        "[[-2,2],[-2,2]]",
    ),
    "probe.episodes": (_count, "a whole number of at least 1", "256"),
    "probe.every": (_count, "a whole number of at least 1", "50"),
    "probe.critic": (lambda x: x in ("run", "exact", "fitted"), "run, exact or fitted", "run"),
    "evaluate.every": (lambda x: x is None or _count(x), "a whole number of at least 1, or null", "10"),
    "evaluate.episodes": (_count, "a whole number of at least 1", "16"),
    "env.horizon": (_count, "a whole number of at least 1", "200"),
    "env.group": (_count, "a whole number of at least 1", "4"),
}


DERIVED = "env.horizon", "env.group"  # null: from the rest


def _check_ranges(config: dict[str, Any]) -> None:
    for name, (allowed, what, example) in RANGES.items():
        group, _, key = name.rpartition(".")
        node = config[group] if group else config
        value = node.get(key)
        if key in node and not (name in DERIVED and value is None) and not allowed(value):
            raise Refusal(f"{name}={_shown(value)} is not {what}; write for example {name}={example}")


def _check_variant(config: dict[str, Any]) -> None:
    phi, baseline = config["phi"], config["baseline"]
    if baseline["name"] != "none" and not phi["about"]["takes_baseline"]:
        raise Impossible(
            f"phi={phi['name']} baseline={baseline['name']} cannot be: phi={phi['name']} has V(s_t) in it already; "
            "write baseline=none"
        )
    fewest, group = baseline["about"].get("fewest_episodes", 1), config["env"].get("group")
    size, what = (config["episodes"], "episodes") if group is None else (group, "env.group")
    if size < fewest:
        raise Impossible(
            f"baseline={baseline['name']} with {what}={size} cannot be: it takes other episodes of "
            f"the batch; write {what}={fewest} or more"
        )


def _check_group(config: dict[str, Any]) -> None:
    """Give an environment that groups its episodes the size of a group, and hold the batch against it."""
    env, episodes = config["env"], config["episodes"]
    if "group" not in env:
        return
    group = env["group"] = env["group"] or episodes
    if episodes % group:
        more = -(-episodes // group) * group
        raise Impossible(f"env.group={group} does not divide episodes={episodes}; write episodes={more}")


def _check_environment(config: dict[str, Any]) -> None:
    """Build the environment once, which refuses what is wrong with it, and hold the policy and critic against it."""
    from ablate import build

    env = build.environment(config)
    _check_fit(config["algorithm"], config["env"]["name"], env)
    policy, name = config["policy"] or {}, config["env"]["name"]
    wanted = _actions(env)
    if policy.get("about", {}).get("actions", wanted) != wanted:
        right = "categorical" if wanted == "discrete" else "gaussian"
        raise Impossible(
            f"policy={policy['name']} cannot act in env={name}, which has {env.actions} actions; write policy={right}"
        )
    critic = config["critic"] or {}
    wants = critic.get("about", {}).get("env_has", ())
    if config["probe"].get("critic") == "exact":
        critic, wants = {"name": "exact"}, ("mdp", "lqg")
    if wants and not any(hasattr(env, what) for what in wants):
        raise Impossible(
            f"critic={critic['name']} needs a known model ({' or '.join(wants)}), which env={name} does not have; "
            "write critic=lambda"
        )
    linear = not policy.get("hidden") and policy.get("spread") != "state"
    if wants and hasattr(env, "lqg") and not linear:
        raise Impossible(
            f"critic={critic['name']} needs a linear policy in env={name}, whose sigma does not depend on the state; "
            "write policy.hidden=[] policy.spread=learned"
        )
    mdp = getattr(env, "mdp", None)
    if wants and mdp is not None and not mdp.states_are_seen:
        raise Impossible(f"critic={critic['name']} needs to see the state, which env={name} hides; write critic=lambda")
    if config["probe"]["name"] == "exact":
        _check_exact_probe(config, known=mdp is not None)


FITS: dict[str, tuple[Callable[["Environment"], bool], str]] = {
    "any": (lambda env: True, "any environment"),
    "markov": (lambda env: hasattr(env, "transition"), "an environment whose state can be saved between two steps"),
    "states": (
        lambda env: hasattr(env, "mdp") and env.mdp.states_are_seen,
        "a finite known model whose states are seen",
    ),
}
"""What an algorithm may ask of an environment (`about.env`)."""


def _fits(about: dict[str, Any], env: "Environment") -> bool:
    return FITS[about["env"]][0](env) and _actions(env) in about["actions"]


def _actions(env: "Environment") -> str:
    from ablate.envs.base import Discrete

    return "discrete" if isinstance(env.actions, Discrete) else "continuous"


def _check_fit(algorithm: dict[str, Any], name: str, env: "Environment") -> None:
    """Refuse an environment that an algorithm cannot learn in, with a list of those where it can."""
    about = algorithm["about"]
    if _fits(about, env):
        return
    from ablate import build

    fitting = []
    for path in sorted((CONF / "env").glob("*.yaml")):
        node: Any = OmegaConf.to_container(OmegaConf.load(path))
        with suppress(Refusal, TypeError):  # it asks for a file or an id, and so is not a choice by itself
            if _fits(about, build.environment(node)):
                fitting.append(path.stem)
    wants = FITS[about["env"]][1] + (f" with {about['actions'][0]} actions" if len(about["actions"]) == 1 else "")
    raise Impossible(
        f"algorithm={algorithm['name']} needs {wants}, which env={name} is not; write env= one of {', '.join(fitting)}"
    )


def _check_exact_probe(config: dict[str, Any], known: bool) -> None:
    """Hold `probe=exact` against the rest: there must be exact values of what the run does."""
    policy, env = config["policy"], config["env"]["name"]
    if "group" in config["env"]:
        raise Impossible(
            f"probe=exact takes episodes as independent, which they are not in env={env}; write probe=matched"
        )
    if not known:
        raise Impossible(f"probe=exact needs a finite known model, which env={env} does not have; write probe=matched")
    if policy["name"] != "categorical" or policy["hidden"]:
        raise Impossible(
            f"probe=exact needs a linear softmax policy, not policy.hidden={_shown(policy['hidden'])}; "
            "write policy=categorical policy.hidden=[]"
        )
    if config["whiten"]:
        raise Impossible("probe=exact has no values of whitened estimators; write whiten=false, or probe=matched")
    _check_others(config)


def _check_probe(config: dict[str, Any]) -> None:
    """Hold the probe against the rest, round its episodes up to whole batches, and give it the critic it needs."""
    probe, batch = config["probe"], config["episodes"]
    for variant in (probe.get("variants") or {}).values():  # the run's own settings hold where it is one of the list
        variant |= {part: config[part] for part in variant if variant[part]["name"] == config[part]["name"]}
    if probe["name"] == "off":
        return
    _check_reference(config)
    if probe["name"] == "exact":
        return
    _check_others(config)
    coupled = config["whiten"] or "group" in config["env"]
    coupled = coupled or any(variant["baseline"]["about"]["couples"] for variant in variants(config).values())
    fewest = 16 * batch if coupled else 16
    probe["episodes"] = max(-(-probe["episodes"] // batch) * batch, fewest)
    from ablate import build

    needed = _needed(config)
    if needed and config["critic"]["name"] == "exact":
        if probe["critic"] == "fitted":
            raise Impossible(
                "probe.critic=fitted critic=exact cannot be: there is nothing to fit; write probe.critic=exact"
            )
        probe["critic"] = "exact"
    if probe["critic"] == "run" and needed - build.needs(config):
        probe["critic"] = "fitted"
    probe["fitted"] = dict(config["critic"]) if probe["critic"] == "fitted" and needed else None


def _needed(config: dict[str, Any]) -> set[str]:
    """Which of V and Q the probe's variants ask a critic for."""
    from ablate import build

    return set().union(*(build.needs(variant) for variant in variants(config).values()))


def _lends(config: dict[str, Any]) -> bool:
    """Whether the probe judges with the critic that was set for the run."""
    probe = config["probe"]
    exact = probe.get("critic") == config["critic"]["name"] == "exact" and _needed(config)
    return bool(probe.get("fitted") or exact)


def _check_reference(config: dict[str, Any]) -> None:
    """Refuse a reference that is not judged. Exact ratios have one; a sampling probe can do without."""
    name, reference, judged = config["probe"]["name"], config["probe"]["reference"], list(variants(config))
    allowed = judged if name == "exact" else [*judged, None]
    if reference not in allowed:
        raise Refusal(
            f"probe.reference={_shown(reference)} is no variant that probe={name} judges; "
            f"write probe.reference= one of {', '.join(map(_shown, allowed))}"
        )


def _check_others(config: dict[str, Any]) -> None:
    """Refuse to judge baselines of the other episodes where a batch has too few."""
    batch = config["env"].get("group") or config["episodes"]
    fewest = max(variant["baseline"]["about"].get("fewest_episodes", 1) for variant in variants(config).values())
    if batch < fewest:
        raise Impossible(
            f"probe={config['probe']['name']} with episodes={batch} cannot be: it judges baselines of the other "
            f"episodes of the batch; write episodes={fewest} or more"
        )


def variants(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants that the probe judges, by name: its own, or the run's."""
    return config["probe"].get("variants") or {"own": config}


def _paths(node: Any) -> list[str]:
    """The files that an environment is read from."""
    if not isinstance(node, dict):
        return []
    own = [value for key, value in node.items() if key == "path" and isinstance(value, str)]
    return own + [path for key, value in node.items() if key != "kwargs" for path in _paths(value)]


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
