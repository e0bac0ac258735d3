"""LiDAR points: transforming, joining sweeps, projecting into images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from occ_core.geometry.poses import invert_pose
from occ_core.ops.cpu.move_points import move_returns

EGO_BOX_M = (-1.0, -1.7, -2.0, 1.0, 2.6, 0.5)
"""The ego vehicle, whose returns are left out: ``(x_min, y_min, z_min, x_max, y_max, z_max)``.

The frame is nuScenes' LIDAR_TOP: x right, y forward, z up. On a real sweep the roof returns fill
|x| < 0.8, -1.25 < y < 0.6 and those of the bonnet reach y = 1.9, all at -1 < z < 0.1, while no
ground is nearer than 2.5 m. The box is the Renault Zoe's body (4.1 m x 1.8 m, LiDAR 0.94 m ahead of
the rear axle) with a small margin.
"""

NO_BOX_M = (0.0,) * 6
"""A box that holds no point."""

NEWEST_S = 1e-3
"""Points of this age or more are from earlier sweeps, when moving things were elsewhere."""


def transform_points(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transforms points ``[N, >=3]`` from frame b to frame a; dtype and further columns stay.

    Args:
        a_from_b: ``[4, 4]``.
        points: x, y, z in metres, then any further columns.
    """
    transformed = np.empty_like(points)
    # The points' own precision is enough: within 100 m float32 errs by less than 0.02 mm.
    rotation = a_from_b[:3, :3].astype(points.dtype)
    translation = a_from_b[:3, 3].astype(points.dtype)
    # Rows of coordinates [3, N], as decoded clouds have them in memory, are several times faster.
    np.matmul(rotation, points.T[:3], out=transformed.T[:3])
    transformed.T[:3] += translation[:, None]
    transformed.T[3:] = points.T[3:]
    return transformed


def accumulate_sweeps(
    sweeps: Sequence[tuple[np.ndarray, np.ndarray, int]],
    grid_from_newest: np.ndarray | None = None,
    ego_box_m: Sequence[float] = EGO_BOX_M,
    box_from_newest: np.ndarray | None = None,
) -> np.ndarray:
    """Joins sweeps in the grid frame at the newest sweep, compensating for the ego motion.

    Points that are not finite, that lie exactly at the sensor (drop-outs) or on the ego vehicle are
    left out.

    Args:
        sweeps: ``(points, world_from_sensor, stamp_ns)`` each, the newest last. The points are
            ``[N, >=4]``: x, y, z in metres in the sensor frame, then intensity.
        grid_from_newest: ``[4, 4]``, from the sensor frame of the newest sweep; None: that frame is
            the grid frame.
        ego_box_m: the ego vehicle in the form of ``EGO_BOX_M``. Each sweep is cut at its own stamp,
            when the vehicle was there too.
        box_from_newest: ``[4, 4]``, to the frame of ``ego_box_m``; None: that is the grid frame.

    Returns:
        float32 ``[M, 5]``: x, y, z, intensity, age in seconds (0 for the newest sweep), in the
        order of ``sweeps``.

    Raises:
        ValueError: there is no sweep, points or box have the wrong shape, or a sweep is newer than
            the last.
    """
    box_m = np.asarray(ego_box_m, np.float32)
    if box_m.shape != (6,):
        raise ValueError(f"ego_box_m must be six numbers, two corners, got {list(ego_box_m)}")
    if not sweeps:
        raise ValueError("accumulate_sweeps needs at least one sweep, got none")
    _, world_from_newest, newest_ns = sweeps[-1]
    grid_from_newest = np.eye(4) if grid_from_newest is None else grid_from_newest
    box_from_newest = grid_from_newest if box_from_newest is None else box_from_newest
    grid_from_world = grid_from_newest @ invert_pose(world_from_newest)
    joined = np.empty((sum(len(points) for points, *_ in sweeps), 5), dtype=np.float32)
    filled = 0
    for points, world_from_sensor, stamp_ns in sweeps:
        if points.ndim != 2 or points.shape[1] < 4:
            raise ValueError(
                f"a sweep must be [N, >=4] (x, y, z, intensity, ...), got {list(points.shape)}"
            )
        if stamp_ns > newest_ns:
            raise ValueError(
                f"sweeps must end with the newest: one at {stamp_ns} ns precedes the last at "
                f"{newest_ns} ns"
            )
        grid_from_sensor = (
            grid_from_newest if stamp_ns == newest_ns else grid_from_world @ world_from_sensor
        )
        age_s = (newest_ns - stamp_ns) * 1e-9
        filled += _fill(joined[filled:], points, grid_from_sensor, box_from_newest, box_m, age_s)
    return joined[:filled]


def _fill(
    joined: np.ndarray,
    points: np.ndarray,
    grid_from_sensor: np.ndarray,
    box_from_sensor: np.ndarray,
    box_m: np.ndarray,
    age_s: float,
) -> int:
    """Moves the returns of a sweep into the first rows of ``joined``; returns their number."""
    # Always in this layout, writable: the loop is compiled anew for any other.
    rows = np.require(points[:, :4].T, np.float32, ["C", "W"])
    # Only relative poses are rounded to float32: world coordinates reach kilometres.
    grid_from_sensor, box_from_sensor = (
        pose.astype(np.float32, order="C") for pose in (grid_from_sensor, box_from_sensor)
    )
    return move_returns(rows, grid_from_sensor, box_from_sensor, box_m, age_s, joined)


def project_points(
    intrinsics: np.ndarray, points_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pinhole projection of points in a camera frame (x right, y down, z forward).

    Args:
        intrinsics: ``[3, 3]`` in pixels.
        points_camera: ``[N, >=3]`` in metres.

    Returns:
        Pixels ``(column, row)``, float ``[N, 2]`` with pixel centres at integer coordinates, and
        depths in metres, ``[N]``. Pixels of points that are not in front of the camera (depth <= 0)
        are NaN.
    """
    depth = points_camera[:, 2]
    in_front = np.where(depth > 0, depth, np.nan)
    homogeneous = points_camera[:, :3] @ intrinsics.T
    return homogeneous[:, :2] / in_front[:, None], depth


def inside_polygon(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Whether each point lies inside a polygon, by the even-odd rule: bool ``[N]``.

    Args:
        points: ``[N, 2]``.
        corners: ``[K, 2]``, in order; the last is connected to the first.
    """
    inside = np.zeros(len(points), dtype=bool)
    x, y = points.T
    for (x_a, y_a), (x_b, y_b) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y_a == y_b:
            continue  # a ray along x meets the other two edges instead
        meets = (y_a > y) != (y_b > y)
        inside ^= meets & (x < x_a + (y - y_a) * ((x_b - x_a) / (y_b - y_a)))
    return inside


def is_return(rows: np.ndarray, ego_box_m: Sequence[float] = EGO_BOX_M) -> np.ndarray:
    """Whether each point is a finite return, and not from the ego vehicle: bool ``[N]``.

    Args:
        rows: ``[>=3, N]``; the first three rows are x, y, z in metres in the sensor frame.
        ego_box_m: the ego vehicle in the sensor frame, in the form of ``EGO_BOX_M``.
    """
    on_ego = _inside_box(rows, ego_box_m)
    # Drivers report a lost return as the origin, which another vehicle's box may not contain.
    dropped_out = (rows[:3] == 0).all(axis=0)
    return np.isfinite(rows).all(axis=0) & ~on_ego & ~dropped_out


def _inside_box(rows: np.ndarray, box_m: Sequence[float]) -> np.ndarray:
    """Whether each of the points ``[>=3, N]`` lies inside a box in the form of ``EGO_BOX_M``."""
    x, y, z = rows[:3]
    x_min, y_min, z_min, x_max, y_max, z_max = box_m
    inside: np.ndarray = (x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)
    return inside & (z > z_min) & (z < z_max)
