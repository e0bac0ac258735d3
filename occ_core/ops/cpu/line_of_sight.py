"""As ``ops.line_of_sight.see_through``, compiled: line by line."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.kernel import kernel
from occ_core.voxel_grid import VoxelGrid

UNSEEN, ENDED, CROSSED = 0, 1, 2
"""A voxel that no line of sight reached; one in which a line ended; one that a line went through.
"""


def see_through(
    seen: UInt8[Tensor, "x y z"],
    walls: Bool[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    ends_m: Float[Tensor, "ray 3"],
) -> bool:
    """Marks ``seen``, which is contiguous; returns whether all coordinates are finite."""
    marks, ends_at, origins, ends = arrays(seen, walls, origins_m.double(), ends_m.double())
    if not (_are_finite(origins) and _are_finite(ends)):
        return False
    min_m = np.array(grid.min_m, np.float64)
    _see_through(marks, ends_at, min_m, grid.voxel_size_m, origins, ends)
    return True


@kernel
def _are_finite(points: np.ndarray) -> bool:
    total = 0.0
    for point in points.reshape(-1):
        total += point - point  # 0, or NaN for a number that is not finite
    return total == 0


@kernel
def _see_through(
    seen: np.ndarray,
    walls: np.ndarray,
    min_m: np.ndarray,
    voxel_size_m: float,
    origins_m: np.ndarray,
    ends_m: np.ndarray,
) -> None:
    x, y, z = seen.shape
    marks, ends_at = seen.reshape(-1), walls.reshape(-1)
    for ray in range(len(origins_m)):
        px, py, pz = _in_voxels(origins_m, ray, min_m, voxel_size_m)
        ex, ey, ez = _in_voxels(ends_m, ray, min_m, voxel_size_m)
        wx, wy, wz = ex - px, ey - py, ez - pz
        ax, bx = _within(px, wx, x)
        ay, by = _within(py, wy, y)
        az, bz = _within(pz, wz, z)
        enters = max(0.0, ax, ay, az)
        if not (enters < min(bx, by, bz) and enters <= 1):
            continue
        ix, sx, nx, gx, tx = _axis(px, wx, enters, x)
        iy, sy, ny, gy, ty = _axis(py, wy, enters, y)
        iz, sz, nz, gz, tz = _axis(pz, wz, enters, z)
        lx, ly, lz = np.floor(ex), np.floor(ey), np.floor(ez)
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
def _in_voxels(
    points_m: np.ndarray, ray: int, min_m: np.ndarray, voxel_size_m: float
) -> tuple[float, float, float]:
    x = (points_m[ray, 0] - min_m[0]) / voxel_size_m
    y = (points_m[ray, 1] - min_m[1]) / voxel_size_m
    z = (points_m[ray, 2] - min_m[2]) / voxel_size_m
    return x, y, z


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
