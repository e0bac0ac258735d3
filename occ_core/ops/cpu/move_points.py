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
    moved: np.ndarray,
) -> int:
    """Writes x, y, z in frame a, and the intensity, of the returns of a sweep into the first rows
    of ``moved``; returns their number.

    Points that are not finite, that lie at the sensor's origin or inside the box are left out.

    Args:
        rows: float32 [4, N], x, y, z in the sensor frame, and intensity.
        a_from_sensor: float32 [4, 4].
        box_from_sensor: float32 [4, 4], to the frame of the box.
        box_m: float32 [6], in the form of ``geometry.points.EGO_BOX_M``.
        moved: float32 [>=N, >=4].
    """
    number = 0
    for point in range(rows.shape[1]):
        x, y, z, intensity = rows[0, point], rows[1, point], rows[2, point], rows[3, point]
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z) and np.isfinite(intensity)):
            continue
        if x == 0 and y == 0 and z == 0:
            continue
        inside = True
        for axis in range(3):
            row = box_from_sensor[axis]
            place = row[0] * x + row[1] * y + row[2] * z + row[3]
            inside &= box_m[axis] < place < box_m[axis + 3]
        if inside:
            continue
        for axis in range(3):
            row = a_from_sensor[axis]
            moved[number, axis] = row[0] * x + row[1] * y + row[2] * z + row[3]
        moved[number, 3] = intensity
        number += 1
    return number


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
