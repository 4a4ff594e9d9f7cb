"""Which settings a configuration must have and which it may: those that its parts read, and no others."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import hydra.utils

from ablate.configuration.overrides import GROUPS, key
from ablate.configuration.ranges import ALGORITHM_DESCRIPTION, Allowed, whole
from ablate.configuration.schema import Config
from ablate.configuration.settings import choices, meant, node, settings
from ablate.errors import UserError, shown

Node = Mapping[str, Any]
INSTANTIATE = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}  # read by Hydra itself
FACTS = {"name", "about"}
GIVEN = {
    "observation_size",
    "action_size",
    "discrete",
    "wanted",
    "env",
    "policy",
    "signals",
    "score_products",
}  # by the engine


def _one_of(*words: str) -> Allowed:
    return lambda x: x in words, " or ".join(words)


def _some_of(*words: str) -> Allowed:
    return lambda x: isinstance(x, list) and set(map(str, x)) <= {*words}, f"a list, some of {', '.join(words)}"


TEXT: Allowed = (lambda x: isinstance(x, str | int) and not isinstance(x, bool), "a text")
NUMBER: Allowed = (lambda x: type(x) in (int, float), "a number")
FLAG: Allowed = (lambda x: isinstance(x, bool), "true or false")
POSITIVE_INTEGER: Allowed = (whole, "a whole number of at least 1")
NEEDS = _some_of("V", "Q")
UNBIASED = TEXT
USES = _some_of(
    "policy", "optimizer", "critic", "phi", "baseline", "probe", "evaluate", "episodes", "discount_scores", "whiten"
)
ACTIONS = _some_of("discrete", "continuous")
ABOUT: dict[str, dict[str, Allowed]] = {
    "algorithm": {"label": TEXT, "order": NUMBER, "uses": USES, "env": _one_of("any", "markov", "states")}
    | {"actions": ACTIONS},
    "phi": {"label": TEXT, "symbol": TEXT, "order": NUMBER, "needs": NEEDS, "measured_from": _one_of("step", "start")}
    | {"unbiased": UNBIASED, "takes_baseline": FLAG},
    "baseline": {"label": TEXT, "symbol": TEXT, "order": NUMBER, "needs": NEEDS, "unbiased": UNBIASED}
    | {"fewest_episodes": POSITIVE_INTEGER, "couples": FLAG},
    "advantage": {
        "label": TEXT,
        "symbol": TEXT,
        "order": NUMBER,
        "unbiased": UNBIASED,
        "fewest_episodes": POSITIVE_INTEGER,
    },
    "aggregation": {
        "label": TEXT,
        "symbol": TEXT,
        "order": NUMBER,
        "unbiased": UNBIASED,
        "fewest_episodes": POSITIVE_INTEGER,
    },
}
"""What an algorithm, a Phi and a baseline say of themselves, also a user's own."""
ESTIMATOR = {"phi", "baseline", "advantage", "aggregation"}
OPTIONAL = {"description", "iteration_steps", "env_has", "actions", "needs", "unbiased", *ALGORITHM_DESCRIPTION}
EXAMPLES = {"phi": "rtg", "baseline": "value", "algorithm": "policy_gradient"} | {
    "advantage": "none",
    "aggregation": "token_mean",
}


def check_shape(config: Node, overrides: Sequence[str] = ()) -> None:
    """Nothing is there that nobody reads, every group has its choice, and the choice says what it must."""
    fields = Config.__dataclass_fields__
    _only(config, {*fields}, "", "`python -m ablate --help` lists them")
    _all(config, {*fields} - {*GROUPS}, "")
    _only(config["evaluate"], {"every", "episodes"}, "evaluate.", "evaluate takes episodes, every")
    _all(config["evaluate"], {"every", "episodes"}, "evaluate.")
    _only(config["dask"], {"scheduler"}, "dask.", "dask takes scheduler")
    added = {key(word).partition(".")[0] for word in overrides if word.startswith("+")}
    for group in GROUPS:
        own = config.get(group)
        if not isinstance(own, dict) or not own.get("name"):
            raise UserError(f"{group} has no choice; write {group}=..., and in a yaml of your own a line `name: ...`")
        if not isinstance(own["name"], str):
            raise UserError(f"{group}.name={shown(own['name'])} is not a text; write for example {group}.name=mine")
        _check_about(group, own)
        _check_keys(group, own, group in added)
    for name, variant in (config["probe"].get("variants") or {}).items():
        if not isinstance(variant, dict) or not all(
            isinstance(variant.get(part), dict) for part in ("phi", "baseline")
        ):
            raise UserError(f"probe.variants.{name} is no phi and baseline; see conf/probe/variants/standard.yaml")
        _only(variant, ESTIMATOR, f"probe.variants.{name}.", f"a variant has {_words(ESTIMATOR)}")


def _check_about(group: str, own: Node) -> None:
    about, says = own.get("about") or {}, ABOUT.get(group, {})
    example = f"conf/{group}/{EXAMPLES[group]}.yaml" if group in EXAMPLES else f"the yamls of conf/{group}"
    if not isinstance(about, dict):
        raise UserError(f"{group}.about={shown(about)} is not what a choice says of itself; see {example}")
    for name, (allowed, what) in says.items():
        if name not in about:
            raise UserError(f"{group}={own['name']} does not say about.{name}; add it to its yaml, as in {example}")
        if not allowed(about[name]):
            raise UserError(f"{group}.about.{name}={shown(about[name])} is not {what}; see {example}")
    for name, (allowed, what) in ALGORITHM_DESCRIPTION.items():
        if name in about and not allowed(about[name]):
            raise UserError(f"{group}.about.{name}={shown(about[name])} is not {what}; see {example}")
    _only(about, {*says, *OPTIONAL}, f"{group}.about.", f"see {example}")


def _check_keys(group: str, own: Node, added: bool) -> None:
    """Hold a choice against the yaml of conf/ with the same targets, and where their keys differ against what the
    targets take, which costs their import; a target of the user's own only where a setting was added by `+`."""
    listed, label = _listed(group, own), f"{group}={own['name']}"
    for name, argument in _made(own) if added else ():
        takes, _, anything = _signature(str(argument["_target_"]))
        if not anything:
            _only(argument, takes | INSTANTIATE, f"{group}.{name}.", f"{argument['_target_']} takes {_words(takes)}")
    if own.keys() == listed:
        return
    if group in ("algorithm", "probe", "study"):  # read by name, not handed over as arguments
        if listed:
            _only(own, listed, f"{group}.", f"{label} takes {_words(listed)}")
            _all(own, listed, f"{group}.")
        return
    if "_target_" not in own:
        raise UserError(f"{label} has no _target_; add to its yaml which function or class it is")
    module = str(own["_target_"]).rpartition(".")[0]
    if not _exists(module):
        raise UserError(f"{label} is in {module}, which is not found; is its folder in PYTHONPATH?")
    if listed or added:
        takes, must, anything = _parameters(group, own)
        if not anything:
            _only(own, takes | FACTS | INSTANTIATE, f"{group}.", f"{label} takes {_words(takes)}")
        _all(own, must, f"{group}.")


def _only(own: Node, known: set[str], prefix: str, hint: str) -> None:
    """Refuse the first key that is not known."""
    for name in sorted(map(str, own.keys() - known)):
        guess = meant(f"{prefix}{name}", shown(own.get(name)))
        raise UserError(f"{prefix}{name} is not a setting here; {f'did you mean {guess}? ' if guess else ''}{hint}")


def _all(own: Node, wanted: set[str], prefix: str) -> None:
    """Refuse the first key that is missing."""
    for name in sorted(wanted - own.keys()):
        raise UserError(f"{prefix}{name} has no value; add {prefix}{name}=...")


def _words(names: set[str]) -> str:
    return ", ".join(sorted(names - FACTS - INSTANTIATE)) or "no settings"


def _listed(group: str, own: Node) -> set[str]:
    """The keys of the yaml in conf/ that has the same targets, or the same name where there are none; empty for a
    user's own."""
    if group == "study":
        return {"name"}
    known = [choice for choice in choices(group) if node(group, choice).get("_target_") == own.get("_target_")]
    same = [choice for choice in known if choice == own["name"]]
    same += [choice for choice in known if "_target_" in own and _targets(node(group, choice)) == _targets(own)]
    if not same:
        return set()
    free = {"about", "variants"} if group == "probe" else {"about"}
    return {*node(group, same[0])} | (free & own.keys())


def _targets(own: Node) -> list[str]:
    return [str(own.get("_target_")), *(str(argument["_target_"]) for _, argument in _made(own))]


def _made(own: Node) -> Iterator[tuple[str, Node]]:
    """Arguments that have a target of their own."""
    return ((name, value) for name, value in own.items() if isinstance(value, dict) and "_target_" in value)


def _parameters(group: str, own: Node) -> tuple[set[str], set[str], bool]:
    """The names that a node's targets take, those that they must have, and whether they take any other.

    What `_partial_` ones must have is given when they are called.

    One of ours that takes any name hands it on to the arguments that have a target of their own; where there are none,
    an environment's yaml may set what another choice of the group takes (critic=exact critic.clock=append).
    """
    takes, must, anything = _signature(str(own["_target_"]))
    made = [_signature(str(argument["_target_"])) for _, argument in _made(own)]
    if anything and str(own["_target_"]).startswith("ablate."):
        others = {name.partition(".")[2] for name in settings() if name.startswith(f"{group}.")}
        takes = takes.union(*(names for names, _, _ in made)) if made else takes | others
        must, anything = must.union(*(needed for _, needed, _ in made)), any(more for _, _, more in made)
    return takes - GIVEN, set() if own.get("_partial_") else must - GIVEN, anything


def _signature(target: str) -> tuple[set[str], set[str], bool]:
    try:
        parameters = inspect.signature(hydra.utils.get_object(target)).parameters.values()
    except (Exception, SystemExit) as error:  # what a user's module does as it is imported
        raise UserError(f"{target} cannot be loaded: {type(error).__name__}: {error}") from error
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    must = {p.name for p in named if p.default is p.empty}
    return {p.name for p in named}, must, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _exists(module: str) -> bool:
    """Whether a module can be found (a class counts as one), without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        outer = module.rpartition(".")[0]
        return bool(outer) and module.rpartition(".")[2][:1].isupper() and _exists(outer)
    except (ImportError, ValueError):
        return False
