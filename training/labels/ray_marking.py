"""Marks the voxels that rays cross (Amanatides and Woo 1987)."""

from __future__ import annotations

import numpy as np

from occ_core.ops.cpu.kernel import kernel


def mark_rays(
    touched: np.ndarray,
    crossed: np.ndarray,
    ended: np.ndarray,
    origins: np.ndarray,
    ends: np.ndarray,
) -> None:
    """Marks voxels that line segments meet, and those in which they end.

    Args:
        touched: bool ``[X, Y, Z]``, written to: every voxel on the way, but the last one.
        crossed: bool ``[X, Y, Z]``, written to: those of them whose centre is less than half a
            voxel from the line, so that it meets the ball that the voxel's faces touch.
        ended: bool ``[X, Y, Z]``, written to: the voxel of each end inside the grid.
        origins: float64 ``[N, 3]`` in voxels, from the grid's minimum corner.
        ends: likewise.
    """
    _mark(touched, crossed, ended, origins, ends)


@kernel
def _mark(
    touched: np.ndarray,
    crossed: np.ndarray,
    ended: np.ndarray,
    origins: np.ndarray,
    ends: np.ndarray,
) -> None:
    shape = crossed.shape
    voxel, last, step = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    time, per_voxel = np.empty(3), np.empty(3)
    for ray in range(len(origins)):
        # The part of the segment inside the grid, as fractions of its length.
        enters, leaves = 0.0, 1.0
        for axis in range(3):
            way = ends[ray, axis] - origins[ray, axis]
            if way == 0.0:
                if not 0.0 <= origins[ray, axis] < shape[axis]:
                    leaves = -1.0
                continue
            low, high = -origins[ray, axis] / way, (shape[axis] - origins[ray, axis]) / way
            enters, leaves = max(enters, min(low, high)), min(leaves, max(low, high))
        if enters >= leaves:
            continue
        steps = 0
        for axis in range(3):
            way = ends[ray, axis] - origins[ray, axis]
            first = int(np.floor(origins[ray, axis] + enters * way))
            final = int(np.floor(origins[ray, axis] + leaves * way))
            voxel[axis] = min(max(first, 0), shape[axis] - 1)
            last[axis] = min(max(final, 0), shape[axis] - 1)
            step[axis] = 1 if way > 0 else -1
            steps += abs(last[axis] - voxel[axis])
            per_voxel[axis] = abs(1.0 / way) if way != 0.0 else np.inf
            plane = voxel[axis] + (1 if way > 0 else 0)
            time[axis] = (plane - origins[ray, axis]) / way if way != 0.0 else np.inf
        for _ in range(steps):
            touched[voxel[0], voxel[1], voxel[2]] = True
            if _is_near(voxel, origins[ray], ends[ray]):
                crossed[voxel[0], voxel[1], voxel[2]] = True
            axis = 0
            if time[1] < time[axis]:
                axis = 1
            if time[2] < time[axis]:
                axis = 2
            if voxel[axis] == last[axis]:  # rounding at an edge of the last voxel
                break
            voxel[axis] += step[axis]
            time[axis] += per_voxel[axis]
        if leaves == 1.0:
            ended[last[0], last[1], last[2]] = True
        else:
            touched[last[0], last[1], last[2]] = True
            if _is_near(last, origins[ray], ends[ray]):
                crossed[last[0], last[1], last[2]] = True


@kernel(inline="always")
def _is_near(voxel: np.ndarray, origin: np.ndarray, end: np.ndarray) -> bool:
    """Whether the line through two points passes less than half a voxel from a voxel's centre."""
    wx, wy, wz = end[0] - origin[0], end[1] - origin[1], end[2] - origin[2]
    x = voxel[0] + 0.5 - origin[0]
    y = voxel[1] + 0.5 - origin[1]
    z = voxel[2] + 0.5 - origin[2]
    along = x * wx + y * wy + z * wz
    length = wx * wx + wy * wy + wz * wz
    return (x * x + y * y + z * z - 0.25) * length < along * along
