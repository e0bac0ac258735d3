"""Where Gaussians are placed: TACOcc's dual-source geometric anchors (section III-B)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.losses.depth import NEWEST_S
from occ_core.voxel_grid import VoxelGrid


class Anchors(NamedTuple):
    """Centres that Gaussians may leave by no more than their size."""

    centres: Float[Tensor, "gaussian 3"]
    """In metres, in the grid frame."""
    size_m: Float[Tensor, " gaussian"]
    """Small at points, whose place is known; half a voxel at voxels."""
    of_points: Bool[Tensor, " gaussian"]


def dual_source_anchors(
    points: Float[Tensor, "point 5"],
    occupied: Bool[Tensor, "x y z"],
    grid: VoxelGrid,
    most: int = 8000,
    point_size_m: float = 0.2,
) -> Anchors:
    """LiDAR points of the newest sweep, and the centres of occupied voxels that hold none of them.

    Args:
        points: as in ``Frame``; older ones are left out, for moving things were elsewhere then.
        occupied: voxels of ``grid`` whose features are taken for something.
        most: of either source; where there are more, every n-th is taken.
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
    of_points = torch.arange(len(newest) + len(voxels), device=points.device) < len(newest)
    return Anchors(torch.cat([newest, voxels]), sizes, of_points)


def _every_nth(rows: Tensor, most: int) -> Tensor:
    return rows[:: max(1, -(-len(rows) // most))]
