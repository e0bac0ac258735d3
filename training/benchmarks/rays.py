"""Benchmark of the rays of RayIoU against a voxel-by-voxel traversal, compiled and in Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from occ_core.metrics.ray_iou import cast_through_both, lidar_directions, reference_rays
from occ_core.ops.cpu.kernel import kernel
from occ_core.ops.ray_casting import RayHits
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import surface_voxels

Traversal = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


def traverse(
    labels: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    label: np.ndarray,
    depth: np.ndarray,
) -> None:
    """The fast voxel traversal of Amanatides and Woo (1987), ray by ray.

    Args:
        labels: uint8 [X, Y, Z].
        origins: float64 [R, 3], in units of voxels.
        directions: unit vectors float64 [R, 3].
        label: uint8 [R], receives the first label that is not empty.
        depth: float64 [R], receives the length of the ray at the far side of that voxel.
    """
    x, y, z = labels.shape
    for ray in range(len(origins)):
        i, j, k = int(origins[ray, 0]), int(origins[ray, 1]), int(origins[ray, 2])
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        step_x = 1 if dx >= 0 else -1
        step_y = 1 if dy >= 0 else -1
        step_z = 1 if dz >= 0 else -1
        next_x = (i + (dx >= 0) - origins[ray, 0]) / dx if dx != 0 else math.inf
        next_y = (j + (dy >= 0) - origins[ray, 1]) / dy if dy != 0 else math.inf
        next_z = (k + (dz >= 0) - origins[ray, 2]) / dz if dz != 0 else math.inf
        voxel_x = abs(1 / dx) if dx != 0 else math.inf
        voxel_y = abs(1 / dy) if dy != 0 else math.inf
        voxel_z = abs(1 / dz) if dz != 0 else math.inf
        found, far_side = 0, 0.0
        while 0 <= i < x and 0 <= j < y and 0 <= k < z:
            far_side = min(next_x, next_y, next_z)
            found = labels[i, j, k]
            if found != 0:
                break
            if next_z <= next_x and next_z <= next_y:
                k += step_z
                next_z += voxel_z
            elif next_y <= next_x:
                j += step_y
                next_y += voxel_y
            else:
                i += step_x
                next_x += voxel_x
        label[ray], depth[ray] = found, far_side


@contextmanager
def rayiou() -> Iterator[Benchmark]:
    """The rays of one keyframe, 8 origins x 14,040, through truth and prediction.

    The prediction is only needed for the rays that hit something in the truth.
    """
    random = np.random.default_rng(0)
    truth, prediction = torch.zeros(2, *SURROUNDOCC_GRID.shape, dtype=torch.uint8)
    for volume, seed in ((truth, 4), (prediction, 5)):
        voxels = surface_voxels(30_000, seed)[:, 1:]
        classes = random.integers(1, 17, len(voxels)).astype(np.uint8)
        volume[voxels.unbind(1)] = torch.from_numpy(classes)
    eyes = torch.from_numpy(np.c_[random.uniform(-39, 39, (8, 2)), random.uniform(0, 1, 8)])
    beams = lidar_directions()
    origins, directions = reference_rays(eyes, beams, SURROUNDOCC_GRID)

    def candidate() -> tuple[RayHits, RayHits]:
        return cast_through_both(truth, prediction, SURROUNDOCC_GRID, eyes, beams)

    def cast_by(traversal: Traversal) -> tuple[RayHits, RayHits]:
        size = SURROUNDOCC_GRID.voxel_size_m
        hits: list[RayHits] = []
        selected = torch.ones(len(origins), dtype=torch.bool)
        for labels in (truth, prediction):
            rays = origins[selected].numpy(), directions[selected].numpy()
            label, depth = np.empty(len(rays[0]), np.uint8), np.empty(len(rays[0]))
            traversal(labels.numpy(), *rays, label, depth)
            hits.append(RayHits(torch.from_numpy(label), torch.from_numpy(depth).float() * size))
            selected = hits[0].label != EMPTY
        return hits[0], hits[1]

    def same(candidate: tuple[RayHits, RayHits], baseline: tuple[RayHits, RayHits]) -> bool:
        # Depths are sums of steps, each of them rounded, then rounded to float32.
        return all(
            torch.equal(hits.label, expected.label)
            and torch.allclose(hits.depth_m, expected.depth_m, atol=1e-5)
            for hits, expected in zip(candidate, baseline, strict=True)
        )

    compiled = kernel(traverse)
    yield Benchmark(
        candidate=candidate,
        baselines={"numba": lambda: cast_by(compiled), "python": lambda: cast_by(traverse)},
        same=same,
        max_repeats=5,
    )
