"""When a policy is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """At the first policy and after every so many iterations; a run adds its last policy."""

    every: int

    def due(self, iteration: int) -> bool:
        """Whether the policy after this many iterations is measured."""
        return iteration % self.every == 0
