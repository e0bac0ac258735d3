"""``Recall.places``, voxel by voxel, compiled: for the CPU."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

from occ_core.voxel_grid import VoxelGrid


def places(
    children: Int[Tensor, "child 4"], there_from_here: Float[Tensor, "batch 4 4"], fine: VoxelGrid
) -> Int[Tensor, " child"]:
    """The place in the flattened fine grids of then that held each child's centre; -1 beyond the
    grid.
    """
    found = torch.empty(len(children), dtype=torch.long)
    minimum, size = np.array(fine.min_m, np.float32), np.float32(fine.voxel_size_m)
    _places(
        children.numpy(),
        there_from_here.contiguous().numpy(),
        minimum,
        size,
        fine.shape,
        found.numpy(),
    )
    return found


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _places(
    children: np.ndarray,
    there_from_here: np.ndarray,
    minimum: np.ndarray,
    size: np.float32,
    shape: tuple[int, int, int],
    found: np.ndarray,
) -> None:
    sx, sy, sz = shape
    half = np.float32(0.5)
    for child in range(len(children)):
        sample = children[child, 0]
        x = minimum[0] + (np.float32(children[child, 1]) + half) * size
        y = minimum[1] + (np.float32(children[child, 2]) + half) * size
        z = minimum[2] + (np.float32(children[child, 3]) + half) * size
        pose = there_from_here[sample]
        i = np.floor(
            (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3] - minimum[0]) / size
        )
        j = np.floor(
            (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3] - minimum[1]) / size
        )
        k = np.floor(
            (pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3] - minimum[2]) / size
        )
        found[child] = -1
        if 0 <= i < sx and 0 <= j < sy and 0 <= k < sz:
            found[child] = ((sample * sx + int(i)) * sy + int(j)) * sz + int(k)
