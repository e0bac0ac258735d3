"""As ``ops.line_of_sight.see_through``, compiled: line by line."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.kernel import kernel

UNSEEN, ENDED, CROSSED = 0, 1, 2
"""A voxel that no line of sight reached; one in which a line ended; one that a line went through.
"""


def see_through(
    seen: UInt8[Tensor, "x y z"],
    walls: Bool[Tensor, "x y z"],
    origins: Float[Tensor, "ray 3"],
    ends: Float[Tensor, "ray 3"],
) -> None:
    """Marks ``seen``, which is contiguous; the lines are given in voxels."""
    _see_through(*arrays(seen, walls, origins, ends))


@kernel
def _see_through(
    seen: np.ndarray, walls: np.ndarray, origins: np.ndarray, ends: np.ndarray
) -> None:
    x, y, z = seen.shape
    marks, ends_at = seen.reshape(-1), walls.reshape(-1)
    for ray in range(len(origins)):
        px, py, pz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        wx, wy, wz = ends[ray, 0] - px, ends[ray, 1] - py, ends[ray, 2] - pz
        ax, bx = _within(px, wx, x)
        ay, by = _within(py, wy, y)
        az, bz = _within(pz, wz, z)
        enters = max(0.0, ax, ay, az)
        if not (enters < min(bx, by, bz) and enters <= 1):
            continue
        ix, sx, nx, gx, tx = _axis(px, wx, enters, x)
        iy, sy, ny, gy, ty = _axis(py, wy, enters, y)
        iz, sz, nz, gz, tz = _axis(pz, wz, enters, z)
        lx, ly, lz = np.floor(ends[ray, 0]), np.floor(ends[ray, 1]), np.floor(ends[ray, 2])
        while True:
            position = (ix * y + iy) * z + iz
            is_last = ix == lx and iy == ly and iz == lz
            if ends_at[position] or is_last or min(tx, ty, tz) > 1:
                marks[position] = max(marks[position], ENDED)
                break
            marks[position] = CROSSED
            if tz <= tx and tz <= ty:  # of planes crossed at once z comes first, then y
                iz += sz
                if not 0 <= iz < z:
                    break
                nz += sz
                tz = (nz - pz) * gz
            elif ty <= tx:
                iy += sy
                if not 0 <= iy < y:
                    break
                ny += sy
                ty = (ny - py) * gy
            else:
                ix += sx
                if not 0 <= ix < x:
                    break
                nx += sx
                tx = (nx - px) * gx


@kernel(inline="always")
def _within(origin: float, way: float, cells: int) -> tuple[float, float]:
    """Along one axis: the fractions of the line at which it enters and leaves the grid."""
    if way == 0:
        return (0.0, 1.0) if 0 <= origin < cells else (0.0, -1.0)
    low, high = -origin / way, (cells - origin) / way
    return min(low, high), max(low, high)


@kernel(inline="always")
def _axis(
    origin: float, way: float, enters: float, cells: int
) -> tuple[int, int, float, float, float]:
    """Along one axis: the first voxel, the step to the next one, the plane ahead, 1 / way, and the
    fraction of the line at which that plane is crossed.
    """
    voxel = min(max(int(np.floor(origin + enters * way)), 0), cells - 1)
    step = 1 if way >= 0 else -1
    plane = float(voxel + (step > 0))
    per_plane = 1 / way if way != 0 else np.inf
    time = (plane - origin) * per_plane if way != 0 else np.inf
    return voxel, step, plane, per_plane, time
