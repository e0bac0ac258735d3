"""Where Gaussians are placed: TACOcc's dual-source geometric anchors (section III-B)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.geometry.points import NEWEST_S
from occ_core.voxel_grid import VoxelGrid


class Anchors(NamedTuple):
    """Positions from which Gaussians may move by no more than the anchors' size."""

    centres: Float[Tensor, "gaussian 3"]
    """Positions in metres, in the grid frame."""
    size_m: Float[Tensor, " gaussian"]
    """Small for points, whose position is known; half a voxel for voxels."""
    is_point: Bool[Tensor, " gaussian"]
    """Whether an anchor is a LiDAR point or the centre of a voxel."""


def dual_source_anchors(
    points: Float[Tensor, "point 5"],
    occupied: Bool[Tensor, "x y z"],
    grid: VoxelGrid,
    most: int = 8000,
    point_size_m: float = 0.2,
) -> Anchors:
    """LiDAR points of the newest sweep, and the centres of occupied voxels that hold none of them.

    Args:
        points: as in ``Frame``; those of older sweeps are left out.
        occupied: the voxels of ``grid`` that are predicted occupied.
        most: maximum number of anchors of either source; if there are more, every n-th is taken.
        point_size_m: size of the anchors at points.
    """
    newest = points[points[:, 4] < NEWEST_S, :3]
    newest = _every_nth(newest[grid.contains(grid.index(newest))], most)
    without_points = occupied.clone()
    without_points[grid.index(newest).unbind(1)] = False
    voxels = _every_nth(grid.centres(without_points.nonzero()), most)
    sizes = torch.cat(
        [
            newest.new_full((len(newest),), point_size_m),
            newest.new_full((len(voxels),), grid.voxel_size_m / 2),
        ]
    )
    is_point = torch.arange(len(newest) + len(voxels), device=points.device) < len(newest)
    return Anchors(torch.cat([newest, voxels]), sizes, is_point)


def _every_nth(rows: Tensor, most: int) -> Tensor:
    return rows[:: max(1, -(-len(rows) // most))]
