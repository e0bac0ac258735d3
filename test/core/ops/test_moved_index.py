import math

import torch

from occ_core.ops.moved_index import moved_index
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 8.0, 4.0, 2.0), 1.0)  # strides of the flattened grid: 8, 2, 1


def test_a_voxel_is_found_where_its_centre_lay():
    """The grid moved by 2.4 m along x: the centre of voxel (3, 1, 0), at 3.5 m, lay at 5.9 m, in
    voxel (5, 1, 0) at position 5 * 8 + 1 * 2 = 42; that of (6, 1, 0) lay at 8.9 m, outside.
    """
    pose = torch.eye(4)[None].clone()
    pose[0, 0, 3] = 2.4
    index = torch.tensor([[0, 3, 1, 0], [0, 6, 1, 0]])
    assert moved_index(index, pose, GRID).tolist() == [42, -1]


def test_every_sample_has_its_own_pose():
    """The second sample is turned by a quarter: (x, y) = (0.5, 2.5) m lay at (-2.5, 0.5) + (4, 0)
    = (1.5, 0.5) m, in voxel (1, 0, 1), at position 64 + 1 * 8 + 1 = 73.
    """
    angle = math.pi / 2
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[1, :2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    pose[1, 0, 3] = 4.0
    index = torch.tensor([[0, 0, 2, 1], [1, 0, 2, 1]])
    assert moved_index(index, pose, GRID).tolist() == [5, 73]


def test_without_voxels_there_is_nothing_to_find():
    assert moved_index(torch.zeros(0, 4, dtype=torch.long), torch.eye(4)[None], GRID).shape == (0,)
