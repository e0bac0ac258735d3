import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.ops.backend import torch_only
from occ_core.ops.ray_casting import cast_rays
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.5)  # 16 x 16 x 4


def scene(seed: int, share: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(GRID.shape, generator=generator) < share
    return torch.where(occupied, torch.randint(1, 17, GRID.shape, generator=generator), 0).to(
        torch.uint8
    )


def rays(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A third start at corners or centres of voxels, along axes or diagonals, where planes tie."""
    random = np.random.default_rng(seed)
    origins = random.uniform(0.01, 0.99, (count, 3)) * GRID.shape  # in voxels
    directions = random.normal(size=(count, 3))
    ties = count // 3
    origins[:ties] = np.floor(origins[:ties]) + random.choice([0.0, 0.5], (ties, 3))
    directions[:ties] = random.choice([-1.0, 0.0, 1.0], (ties, 3))
    directions[(directions == 0).all(axis=1), 2] = 1.0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return torch.from_numpy(origins * GRID.voxel_size_m + GRID.min_m), torch.from_numpy(directions)


def plain(labels: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> tuple[int, float]:
    """Amanatides and Woo, in Python, for one ray."""
    origin = (origin - np.array(GRID.min_m)) / GRID.voxel_size_m
    voxel = np.floor(origin).astype(int)
    while True:
        with np.errstate(divide="ignore", invalid="ignore"):
            time = np.where(
                direction == 0, np.inf, ((voxel + (direction >= 0)) - origin) * (1 / direction)
            )
        if labels[tuple(voxel)]:
            return int(labels[tuple(voxel)]), float(time.min()) * GRID.voxel_size_m
        axis = int(time.argmin())
        voxel[axis] += 1 if direction[axis] >= 0 else -1
        if voxel[axis] < 0 or voxel[axis] >= labels.shape[axis]:
            return 0, float(time[axis]) * GRID.voxel_size_m


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.01, 0.1, 0.9]))
def test_all_forms_agree_on_every_ray(seed: int, share: float):
    labels, (origins, directions) = scene(seed, share), rays(seed, 60)
    compiled = cast_rays(labels, GRID, origins, directions)
    with torch_only():
        by_torch = cast_rays(labels, GRID, origins, directions)
    expected = [
        plain(labels.numpy(), *ray) for ray in zip(origins.numpy(), directions.numpy(), strict=True)
    ]
    for hits in (compiled, by_torch):
        assert hits.label.tolist() == [label for label, _ in expected]
        assert hits.depth_m.tolist() == [depth for _, depth in expected]


def test_depth_is_where_the_ray_leaves_the_voxel_it_has_met():
    """From x = 0.25 along x: the voxel at 2.0 .. 2.5 m is left 2.25 m away. Along -x nothing is met
    up to the edge, 4.25 m away.

    Along the diagonal of x and y, from (0.25, 0.25) to the far corner of the voxel at 2.0 .. 2.5 m:
    2.25 m on either axis.
    """
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[12, 8, 2] = 4
    labels[12, 12, 2] = 7
    diagonal = [math.sqrt(0.5), math.sqrt(0.5), 0.0]
    hits = cast_rays(
        labels, GRID, torch.full((3, 3), 0.25), torch.tensor([[1.0, 0, 0], [-1, 0, 0], diagonal])
    )
    assert hits.label.tolist() == [4, 0, 7]
    assert hits.depth_m.tolist() == pytest.approx([2.25, 4.25, 2.25 * math.sqrt(2)], abs=1e-6)


def test_a_ray_that_starts_in_something_meets_it():
    labels = torch.full(GRID.shape, 3, dtype=torch.uint8)
    hits = cast_rays(labels, GRID, torch.tensor([[0.1, 0.1, 0.1]]), torch.tensor([[0.0, 0, -1]]))
    assert hits.label.tolist() == [3] and hits.depth_m.tolist() == pytest.approx([0.1])


@pytest.mark.parametrize(
    ("labels", "origins", "directions", "why"),
    [
        pytest.param(
            torch.zeros(2, 2, 2).byte(), [[0.0, 0, 0]], [[1.0, 0, 0]], "shape", id="shape"
        ),
        pytest.param(None, [[9.0, 0, 0]], [[1.0, 0, 0]], "in the grid", id="outside"),
        pytest.param(None, [[0.0, 0, 0]], [[2.0, 0, 0]], "length 1", id="length"),
    ],
)
def test_nonsense_is_refused(labels, origins: list, directions: list, why: str):
    labels = torch.zeros(GRID.shape, dtype=torch.uint8) if labels is None else labels
    rays = torch.tensor(origins, dtype=torch.float64), torch.tensor(directions, dtype=torch.float64)
    with pytest.raises(ValueError, match=why):
        cast_rays(labels, GRID, *rays)


def test_ignored_voxels_are_refused():
    labels = torch.full(GRID.shape, 255, dtype=torch.uint8)
    with pytest.raises(ValueError, match="255"):
        cast_rays(labels, GRID, torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]]))
