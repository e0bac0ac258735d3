"""The labels of all keyframes of a drive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from occ_core.geometry.poses import invert_pose
from occ_core.labels.benchmarks import GridFrame
from occ_core.voxel_grid import VoxelGrid
from training.labels.drive import LabelDrive, LabelledVoxels
from training.labels.surfaces import gather
from training.labels.visibility import camera_mask, lidar_rays
from training.labels.voxels import occupied_voxels

_CELLS_PER_VOXEL = 4
"""Along an edge: enough to weigh surfaces by their area, and few enough to be hit."""


def label_drive(
    drive: LabelDrive, grid: VoxelGrid, grid_frame: GridFrame, *, dense: bool = True
) -> Iterator[LabelledVoxels]:
    """Labels the keyframes of a drive one after another.

    Args:
        drive: the sweeps, boxes and keyframes.
        grid: of the labels.
        grid_frame: the frame in which the grid is fixed at each keyframe.
        dense: whether surfaces between the LiDAR's rings and unseen sides of objects are filled in;
            otherwise only voxels are occupied in which a ray ended.
    """
    surfaces = gather(drive, grid.voxel_size_m / _CELLS_PER_VOXEL, dense=dense)
    for keyframe in drive.keyframes:
        world_from_lidar = drive.sweeps[keyframe.sweep].world_from_lidar
        world_from_grid = keyframe.world_from_ego if grid_frame == "ego" else world_from_lidar
        grid_from_world = invert_pose(world_from_grid)
        rays = lidar_rays(drive, grid, grid_from_world)
        found = occupied_voxels(drive, surfaces, keyframe, grid, grid_from_world)
        # Where no ray passes above it, nothing says that the ground goes on.
        kept = found.measured | rays.touched.ravel()[found.voxels]
        voxels, classes = found.voxels[kept], found.classes[kept]
        occupied = np.zeros(grid.shape, bool)
        occupied.ravel()[voxels] = True
        observed = rays.crossed | rays.ended
        seen = camera_mask(occupied, observed, keyframe.cameras, grid, grid_from_world)
        yield LabelledVoxels(keyframe, grid, voxels, classes, observed, seen)
