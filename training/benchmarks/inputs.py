"""Inputs that the benchmarks share: the voxels of a street, and a generated keyframe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from occ_core.datasets.nuscenes import Keyframe, NuScenes
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.make_world import WorldConfig, make_world


def surface_voxels(count: int, seed: int) -> torch.Tensor:
    """``count`` voxels (batch, x, y, z) of a street: rolling ground and a facade."""
    random = np.random.default_rng(seed)
    width, depth, height = SURROUNDOCC_GRID.shape
    ground = random.uniform(0, (width, depth), (2 * count, 2))
    ground = np.c_[ground, 2 + np.sin(ground[:, 0] / 30) + random.normal(0, 0.3, len(ground))]
    facade = np.c_[
        width / 5 + random.normal(0, 0.5, count),
        random.uniform(0, depth, count),
        random.uniform(2, height - 1, count),
    ]
    limit = np.array([width, depth, height]) - 1
    cells = np.clip(np.concatenate([ground, facade]), 0, limit).astype(np.int64)
    cells = random.permutation(np.unique(cells, axis=0))[:count]
    return torch.from_numpy(np.c_[np.zeros(len(cells), np.int64), cells])


def street() -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 and probabilities float32 [200, 200, 16] of a street.

    The ground is complete; above it, one voxel in 30 is occupied.
    """
    random = np.random.default_rng(0)
    shape = SURROUNDOCC_GRID.shape
    is_occupied = random.random(shape) < 1 / 30
    labels = np.where(is_occupied, random.integers(1, NUM_CLASSES, shape), 0).astype(np.uint8)
    labels[:, :, 0] = CLASS_ID["driveable_surface"]
    return labels, random.random(shape).astype(np.float32)


@contextmanager
def town_keyframe() -> Iterator[Keyframe]:
    """The last keyframe of a short generated drive at nuScenes' image size, with nine sweeps."""
    with TemporaryDirectory() as folder:
        make_world(WorldConfig(Path(folder), scenes=1, seed=0, keyframes=2, workers=1))
        yield NuScenes(Path(folder)).keyframes(None, sweeps=9)[-1]
