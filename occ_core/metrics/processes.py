"""Counts that are summed over the processes of a distributed run."""

from __future__ import annotations

from torch import Tensor, distributed


def sum_over_processes(counts: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the tensor itself in a run of a single process.

    Every process must call it. The argument is not changed, so that counting may continue.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return counts
    total = counts.clone()
    distributed.all_reduce(total)
    return total
