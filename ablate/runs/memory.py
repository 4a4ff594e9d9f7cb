"""What a job needs of memory, before it starts: an upper estimate, with every episode as long as the horizon."""

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any

from ablate.envs.base import Discrete, Environment
from ablate.errors import UserError
from ablate.probes.schedule import BATCHES

PROCESS = 120e6  # bytes of a process that has loaded PyTorch and does nothing
STEP = (
    200  # of a step of an episode beside its observation: noise, action, reward, signals, weights, what is made of them
)
VARIANT = 24  # of a step in the probe, a variant
ROW = 600  # of a row of the curves, kept as Python numbers
PARAMETER = 64  # of a parameter: its value, moments and gradient, and the copies that are made of them
WIDTH = 8192  # of a unit of a layer: 512 rows are forwarded at a time, and come back
SHORT = 8  # steps of an episode, of which there are many in a batch by steps beside one that lasts to the horizon
FOLLOWING = 16  # batches of `episodes`, up to which those of a probe may follow from it
GRADIENTS_AT_ONCE = 64  # of the probe, a parameter and variant


def check(config: Mapping[str, Any], env: Environment, block: int, processes: int, at_hand: float | None) -> None:
    """Refuse a job whose blocks, so many seeds each in so many processes at once, need more than there is at hand, with
    the value of the setting that takes most that would fit."""
    needs = {name: (value, need * block * processes) for name, (value, need) in of_seed(config, env).items()}
    total = PROCESS * processes + sum(need for _, need in needs.values())
    if at_hand is None or total <= at_hand or not needs:
        return
    name = max(needs, key=lambda name: needs[name][1])
    value, need = needs[name]
    others = PROCESS * processes + sum(more for other, (_, more) in needs.items() if other != name)
    fitting = _rounded_down(value * max(at_hand - others, 0.0) / need)
    seeds = f" for {block * processes} seeds at once" if block * processes > 1 else ""
    remedy = f"{name}={fitting} or less" if fitting >= 1 else "workers=1 and fewer seeds"
    if name.endswith("hidden"):
        remedy = f"smaller layers in {name}"
    elif fitting >= 1 and processes > 1:
        remedy += ", or workers=1"
    raise UserError(
        f"{name}={value if value < 10**15 else f'{value:.3g}'} needs about {_gib(total)} of memory{seeds}, and "
        f"{_gib(at_hand)} are at hand; write {remedy}"
    )


def widest(config: Mapping[str, Any], env: Environment, most: int, processes: int, at_hand: float | None) -> int:
    """How many seeds, ``most`` at most, each of so many processes can hold at once; none may be too many already."""
    need = sum(need for _, need in of_seed(config, env).values())
    if at_hand is None or not need:
        return most
    return int(min(most, max(0.0, (at_hand / processes - PROCESS) / need)))


def of_seed(config: Mapping[str, Any], env: Environment) -> dict[str, tuple[int, float]]:
    """Bytes that a seed needs at once, by the setting that they grow with, and the value of that setting."""
    D, H = env.observation_size, env.horizon
    step = STEP + 12 * D
    algorithm, probe = config["algorithm"], config["probe"]
    of_iteration = {name: algorithm[name] for name in algorithm["about"].get("iteration_steps", ())}
    found: dict[str, tuple[int, float]] = {}

    def add(name: str, value: int, need: float) -> None:
        found[name] = (value, found.get(name, (0, 0.0))[1] + need)

    episodes, batch_steps = config.get("episodes"), config.get("batch_steps")
    if episodes:
        add(*_longer("episodes", episodes, H), float(episodes) * H * step)
    if batch_steps:
        add("batch_steps", batch_steps, max(batch_steps / SHORT, 1.0) * H * step)
    if (budget := config.get("env_steps")) is None:
        add("iterations", config["iterations"], float(config["iterations"]) * ROW)
    else:
        longest = episodes * H if episodes else batch_steps or prod(of_iteration.values())
        add("env_steps", budget, float(budget) / longest * ROW)
    width = 1 + D + (env.actions.n if isinstance(env.actions, Discrete) else 2 * env.actions.size)
    parameters = 0.0
    for name, hidden in {
        "policy.hidden": (config.get("policy") or {}).get("hidden"),
        "critic.hidden": (config.get("critic") or {}).get("hidden"),
        "algorithm.hidden": algorithm.get("hidden"),
        "algorithm.critic_hidden": algorithm.get("critic_hidden"),
    }.items():
        if hidden:
            sizes = [width, *map(float, hidden), width]
            own = sum((a + 1) * b for a, b in pairwise(sizes))
            parameters += own if name == "policy.hidden" else 0
            add(name, max(hidden), own * PARAMETER + sum(sizes) * WIDTH)
    if probe.get("episodes"):
        variants = len(probe.get("variants") or [0])
        follows = probe["episodes"] <= FOLLOWING * (episodes or 1)
        asked, value = ("episodes", episodes or 1) if follows else ("probe.episodes", probe["episodes"])
        add(*_longer(asked, value, H), float(probe["episodes"]) * H * (step + VARIANT * variants))
        if parameters:
            add("policy.hidden", max(config["policy"]["hidden"]), GRADIENTS_AT_ONCE * variants * parameters * 12)
    if batch_steps and probe["name"] != "off":
        variants = len(probe.get("variants") or [0])
        add("batch_steps", batch_steps, BATCHES * SHORT * float(batch_steps) * (step + VARIANT * variants))
    if (evaluate := config.get("evaluate") or {}).get("every"):
        add(*_longer("evaluate.episodes", evaluate["episodes"], H), float(evaluate["episodes"]) * H * step)
    if algorithm.get("buffer_size"):
        add("algorithm.buffer_size", algorithm["buffer_size"], float(algorithm["buffer_size"]) * (2 * D * 4 + 13) * 4)
    if of_iteration:
        largest = max(of_iteration, key=lambda name: of_iteration[name])
        add(f"algorithm.{largest}", of_iteration[largest], float(prod(of_iteration.values())) * 2 * step)
    return found


def _rounded_down(x: float) -> int:
    """To two digits."""
    unit = 10 ** max(0, len(str(int(x))) - 2)
    return int(x) // unit * unit


def _longer(name: str, episodes: int, horizon: int) -> tuple[str, int]:
    """The larger of the two that episodes of full length grow with."""
    return ("env.horizon", horizon) if horizon > episodes else (name, episodes)


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size < 1e15 else f"{size / 2**30:.0e} GiB"
