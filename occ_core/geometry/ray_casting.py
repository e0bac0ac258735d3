"""Rays through a voxel grid: what each meets first, and how far away (Amanatides and Woo 1987, as
RayIoU uses it).

Distances are those at which a ray *leaves* the voxel it has met, as in SparseOcc's RayIoU. The time
at which a plane is crossed is computed from the plane itself, not summed up step by step, so that
every form below decides alike on every ray.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numba import njit
from torch import Tensor

from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.voxel_grid import VoxelGrid

NOT_ONE = 1e-4
"""A direction whose squared length is as far as this from 1 is no direction."""
_OUTSIDE = "origins must lie in the grid, within {} m; leave out those that do not"
_NOT_UNIT = "directions must be of length 1; divide them by their norms"


class RayHits(NamedTuple):
    """What rays meet."""

    label: UInt8[Tensor, " ray"]
    """Class id of the first voxel that is not empty; 0 where the ray leaves the grid before."""
    depth_m: Float[Tensor, " ray"]
    """float64, from the origin to where the ray leaves that voxel, or the grid."""


def cast_rays(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
) -> RayHits:
    """The first voxel that is not empty along every ray; a ray that starts in one meets it.

    Args:
        origins_m: in the grid frame, inside the grid.
        directions: of length 1.

    Raises:
        ValueError: shapes do not fit, a label is 255, an origin lies outside the grid, or a
            direction is not of length 1.
    """
    if labels.shape != grid.shape:
        raise ValueError(
            f"labels on this grid must be of shape {list(grid.shape)}, got {list(labels.shape)}"
        )
    if labels.max() == IGNORE:
        raise ValueError(
            f"labels hold {IGNORE} (ignored); a ray cannot pass by what is not known: set these "
            f"voxels to {EMPTY}"
        )
    cast = cast_compiled if labels.device.type == "cpu" else cast_in_steps
    return cast(labels, grid, origins_m.double(), directions.double())


def cast_in_steps(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
) -> RayHits:
    """All rays at once, voxel by voxel, on any device: the readable form of ``cast_compiled``."""
    device = labels.device
    origins = (origins_m - origins_m.new_tensor(grid.min_m)) / grid.voxel_size_m  # in voxels
    shape = torch.tensor(labels.shape, device=device)
    if not grid.contains(origins.floor().long()).all():
        raise ValueError(_OUTSIDE.format(grid.range_m))
    if not ((directions.square().sum(dim=1) - 1).abs() < NOT_ONE).all():
        raise ValueError(_NOT_UNIT)
    forward = directions >= 0
    per_plane = 1 / directions  # infinite where a ray runs along the planes
    voxel = origins.floor().long()
    label = torch.zeros(len(origins), dtype=torch.uint8, device=device)
    depth = torch.zeros(len(origins), dtype=torch.float64, device=device)
    active = torch.arange(len(origins), device=device)
    while len(active):
        plane = voxel + forward
        time = torch.where(
            directions[active] == 0, torch.inf, (plane - origins[active]) * per_plane[active]
        )  # [A, 3]
        leaves = time.amin(dim=1)
        axis = (
            (time == leaves[:, None]).int().argmax(dim=1)
        )  # of planes crossed at once x is first, then y
        depth[active] = leaves
        label[active] = labels[voxel.unbind(1)]
        step = torch.zeros_like(voxel).scatter_(1, axis[:, None], 1)
        voxel = voxel + torch.where(forward, step, -step)
        goes_on = (label[active] == EMPTY) & ((voxel >= 0) & (voxel < shape)).all(dim=1)
        active, voxel, forward = active[goes_on], voxel[goes_on], forward[goes_on]
    return RayHits(label, depth * grid.voxel_size_m)


def cast_compiled(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
) -> RayHits:
    """Ray by ray on the CPU. A shell of voxels around the grid ends every ray, so that no step asks
    where it is.
    """
    label = torch.empty(len(origins_m), dtype=torch.uint8)
    depth = torch.empty(len(origins_m), dtype=torch.float64)
    walled = F.pad(labels, (1, 1, 1, 1, 1, 1), value=IGNORE)
    inputs = (tensor.contiguous().numpy() for tensor in (walled, origins_m, directions))
    fault = _cast(*inputs, np.array(grid.min_m), grid.voxel_size_m, label.numpy(), depth.numpy())
    if fault == 1:
        raise ValueError(_OUTSIDE.format(grid.range_m))
    if fault == 2:
        raise ValueError(_NOT_UNIT)
    return RayHits(label, depth)


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _cast(
    walled: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    low: np.ndarray,
    size: float,
    label: np.ndarray,
    depth: np.ndarray,
) -> int:
    """0; or 1 for an origin outside the grid, 2 for a direction that is not of length 1."""
    x, y, z = walled.shape
    voxels = walled.ravel()
    for ray in range(len(origins)):
        px, py, pz = (
            (origins[ray, 0] - low[0]) / size,
            (origins[ray, 1] - low[1]) / size,
            (origins[ray, 2] - low[2]) / size,
        )
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        ix, iy, iz = np.floor(px), np.floor(py), np.floor(pz)
        if not (0 <= ix < x - 2 and 0 <= iy < y - 2 and 0 <= iz < z - 2):
            return 1
        if not abs(dx * dx + dy * dy + dz * dz - 1) < NOT_ONE:
            return 2
        at = ((int(ix) + 1) * y + int(iy) + 1) * z + int(iz) + 1
        sx, sy, sz = (
            (1.0 if dx >= 0 else -1.0),
            (1.0 if dy >= 0 else -1.0),
            (1.0 if dz >= 0 else -1.0),
        )
        ax, ay, az = int(sx) * y * z, int(sy) * z, int(sz)  # where the next voxel lies
        # the planes ahead, relative to the origin, and when they are crossed
        nx, ny, nz = (
            (ix + 1 if dx >= 0 else ix),
            (iy + 1 if dy >= 0 else iy),
            (iz + 1 if dz >= 0 else iz),
        )
        gx, gy, gz = (
            (1 / dx if dx != 0 else np.inf),
            (1 / dy if dy != 0 else np.inf),
            (1 / dz if dz != 0 else np.inf),
        )
        tx = (nx - px) * gx if dx != 0 else np.inf
        ty = (ny - py) * gy if dy != 0 else np.inf
        tz = (nz - pz) * gz if dz != 0 else np.inf
        leaves = 0.0
        found = voxels[at]
        while found == 0:
            if tx <= ty and tx <= tz:  # of planes crossed at once x is first, then y
                leaves = tx
                at += ax
                nx += sx
                tx = (nx - px) * gx
            elif ty <= tz:
                leaves = ty
                at += ay
                ny += sy
                ty = (ny - py) * gy
            else:
                leaves = tz
                at += az
                nz += sz
                tz = (nz - pz) * gz
            found = voxels[at]
        if found == 255:  # the wall: depth is where the ray has left the grid
            label[ray], depth[ray] = 0, leaves * size
        else:
            label[ray], depth[ray] = found, min(tx, ty, tz) * size
    return 0
