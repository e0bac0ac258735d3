"""The benchmark of RayIoU's rays, against a voxel-by-voxel walk, compiled and in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numba import njit

from occ_core.geometry.ray_casting import RayHits
from occ_core.metrics.ray_iou import cast_through_both, lidar_directions
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.benchmarks.operators import Contest, surface

Walk = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


def walk(
    labels: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    label: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Amanatides and Woo as their paper has it, ray after ray, in units of voxels."""
    x, y, z = labels.shape
    for ray in range(len(origins)):
        i, j, k = int(origins[ray, 0]), int(origins[ray, 1]), int(origins[ray, 2])
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        step_x, step_y, step_z = (
            (1 if dx >= 0 else -1),
            (1 if dy >= 0 else -1),
            (1 if dz >= 0 else -1),
        )
        next_x = (i + (dx >= 0) - origins[ray, 0]) / dx if dx != 0 else math.inf
        next_y = (j + (dy >= 0) - origins[ray, 1]) / dy if dy != 0 else math.inf
        next_z = (k + (dz >= 0) - origins[ray, 2]) / dz if dz != 0 else math.inf
        voxel_x = abs(1 / dx) if dx != 0 else math.inf
        voxel_y = abs(1 / dy) if dy != 0 else math.inf
        voxel_z = abs(1 / dz) if dz != 0 else math.inf
        found, leaves = 0, 0.0
        while 0 <= i < x and 0 <= j < y and 0 <= k < z:
            leaves = min(next_x, next_y, next_z)
            found = labels[i, j, k]
            if found != 0:
                break
            if next_x <= next_y and next_x <= next_z:
                i += step_x
                next_x += voxel_x
            elif next_y <= next_z:
                j += step_y
                next_y += voxel_y
            else:
                k += step_z
                next_z += voxel_z
        label[ray], depth[ray] = found, leaves


@contextmanager
def rayiou() -> Iterator[Contest]:
    """The rays of one keyframe, 8 origins x 14,040, through the truth and, where they meet
    something, the prediction.
    """
    random = np.random.default_rng(0)
    truth, prediction = torch.zeros(2, *SURROUNDOCC_GRID.shape, dtype=torch.uint8)
    for grid, seed in ((truth, 4), (prediction, 5)):
        voxels = surface(30_000, seed)[:, 1:]
        grid[voxels.unbind(1)] = torch.from_numpy(
            random.integers(1, 17, len(voxels)).astype(np.uint8)
        )
    places = torch.from_numpy(np.c_[random.uniform(-39, 39, (8, 2)), random.uniform(0, 1, 8)])
    beams = lidar_directions()
    directions = beams.repeat(len(places), 1)
    origins = places.repeat_interleave(len(beams), dim=0)

    def ours() -> tuple[RayHits, RayHits]:
        return cast_through_both(truth, prediction, SURROUNDOCC_GRID, places, beams)

    def by(walk: Walk) -> tuple[RayHits, RayHits]:
        low, size = (
            torch.tensor(SURROUNDOCC_GRID.min_m, dtype=torch.float64),
            SURROUNDOCC_GRID.voxel_size_m,
        )
        hits: list[RayHits] = []
        chosen = torch.ones(len(origins), dtype=torch.bool)
        for labels in (truth, prediction):
            rays = ((origins[chosen] - low) / size).numpy(), directions[chosen].numpy()
            label, depth = np.empty(len(rays[0]), np.uint8), np.empty(len(rays[0]))
            walk(labels.numpy(), *rays, label, depth)
            hits.append(RayHits(torch.from_numpy(label), torch.from_numpy(depth * size)))
            chosen = hits[0].label != EMPTY
        return hits[0], hits[1]

    def same(ours: tuple[RayHits, RayHits], theirs: tuple[RayHits, RayHits]) -> bool:
        return all(  # their times are sums of steps, rounded at each
            torch.equal(one.label, other.label)
            and torch.allclose(one.depth_m, other.depth_m, atol=1e-9)
            for one, other in zip(ours, theirs, strict=True)
        )

    compiled = njit(walk)
    yield Contest(
        ours=ours,
        rivals={"numba": lambda: by(compiled), "python": lambda: by(walk)},
        same=same,
        most_repeats=5,
    )
