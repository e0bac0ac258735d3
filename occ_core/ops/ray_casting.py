"""Rays through a voxel grid: what each meets first, and how far away (Amanatides and Woo 1987, as
RayIoU uses it). Of planes that a ray crosses at once, that across z counts first, then y, then x.

Distances are those at which a ray *leaves* the voxel it has met, as in SparseOcc's RayIoU. The time
at which a plane is crossed is computed from the plane itself, not summed up step by step, so that
the torch form and the compiled loop agree on every ray.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import ray_casting as kernels
from occ_core.ops.cpu.ray_casting import NEVER_INSIDE
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.voxel_grid import VoxelGrid

MAX_LENGTH_ERROR = 1e-4
"""Directions whose squared length differs from 1 by this or more are refused."""


class RayHits(NamedTuple):
    """What rays meet."""

    label: UInt8[Tensor, " ray"]
    """Class id of the first non-empty voxel; that of the empty class where the ray meets none."""
    depth_m: Float[Tensor, " ray"]
    """Distance from the origin to where the ray leaves that voxel, or the grid."""


def cast_rays(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    empty: int = EMPTY,
) -> RayHits:
    """The first non-empty voxel along every ray; a ray that starts inside one meets that one. The
    depths are float64.

    Args:
        origins_m: in the grid frame, inside the grid.
        directions: unit vectors.
        empty: id of the empty class.

    Raises:
        ValueError: the shapes do not fit, a label is 255, an origin lies outside the grid, or a
            direction is not of length 1.
    """
    origins, directions = origins_m.double(), directions.double()
    origins = (origins - origins.new_tensor(grid.min_m)) / grid.voxel_size_m
    label, depth = cast_voxel_rays(labels, grid, origins, directions, empty)
    return RayHits(label, depth * grid.voxel_size_m)


def cast_voxel_rays(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    empty: int = EMPTY,
    *,
    any_height: bool = False,
) -> tuple[UInt8[Tensor, " ray"], Float[Tensor, " ray"]]:
    """As ``cast_rays`` of origins float64 in voxels from the grid's corner; the depths are in
    voxels too.

    Args:
        any_height: accept origins above and below the grid. A ray that never enters the grid has
            the label ``empty`` and a depth of ``NEVER_INSIDE``.

    Raises:
        ValueError: as ``cast_rays``.
    """
    if labels.shape != grid.shape:
        raise ValueError(
            f"labels on this grid must be of shape {list(grid.shape)}, got {list(labels.shape)}"
        )
    if labels.max() == IGNORE:
        raise ValueError(
            f"labels hold {IGNORE} (ignored), and a ray cannot pass through unknown voxels: set "
            f"them to {empty}"
        )
    hits = None
    if backend.use_kernel("cast_rays", labels, origins, directions):
        hits = kernels.cast_rays(labels, origins, directions, MAX_LENGTH_ERROR, empty, any_height)
    if hits is None:
        _check_rays(origins, directions, grid, any_height)
        hits = _cast_in_steps(labels, origins, directions, empty)
    return hits


def _check_rays(
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    grid: VoxelGrid,
    any_height: bool,
) -> None:
    axes = 2 if any_height else 3
    shape = torch.tensor(grid.shape[:axes], device=origins.device)
    if not ((origins[:, :axes] >= 0) & (origins[:, :axes] < shape)).all():
        raise ValueError(
            f"origins must lie in the grid, within {grid.range_m} m; leave out those that do not"
        )
    if not ((directions.square().sum(dim=1) - 1).abs() < MAX_LENGTH_ERROR).all():
        raise ValueError("directions must be of length 1; divide them by their norms")


def _cast_in_steps(
    labels: UInt8[Tensor, "x y z"],
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    empty: int,
) -> tuple[UInt8[Tensor, " ray"], Float[Tensor, " ray"]]:
    """Labels and depths in voxels of all rays together, voxel by voxel."""
    device = labels.device
    shape = torch.tensor(labels.shape, device=device)
    forward = directions >= 0
    per_plane = 1 / directions  # infinite where a ray runs along the planes
    voxel = origins.trunc().long()  # as in the reference, for origins below the grid
    label = torch.full((len(origins),), empty, dtype=torch.uint8, device=device)
    depth = torch.full((len(origins),), NEVER_INSIDE, dtype=torch.float64, device=device)
    active = torch.arange(len(origins), device=device)
    while len(active):
        plane = voxel + forward
        time = torch.where(
            directions[active] == 0, torch.inf, (plane - origins[active]) * per_plane[active]
        )  # [A, 3]
        leaves = time.amin(dim=1)
        # of planes crossed at once z comes first, then y
        axis = 2 - (time == leaves[:, None]).flip(1).int().argmax(dim=1)
        inside = ((voxel >= 0) & (voxel < shape)).all(dim=1)
        depth[active[inside]] = leaves[inside]
        label[active[inside]] = labels[voxel[inside].unbind(1)]
        step = torch.zeros_like(voxel).scatter_(1, axis[:, None], 1)
        voxel = voxel + torch.where(forward, step, -step)
        stays = ((voxel >= 0) & (voxel < shape)).all(dim=1)
        above_columns = ((voxel[:, :2] >= 0) & (voxel[:, :2] < shape[:2])).all(dim=1)
        comes = above_columns & torch.where(forward[:, 2], voxel[:, 2] < 0, voxel[:, 2] >= shape[2])
        goes_on = (label[active] == empty) & torch.where(inside, stays, stays | comes)
        active, voxel, forward = active[goes_on], voxel[goes_on], forward[goes_on]
    return label, depth
