"""When a policy is measured, and on how many batches by env steps."""

from dataclasses import dataclass

BATCHES = 32  # of one measurement, where batches are by env steps


@dataclass(frozen=True)
class Schedule:
    """At the first policy and after every so many iterations; a run adds its last policy."""

    every: int

    def due(self, iteration: int) -> bool:
        """Whether the policy after this many iterations is measured."""
        return iteration % self.every == 0
