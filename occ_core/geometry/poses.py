"""Rigid transforms: 4x4 matrices named ``a_from_b``, so that ``points_a = a_from_b @ points_b``;
float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Numbers = Sequence[int | float] | np.ndarray
"""Both kinds, since JSON writes whole metres without a point."""


def rotation_from_quaternion(wxyz: Numbers) -> np.ndarray:
    """Rotation matrix, float64 ``[3, 3]``, of a quaternion ``(w, x, y, z)`` of any length but zero.

    Raises:
        ValueError: not four finite numbers, or all zero.
    """
    quaternion = np.asarray(wxyz, dtype=np.float64)
    norm = np.linalg.norm(quaternion) if quaternion.shape == (4,) else np.nan
    if not np.isfinite(norm) or norm == 0.0:
        raise ValueError(
            f"a rotation must be a finite non-zero quaternion (w, x, y, z), got {wxyz}"
        )
    w, x, y, z = quaternion / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion ``(w, x, y, z)`` with ``w >= 0``, float64 ``[4]``, of a rotation matrix ``[3,
    3]``.

    The eigenvector form (Bar-Itzhack 2000): it has no branches and tolerates slightly
    non-orthogonal matrices.
    """
    r = np.asarray(rotation, dtype=np.float64)
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    quaternion = np.linalg.eigh(k)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion


def pose_matrix(translation_m: Numbers, wxyz: Numbers) -> np.ndarray:
    """``a_from_b``, float64 ``[4, 4]``, from the position of b's origin in a and b's orientation
    ``(w, x, y, z)`` in a.

    Raises:
        ValueError: a number is not finite, or the quaternion is no rotation.
    """
    if not np.isfinite(np.asarray(translation_m, dtype=np.float64)).all():
        raise ValueError(f"a position must be three finite numbers, got {list(translation_m)}")
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_quaternion(wxyz)
    pose[:3, 3] = translation_m
    return pose


def invert_pose(a_from_b: np.ndarray) -> np.ndarray:
    """``b_from_a`` of a rigid ``a_from_b``, float64 ``[4, 4]``."""
    b_from_a = np.eye(4)
    b_from_a[:3, :3] = a_from_b[:3, :3].T
    b_from_a[:3, 3] = -a_from_b[:3, :3].T @ a_from_b[:3, 3]
    return b_from_a
