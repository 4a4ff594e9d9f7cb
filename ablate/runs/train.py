"""One block of seeds, trained side by side from where they stand to the end. The torch side of a run."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ablate import build, nan_checks
from ablate.configuration.file_digests import held
from ablate.learners.base import Learner, Record, State
from ablate.nan_checks import NotFinite
from ablate.probes import exact, sampled, sequences
from ablate.probes.exact import ExactProbe
from ablate.probes.greedy import evaluation
from ablate.probes.sampled import SampledProbe
from ablate.probes.sequences import SequenceProbe
from ablate.runs.allocator import keep_freed_memory
from ablate.runs.budget import Budget
from ablate.runs.isolated import IsolatedProbe, isolated
from ablate.store import Cell, Checkpoint
from ablate.user_code import runs_users

T = TypeVar("T")

Outcome = Literal["complete", "diverged", "stopped"]
Report = Callable[[int, int, float], None]  # budget used and env steps taken by all seeds, their mean return now


def train(
    cell: Cell,
    seeds: Sequence[int],
    checkpoint_seconds: float,
    report: Report,
    stopping: Callable[[], bool],
    hold: Callable[[Callable[[], None]], None] = lambda save: None,
) -> dict[int, Outcome]:
    """Train seeds that stand at the same iteration, and publish each in the store; returns what became of them.

    Every `checkpoint_seconds`, and when `stopping`, the seeds are saved as they stand after their last
    whole iteration; `hold` is given a function for that, to be called by another thread while an iteration is under
    way. A seed whose estimate or policy is no longer finite is recorded as diverged and leaves the block;
    the others do not notice.
    """
    keep_freed_memory()
    torch.set_num_threads(1)  # with several threads a product's bits depend on how the rows are shared out
    with held(cell.config):
        learner, measuring, greedy = _parts(cell.config)
    budget = Budget.of(cell.config)
    population = _Population.load(cell, seeds, learner)
    if measuring and not population.iteration:
        population.measure(learner, measuring, budget)
    saved = time.monotonic()
    outcomes: dict[int, Outcome] = {}
    done = steps = 0
    while True:
        outcomes |= dict.fromkeys(population.finish(budget), "complete")
        if not population.seeds:
            return outcomes
        save = population.saving()
        hold(save)
        if stopping():
            save()
            return outcomes | dict.fromkeys(population.seeds, "stopped")
        iteration = population.iteration + 1
        state, record = _iterate(learner, population.state, population.seeds, iteration)
        before, after = population.env_steps, population.env_steps + record["env_steps"]
        if greedy:
            last = budget.spent(iteration, after)
            measure = partial(greedy.measure, learner, state, population.seeds, iteration, last)
            record = record | _explained(measure, population.seeds, f"evaluation after iteration {iteration}")
        earlier = population.state
        population.advance(state, record)
        outcomes |= dict.fromkeys(population.drop_diverged(learner, earlier), "diverged")
        if measuring:
            population.measure(learner, measuring, budget)
        done += int((budget.used(iteration, after) - budget.used(iteration - 1, before)).sum())
        steps += int(record["env_steps"].sum())
        known = record["return_mean"][~np.isnan(record["return_mean"])]  # NaN where no episode has ended
        report(done, steps, float(known.mean()) if len(known) else float("nan"))
        if time.monotonic() - saved > checkpoint_seconds:
            population.saving()()
            saved = time.monotonic()


def probe(config: Mapping[str, Any]) -> SampledProbe | ExactProbe | SequenceProbe | None:
    """The probe of a run, or None for `probe=off`."""
    if config["probe"]["name"] != "exact":
        return sampled.probe(config)
    return sequences.probe(config) if "group" in config["env"] else exact.probe(config)


def _parts(config: Mapping[str, Any]) -> tuple[Learner, Any, Any]:
    """The learner of a run, its probe and its evaluation; None for the last two where there is none."""
    parts = build.learner(config), probe(config), evaluation(config)
    return isolated(*parts) if runs_users(config) else parts


def _iterate(learner: Learner, state: State, seeds: Sequence[int], iteration: int) -> tuple[State, Record]:
    return _explained(partial(learner.iterate, state, seeds, iteration), seeds, f"iteration {iteration}")


def _explained(call: Callable[[], T], seeds: Sequence[int], when: str) -> T:
    """What a call gives that gives the same whenever it is repeated. Where it ends in an error of arithmetic, as of an
    algorithm that cannot take NaN, it is repeated under watch for the number that was not finite first; for one seed,
    since those of a block that raises are tried again one by one."""
    with np.errstate(all="ignore"):  # a seed that overflows is told by `drop_diverged`
        try:
            return call()
        except (ArithmeticError, ValueError, RuntimeError) as error:
            if len(seeds) == 1 and (found := _not_finite(call)):
                raise NotFinite(f"{when}: {found}") from error
            raise


def _not_finite(call: Callable[[], Any]) -> str | None:
    """The number that was not finite first in a call that is repeated; None where all that is watched was finite."""
    try:
        with nan_checks.watching(), np.errstate(all="ignore"):
            call()
    except NotFinite as found:
        return str(found)
    except Exception:  # which is told already
        return None
    return None


class _Population:
    """The seeds of a block that are still in play: where they stand, and what they have recorded."""

    def __init__(
        self,
        cell: Cell,
        seeds: Sequence[int],
        state: State,
        iteration: int,
        curves: list[dict[str, list]],
        probed: list[list[dict[str, Any]]],
    ) -> None:
        self.cell, self.seeds, self.state, self.iteration = cell, list(seeds), state, iteration
        self.curves, self.probed = curves, probed
        self.began = time.monotonic() - max((curve["wall_time"][-1] for curve in curves if curve), default=0.0)

    @classmethod
    def load(cls, cell: Cell, seeds: Sequence[int], learner: Any) -> "_Population":
        checkpoints = [cell.load_checkpoint(seed) for seed in seeds]
        found: list[Checkpoint] = [checkpoint for checkpoint in checkpoints if checkpoint]
        if not found:
            return cls(cell, seeds, learner.initial(seeds), 0, [{} for _ in seeds], [[] for _ in seeds])
        assert len(found) == len(checkpoints)
        assert len({checkpoint.iteration for checkpoint in found}) == 1
        state = {k: torch.from_numpy(np.stack([c.arrays[k] for c in found])) for k in found[0].arrays}
        curves = [{name: list(column) for name, column in c.curves.items()} for c in found]
        return cls(cell, seeds, state, found[0].iteration, curves, [c.probe for c in found])

    def advance(self, state: State, record: Record) -> None:
        wall_time = time.monotonic() - self.began
        for s, curve in enumerate(self.curves):
            row = {"iteration": self.iteration + 1} | {name: column[s] for name, column in record.items()}
            for name in ("env_steps", "episodes"):
                row[name] += curve[name][-1] if curve else 0
            for name, value in (row | {"wall_time": wall_time}).items():
                curve.setdefault(name, []).append(value)
        self.state, self.iteration = state, self.iteration + 1

    @property
    def env_steps(self) -> NDArray[np.int64]:
        """So far, [S]."""
        return np.array([curve["env_steps"][-1] if curve else 0 for curve in self.curves], np.int64)

    def measure(
        self, learner: Learner, probe: SampledProbe | ExactProbe | SequenceProbe | IsolatedProbe, budget: Budget
    ) -> None:
        """Probe the seeds whose turn it is: all of them by the schedule, and those that are at their end."""
        due = budget.spent(self.iteration, self.env_steps) | probe.due(self.iteration)
        chosen = np.flatnonzero(due)
        if not len(chosen):
            return
        state = {name: x[torch.from_numpy(chosen)] for name, x in self.state.items()}
        seeds = [self.seeds[s] for s in chosen]
        theta, critic, moments = learner.probed(state)
        measure = partial(probe.measure, theta, critic, seeds, self.iteration, moments)
        rows = _explained(measure, seeds, f"probe after iteration {self.iteration}")
        for s, new in zip(chosen, rows, strict=True):
            self.probed[s] += new

    def drop_diverged(self, learner: Learner, earlier: State) -> list[int]:
        """Record as diverged the seeds whose last estimate or state is not finite; returns them. ``earlier`` is the
        state from which the last iteration began."""
        finite = np.all([np.isfinite(x.numpy()).reshape(len(x), -1).all(1) for x in self.state.values()], axis=0)
        finite &= np.array([np.isfinite(curve["grad_norm"][-1]) for curve in self.curves])
        if finite.all():
            return []
        gone = [self.seeds[s] for s in np.flatnonzero(~finite)]
        for s in np.flatnonzero(~finite):
            own = {name: x[s : s + 1] for name, x in earlier.items()}
            again = partial(learner.iterate, own, [self.seeds[s]], self.iteration)
            reason, curve = _not_finite(again) or self._overflow(int(s)), self.curves[s]
            self.cell.diverge(self.seeds[s], self.iteration, reason, curve, self.probed[s], self._manifest(curve))
        self._keep(np.flatnonzero(finite))
        return gone

    def _overflow(self, s: int) -> str:
        """What is not finite of a seed whose rewards, observations and actions are."""
        norm = self.curves[s]["grad_norm"][-1]
        if not np.isfinite(norm):
            return f"the gradient's norm is {norm:g}"
        names = [name for name, x in self.state.items() if not x[s].isfinite().all()]
        return f"{names[0]} is not finite, though the gradient's norm is {norm:g}"

    def _keep(self, kept: NDArray[np.int64]) -> None:
        """Go on with some of the seeds; the others do not notice."""
        self.state = {name: x[torch.from_numpy(kept)] for name, x in self.state.items()}
        self.seeds, self.curves = [self.seeds[s] for s in kept], [self.curves[s] for s in kept]
        self.probed = [self.probed[s] for s in kept]

    def saving(self) -> Callable[[], None]:
        """What keeps the seeds as they stand now, whenever it is called."""
        seeds, state, iteration = list(self.seeds), dict(self.state), self.iteration
        curves, probed = list(self.curves), [(rows, len(rows)) for rows in self.probed]  # both grow at their ends
        lengths = [{name: len(column) for name, column in curve.items()} for curve in curves]

        def save() -> None:
            for s, seed in enumerate(seeds if iteration else ()):
                arrays = {name: x[s].numpy() for name, x in state.items()}
                rows = {name: curves[s][name][:length] for name, length in lengths[s].items()}
                self.cell.save_checkpoint(seed, iteration, arrays, rows, probed[s][0][: probed[s][1]])

        return save

    def finish(self, budget: Budget) -> list[int]:
        """Publish the seeds that have spent their budget; returns them. The others go on."""
        spent = budget.spent(self.iteration, self.env_steps)
        if not spent.any():
            return []
        ended = [self.seeds[s] for s in np.flatnonzero(spent)]
        for s in np.flatnonzero(spent):
            self.cell.finish(self.seeds[s], self.curves[s], self.probed[s], self._manifest(self.curves[s]))
        self._keep(np.flatnonzero(~spent))
        return ended

    def _manifest(self, curve: Mapping[str, Sequence]) -> dict[str, Any]:
        seconds = float(curve["wall_time"][-1])
        started = datetime.now(UTC) - timedelta(seconds=seconds)
        return {
            "iterations": self.iteration,
            "env_steps": int(curve["env_steps"][-1]),
            "wall_time_s": seconds,
            "started": started.isoformat(timespec="seconds"),
        }
