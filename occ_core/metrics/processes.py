"""Counts of one process and of all of them."""

from __future__ import annotations

from torch import Tensor, distributed


def summed_over_processes(counts: Tensor) -> Tensor:
    """The sum of a tensor over the processes of a distributed run; the tensor itself, where there
    is none.

    Every process must call it. The tensor stays as it is, so that counting may go on.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return counts
    total = counts.clone()
    distributed.all_reduce(total)
    return total
