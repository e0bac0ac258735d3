import math

import pytest
import torch

from occ_core.metrics.flicker import Flicker
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 4.0, 1.0, 1.0), 1.0)  # four voxels in a row
MANMADE, CAR, ROAD, IGNORE = 15, 4, 11, 255


def row(*ids: int) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.uint8).view(4, 1, 1)


def pose(x: float) -> torch.Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 3] = 1e5 + x
    return matrix


def test_changed_labels_of_static_voxels_count():
    """Voxels 0, 1 and 3 are static; the label of voxel 1 changes: 1 of 3."""
    flicker = Flicker(GRID)
    truth = row(MANMADE, ROAD, CAR, MANMADE)
    flicker.update(row(MANMADE, 0, CAR, ROAD), truth, pose(0.0))
    flicker.update(row(MANMADE, ROAD, 0, ROAD), truth, pose(0.0))
    assert (flicker.changed, flicker.compared) == (1, 3)
    assert flicker.compute() == pytest.approx(1 / 3)


def test_the_world_is_compared_and_not_the_grid():
    """The vehicle moves by one voxel, so that voxel i is compared with voxel i + 1 of the previous
    frame; the last one is new.
    """
    flicker = Flicker(GRID)
    flicker.update(row(1, 2, 3, 4), row(MANMADE, MANMADE, ROAD, ROAD), pose(0.0))
    flicker.update(row(2, 3, 9, 9), row(MANMADE, ROAD, ROAD, ROAD), pose(1.0))
    assert (flicker.changed, flicker.compared) == (1, 3)


def test_only_where_the_truth_stays_and_is_known():
    flicker = Flicker(GRID)
    flicker.update(row(1, 1, 1, 1), row(MANMADE, ROAD, IGNORE, 0), pose(0.0))
    flicker.update(row(2, 2, 2, 2), row(ROAD, ROAD, IGNORE, 0), pose(0.0))
    assert (flicker.changed, flicker.compared) == (1, 1)


def test_drives_are_not_compared_with_one_another():
    flicker = Flicker(GRID)
    flicker.update(row(1, 1, 1, 1), row(*[ROAD] * 4), pose(0.0))
    flicker.start_drive()
    flicker.update(row(2, 2, 2, 2), row(*[ROAD] * 4), pose(0.0))
    assert math.isnan(flicker.compute())
