import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.ops.backend import torch_only
from occ_core.ops.ray_casting import cast_rays, cast_voxel_rays
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
        axis = 2 - int(time[::-1].argmin())  # of planes crossed at once z comes first, then y
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


def test_of_planes_crossed_at_once_z_comes_first_then_y():
    """Along the diagonal from a corner of voxels, (8, 8, 2) in voxels, all three planes are crossed
    at once, again and again: the ray visits (8, 8, 2), (8, 8, 3), and leaves the grid above.

    Along x and y alone the voxel beside in y is met, not that in x.
    """
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[8, 8, 3], labels[9, 8, 2], labels[8, 9, 2] = 1, 2, 3
    third, half = math.sqrt(1 / 3), math.sqrt(1 / 2)
    origins = torch.zeros(2, 3, dtype=torch.float64)
    directions = torch.tensor([[third] * 3, [half, half, 0.0]], dtype=torch.float64)
    assert cast_rays(labels, GRID, origins, directions).label.tolist() == [1, 3]
    with torch_only():
        assert cast_rays(labels, GRID, origins, directions).label.tolist() == [1, 3]


@given(seed=st.integers(0, 10_000))
def test_another_empty_class_changes_names_alone(seed: int):
    """Id l of a set whose empty class is 0 is l - 1 of one whose empty class is the last, 16."""
    labels, (origins, directions) = scene(seed, 0.05), rays(seed, 40)
    hits = cast_rays(labels, GRID, origins, directions)
    renamed = (labels.int() - 1).remainder(17).to(torch.uint8)
    for others in (nullcontext(), torch_only()):
        with others:
            found = cast_rays(renamed, GRID, origins, directions, empty=16)
        assert torch.equal(found.label, (hits.label.int() - 1).remainder(17).to(torch.uint8))
        assert torch.equal(found.depth_m, hits.depth_m)


def test_origins_above_and_below_the_grid():
    """In voxels, the grid being 4 high. From 2 above its middle straight down: the voxel in the
    lowest layer is left at z = 0, 6 away. Half a voxel below the grid an origin counts as in the
    lowest layer, as in the reference, so that straight up it meets what is there and leaves it at z
    = 1, 1.5 away. Level rays above the grid, and those that go away from it, never enter.
    """
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[8, 8, 0] = 5
    origins = torch.tensor([[8.5, 8.5, 6], [8.5, 8.5, -0.5], [8.5, 8.5, 6], [8.5, 8.5, 6]])
    directions = torch.tensor([[0.0, 0, -1], [0, 0, 1], [1, 0, 0], [0, 0, 1]])
    rays_in_voxels = origins.double(), directions.double()
    for others in (nullcontext(), torch_only()):
        with others:
            label, depth = cast_voxel_rays(labels, GRID, *rays_in_voxels, any_height=True)
        assert label.tolist() == [5, 5, 0, 0]
        assert depth.tolist() == [6.0, 1.5, -math.inf, -math.inf]
    with pytest.raises(ValueError, match="in the grid"):
        cast_voxel_rays(labels, GRID, *rays_in_voxels)


@given(seed=st.integers(0, 10_000))
def test_both_forms_agree_from_above_and_below(seed: int):
    labels, (origins, directions) = scene(seed, 0.05), rays(seed, 60)
    voxels = (origins - torch.tensor(GRID.min_m)) / GRID.voxel_size_m
    voxels[:, 2] = torch.from_numpy(np.random.default_rng(seed).uniform(-6, 10, len(voxels)))
    compiled = cast_voxel_rays(labels, GRID, voxels, directions, any_height=True)
    with torch_only():
        by_torch = cast_voxel_rays(labels, GRID, voxels, directions, any_height=True)
    assert torch.equal(compiled[0], by_torch[0]) and torch.equal(compiled[1], by_torch[1])


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
