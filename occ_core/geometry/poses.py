"""Rigid transforms: 4x4 matrices named ``a_from_b``, so that ``points_a = a_from_b @ points_b``.

All are float64. Quaternions are ``(w, x, y, z)``, as nuScenes writes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# SciPy's Rotation and Slerp round the last bit differently, and that bit decides on which side of a
# voxel boundary a ray along an axis of the grid passes: stored RayIoU scores would change. They
# also take 2 to 5 times as long for single rotations.

_MAX_SKEW = 0.01
"""How far products of a rotation's rows may be from 0 and 1: files round to few digits."""

Numbers = Sequence[int | float] | np.ndarray
"""Both kinds of number, since JSON writes whole metres without a point."""


def rotation_from_quaternion(wxyz: Numbers) -> np.ndarray:
    """Rotation matrix, float64 ``[3, 3]``, of a quaternion ``(w, x, y, z)`` of any length but zero.

    Raises:
        ValueError: the quaternion is not four finite numbers, or all of them are zero.
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
    """Unit quaternion ``(w, x, y, z)`` with ``w >= 0``, float64 ``[4]``, of a rotation matrix.

    It is the dominant eigenvector of a symmetric matrix (Bar-Itzhack 2000), a form without branches
    that tolerates matrices that are not quite orthogonal.

    Args:
        rotation: ``[3, 3]``.
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
    """``a_from_b``, float64 ``[4, 4]``, from the position and orientation of frame b in frame a.

    Args:
        translation_m: b's origin in a, ``(x, y, z)``.
        wxyz: b's orientation in a, a quaternion ``(w, x, y, z)``.

    Raises:
        ValueError: a number is not finite, or the quaternion is zero.
    """
    if not np.isfinite(np.asarray(translation_m, dtype=np.float64)).all():
        raise ValueError(f"a position must be three finite numbers, got {list(translation_m)}")
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_quaternion(wxyz)
    pose[:3, 3] = translation_m
    return pose


def interpolate_pose(a_from_b0: np.ndarray, a_from_b1: np.ndarray, fraction: float) -> np.ndarray:
    """The pose at a fraction of the way from one to the other, float64 ``[4, 4]``.

    The position is interpolated linearly, the orientation spherically the shorter way round (slerp,
    Shoemake 1985).

    Args:
        a_from_b0: ``[4, 4]``, the pose at ``fraction`` 0.
        a_from_b1: ``[4, 4]``, the pose at ``fraction`` 1.
    """
    q0, q1 = (quaternion_from_rotation(pose[:3, :3]) for pose in (a_from_b0, a_from_b1))
    cosine = float(q0 @ q1)
    if cosine < 0:  # q and -q are the same rotation; this one is the nearer
        q1, cosine = -q1, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:  # too small to divide by its sine
        quaternion = (1 - fraction) * q0 + fraction * q1
    else:
        weight0, weight1 = np.sin((1 - fraction) * angle), np.sin(fraction * angle)
        quaternion = (weight0 * q0 + weight1 * q1) / np.sin(angle)
    position = (1 - fraction) * a_from_b0[:3, 3] + fraction * a_from_b1[:3, 3]
    return pose_matrix(position, quaternion)


def invert_pose(a_from_b: np.ndarray) -> np.ndarray:
    """``b_from_a`` of a rigid ``a_from_b``, float64 ``[4, 4]``."""
    b_from_a = np.eye(4)
    b_from_a[:3, :3] = a_from_b[:3, :3].T
    b_from_a[:3, 3] = -a_from_b[:3, :3].T @ a_from_b[:3, 3]
    return b_from_a


def is_rigid(a_from_b: np.ndarray) -> np.ndarray:
    """Whether matrices are rigid transforms, as far as those in text files are, bool ``[...]``.

    Args:
        a_from_b: ``[..., 4, 4]``.
    """
    rotation = a_from_b[..., :3, :3]
    error = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(axis=(-2, -1))
    last_row = (a_from_b[..., 3, :] == (0.0, 0.0, 0.0, 1.0)).all(axis=-1)
    return np.asarray((error < _MAX_SKEW) & (np.linalg.det(rotation) > 0) & last_row)
