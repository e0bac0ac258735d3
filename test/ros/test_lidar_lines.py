"""Which returns are chosen, compared with the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.lidar_lines import newest_lines

GRID = VoxelGrid((-4.1, -4.2, -1.3, 4.1, 4.2, 1.3), 0.1)  # 82 x 84 x 26
AGES_S = np.array([0.0, 0.1, 0.35], np.float32)


def plain_lines(
    points: np.ndarray, origins: np.ndarray, ages_s: np.ndarray, grid: VoxelGrid
) -> dict[tuple[bool, int], tuple[int, int]]:
    """For each voxel, and whether lines end or leave there, the last point and its sweep."""
    low_m, high_m = np.array(grid.range_m[:3]), np.array(grid.range_m[3:])
    last = {}
    for position, point in enumerate(points):
        sweep = int(np.flatnonzero(ages_s >= point[4])[0])
        # in single precision, as the model computes it
        cell = np.floor((point[:3] - low_m.astype(np.float32)) / np.float32(grid.voxel_size_m))
        ends_inside = bool(((cell >= 0) & (cell < grid.shape)).all())
        if not ends_inside:
            way = point[:3] - origins[sweep]
            walls = np.where(way > 0, high_m, low_m)
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(way == 0, np.inf, (walls - origins[sweep]) / way)
            leaves = origins[sweep] + shares.min() * way
            cell = np.clip(
                np.floor((leaves - low_m) / grid.voxel_size_m), 0, np.array(grid.shape) - 1
            )
        voxel = int(np.ravel_multi_index(tuple(cell.astype(np.int64)), grid.shape))
        last[ends_inside, voxel] = position, sweep
    return last


@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_the_last_return_of_each_voxel_is_chosen(reach: float) -> None:
    random = np.random.default_rng(0)
    low, high = np.array(GRID.range_m[:3]), np.array(GRID.range_m[3:])
    points = np.zeros((6000, 5), np.float32)
    points[:, :3] = reach * random.uniform(low, high, (6000, 3))
    points[1000:2000] = points[:1000]  # so that many voxels have two
    points[:, 4] = np.repeat(AGES_S[::-1], 2000)  # the oldest sweep first
    origins = random.uniform(low, high, (3, 3))
    origins[0] = 0.25
    points[-6:, :3] = [[9, 0.25, 0.25], [0.25, -9, 0.25], [0.25, 0.25, 9]] * 2  # along an axis
    points[-9:-7, :3] = [GRID.min_m, GRID.range_m[3:]]
    chosen, sweeps = newest_lines(points, origins, AGES_S, GRID)
    expected = plain_lines(points, origins, AGES_S, GRID)
    assert len(expected) < 6000 and {inside for inside, _ in expected} == {True, False}
    pairs = list(zip(chosen.tolist(), sweeps.tolist(), strict=True))
    assert pairs == sorted(expected.values(), reverse=True)


def test_points_may_come_in_any_order() -> None:
    random = np.random.default_rng(1)
    points = random.uniform(-5, 5, (500, 5)).astype(np.float32)
    points[:, 4] = random.choice(AGES_S, 500) - np.float32(0.01) * (points[:, 3] > 0)
    points[:, 4] = points[:, 4].clip(0)
    origins = random.uniform(-1, 1, (3, 3))
    chosen, sweeps = newest_lines(points, origins, AGES_S, GRID)
    expected = plain_lines(points, origins, AGES_S, GRID)
    pairs = list(zip(chosen.tolist(), sweeps.tolist(), strict=True))
    assert pairs == sorted(expected.values(), reverse=True)


def test_without_points_there_is_no_line() -> None:
    nothing = np.zeros((0, 5), np.float32)
    chosen, sweeps = newest_lines(nothing, np.zeros((0, 3)), AGES_S[:0], GRID)
    assert len(chosen) == len(sweeps) == 0
