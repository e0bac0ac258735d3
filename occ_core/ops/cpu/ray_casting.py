"""As ``ops.ray_casting.cast_rays``, compiled: ray by ray.

A shell of voxels around the grid ends every ray, so that no step asks whether it is still inside.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.kernel import kernel
from occ_core.taxonomy import IGNORE

SHELL = IGNORE
NEVER_INSIDE = float("-inf")
"""Depth of a ray that passes the grid by."""


def cast_rays(
    labels: UInt8[Tensor, "x y z"],
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    max_length_error: float,
    empty: int,
    any_height: bool,
) -> tuple[UInt8[Tensor, " ray"], Float[Tensor, " ray"]] | None:
    """Labels and depths of rays whose origins are given in voxels; None if one starts outside the
    grid or its direction is not of length 1.

    Args:
        empty: id of the empty class.
        any_height: accept origins above and below the grid.
    """
    label = torch.empty(len(origins), dtype=torch.uint8)
    depth = torch.empty(len(origins), dtype=torch.float64)
    walled = F.pad(labels, (1, 1, 1, 1, 1, 1), value=SHELL)
    rays = arrays(walled, origins, directions, label, depth)
    all_valid = _cast_rays(max_length_error, empty, any_height, *rays)
    return (label, depth) if all_valid else None


@kernel
def _cast_rays(
    max_length_error: float,
    empty: int,
    any_height: bool,
    walled: np.ndarray,
    origins: np.ndarray,
    directions: np.ndarray,
    label: np.ndarray,
    depth: np.ndarray,
) -> bool:
    """Returns whether all rays are valid."""
    x, y, z = walled.shape
    strides = (y * z, z, 1)
    voxels = walled.ravel()
    for ray in range(len(origins)):
        px, py, pz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        # truncated along z, as in the reference: one voxel below the grid is still its lowest layer
        ix, iy, iz = np.floor(px), np.floor(py), np.trunc(pz)
        if not (0 <= ix < x - 2 and 0 <= iy < y - 2 and (any_height or 0 <= pz < z - 2)):
            return False
        if not abs(dx * dx + dy * dy + dz * dz - 1) < max_length_error:
            return False
        if not 0 <= iz < z - 2:
            ix, iy, iz = _enter(origins[ray], directions[ray], (ix, iy, iz), (x - 2, y - 2, z - 2))
            if not (0 <= ix < x - 2 and 0 <= iy < y - 2 and 0 <= iz < z - 2):
                label[ray], depth[ray] = empty, NEVER_INSIDE
                continue
        sx, ax, nx, gx, tx = _axis(px, dx, ix, strides[0])
        sy, ay, ny, gy, ty = _axis(py, dy, iy, strides[1])
        sz, az, nz, gz, tz = _axis(pz, dz, iz, strides[2])
        position = (int(ix) + 1) * strides[0] + (int(iy) + 1) * strides[1] + int(iz) + 1
        leaves = 0.0
        found = voxels[position]
        while found == empty:
            if tz <= tx and tz <= ty:  # of planes crossed at once z comes first, then y
                leaves = tz
                position += az
                nz += sz
                tz = (nz - pz) * gz
            elif ty <= tx:
                leaves = ty
                position += ay
                ny += sy
                ty = (ny - py) * gy
            else:
                leaves = tx
                position += ax
                nx += sx
                tx = (nx - px) * gx
            found = voxels[position]
        if found == SHELL:  # the depth is where the ray has left the grid
            label[ray], depth[ray] = empty, leaves
        else:
            label[ray], depth[ray] = found, min(tx, ty, tz)
    return True


@kernel
def _enter(
    origin: np.ndarray,
    direction: np.ndarray,
    voxel: tuple[float, float, float],
    shape: tuple[int, int, int],
) -> tuple[float, float, float]:
    """The voxel by which a ray from above or below enters the grid; one outside it where it never
    does.
    """
    ix, iy, iz = voxel
    sx, _, nx, gx, tx = _axis(origin[0], direction[0], ix, 1)
    sy, _, ny, gy, ty = _axis(origin[1], direction[1], iy, 1)
    sz, _, nz, gz, tz = _axis(origin[2], direction[2], iz, 1)
    while not 0 <= iz < shape[2]:
        if (iz < 0) == (sz < 0) or not (0 <= ix < shape[0] and 0 <= iy < shape[1]):
            break  # it flies away, or has passed by
        if tz <= tx and tz <= ty:
            iz += sz
            nz += sz
            tz = (nz - origin[2]) * gz
        elif ty <= tx:
            iy += sy
            ny += sy
            ty = (ny - origin[1]) * gy
        else:
            ix += sx
            nx += sx
            tx = (nx - origin[0]) * gx
    return ix, iy, iz


@kernel(inline="always")
def _axis(
    origin: float, direction: float, voxel: float, stride: int
) -> tuple[float, int, float, float, float]:
    """Along one axis: the step to the next voxel, the same in memory, the plane ahead, 1 /
    direction, and the time at which that plane is crossed.
    """
    step = 1.0 if direction >= 0 else -1.0
    plane = voxel + 1 if direction >= 0 else voxel
    per_plane = 1 / direction if direction != 0 else np.inf
    time = (plane - origin) * per_plane if direction != 0 else np.inf
    return step, int(step) * stride, plane, per_plane, time
