"""Loops over the points of LiDAR sweeps; numpy needs a pass over memory for each of their steps."""

from __future__ import annotations

import numpy as np

from occ_core.ops.cpu.kernel import kernel

KEPT, NOT_FINITE, ZERO, FAR = 0, 1, 2, 3
"""What a point may be for ``classify_points``."""


@kernel
def move_returns(
    rows: np.ndarray,
    a_from_sensor: np.ndarray,
    box_from_sensor: np.ndarray,
    box_m: np.ndarray,
    age_s: float,
    moved: np.ndarray,
) -> int:
    """Writes x, y, z in frame a, the intensity and the age of the returns of a sweep into the first
    rows of ``moved``; returns their number.

    Points that are not finite, that lie at the sensor's origin or inside the box are left out.

    Args:
        rows: float32 [4, N], x, y, z in the sensor frame, and intensity.
        a_from_sensor: float32 [4, 4].
        box_from_sensor: float32 [4, 4], to the frame of the box.
        box_m: float32 [6], in the form of ``geometry.points.EGO_BOX_M``.
        age_s: the age of all points.
        moved: float32 [>=N, 5]; the row behind the last return may be written to as well.
    """
    kept = _are_returns(rows, box_from_sensor, box_m)
    number = 0
    for point in range(rows.shape[1]):
        x, y, z = rows[0, point], rows[1, point], rows[2, point]
        for axis in range(3):
            moved[number, axis] = _place(a_from_sensor, axis, x, y, z)
        moved[number, 3] = rows[3, point]
        moved[number, 4] = age_s
        number += kept[point]  # instead of a branch: a point that is left out is overwritten
    return number


@kernel
def _are_returns(rows: np.ndarray, box_from_sensor: np.ndarray, box_m: np.ndarray) -> np.ndarray:
    """Whether each point is a finite return from outside the box, bool [N].

    Without a branch, so that the processor takes many points at once.
    """
    kept = np.empty(rows.shape[1], np.bool_)
    for point in range(rows.shape[1]):
        x, y, z, intensity = rows[0, point], rows[1, point], rows[2, point], rows[3, point]
        is_finite = (abs(x) < np.inf) & (abs(y) < np.inf) & (abs(z) < np.inf)
        is_finite &= abs(intensity) < np.inf
        is_lost = (x == 0) & (y == 0) & (z == 0)
        a = _place(box_from_sensor, 0, x, y, z)
        b = _place(box_from_sensor, 1, x, y, z)
        c = _place(box_from_sensor, 2, x, y, z)
        is_inside = (box_m[0] < a) & (a < box_m[3]) & (box_m[1] < b) & (b < box_m[4])
        is_inside &= (box_m[2] < c) & (c < box_m[5])
        kept[point] = is_finite & ~is_lost & ~is_inside
    return kept


@kernel(inline="always")
def _place(pose: np.ndarray, axis: int, x: float, y: float, z: float) -> float:
    """One coordinate of a point behind a pose ``[4, 4]``."""
    return pose[axis, 0] * x + pose[axis, 1] * y + pose[axis, 2] * z + pose[axis, 3]


@kernel
def classify_points(rows: np.ndarray, limit_m: float, kinds: np.ndarray) -> None:
    """Writes into ``kinds`` uint8 [N] what the points of ``rows`` float32 [>=3, N] are: kept, not
    finite, exactly at the origin, or with a coordinate beyond ``limit_m``.
    """
    for point in range(rows.shape[1]):
        x, y, z = abs(rows[0, point]), abs(rows[1, point]), abs(rows[2, point])
        if x <= limit_m and y <= limit_m and z <= limit_m:
            kinds[point] = ZERO if x == 0 and y == 0 and z == 0 else KEPT
        elif np.isfinite(x) and np.isfinite(y) and np.isfinite(z):
            kinds[point] = FAR
        else:
            kinds[point] = NOT_FINITE
