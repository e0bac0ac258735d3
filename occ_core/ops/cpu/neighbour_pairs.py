"""``sparse.neighbour_pairs``, voxel by voxel, compiled: for the CPU."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor


def neighbour_pairs(at: Tensor, row: Tensor, steps: list[int]) -> list[tuple[Tensor, Tensor]]:
    """For every step, the rows of the voxels that have a neighbour there: the neighbour's, and
    their own.

    Args:
        at: of each voxel the place in a flattened volume that has a border of empty voxels, int64
            [V].
        row: of each place in that volume the voxel's row, -1 where it is empty, int32.
        steps: from a place to the neighbour's.
    """
    source, target = (torch.empty(len(steps), len(at), dtype=torch.long) for _ in range(2))
    counts = np.zeros(len(steps), np.int64)
    _pairs(at.numpy(), row.numpy(), np.array(steps), source.numpy(), target.numpy(), counts)
    return [
        (source[number, :count], target[number, :count])
        for number, count in enumerate(counts.tolist())
    ]


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _pairs(
    at: np.ndarray,
    row: np.ndarray,
    steps: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    counts: np.ndarray,
) -> None:
    for number in range(len(steps)):
        count = 0
        for voxel in range(len(at)):
            neighbour = row[at[voxel] + steps[number]]
            if neighbour >= 0:
                source[number, count], target[number, count] = neighbour, voxel
                count += 1
        counts[number] = count
