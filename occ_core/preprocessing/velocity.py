"""Velocities of moving objects from the sweeps of one frame (TACOcc, section III-B: adjacent-frame
point cloud registration).
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
import torch
from jaxtyping import Float
from scipy.ndimage import minimum_filter
from torch import Tensor

from occ_core.voxel_grid import VoxelGrid

GAP_S = 0.2
"""Desired time between the two sweeps, in which a car moves by metres and a pedestrian by a quarter
of one.
"""
GROUND_M = 0.3
"""Points up to this height above the lowest point around are ground."""
CELL_M = 2.0
"""Cell size of the grid in which the ground is found."""
TOUCHING_M = 0.8
"""Points of one object are at most this far apart."""
MAX_EXTENT_M = 14.0
"""Larger objects do not move: facades, hedges."""
MIN_POINTS = 8
"""Smallest number of points of an object."""
MAX_SPEED_MPS = 20.0
MIN_SPEED_MPS = 1.0
"""Objects at rest seem to move at less than this, since each sweep samples other points of them."""
MATCH_M = 0.3
"""Registered points match if they are at most this far apart."""
MIN_FITNESS = 0.6
"""Fraction of an object's points that must find a match."""
MIN_GAIN = 0.3
"""Increase in fitness over standing still without which an object counts as standing still."""


def point_velocities(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of the points that move.

    Each object of the newest sweep is registered with an older sweep; the ego motion is already
    compensated in both.

    Args:
        points: float32 ``[N, 5]`` as in ``Frame``: x, y, z, intensity, age in seconds.

    Returns:
        Positions ``[M, 3]`` in metres and velocities ``[M, 3]`` in metres per second of the moving
        points; all others stand still, as far as is known.
    """
    nothing = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    ages = np.unique(points[:, 4])
    if len(ages) < 2:
        return nothing
    then_s = ages[1:][np.abs(ages[1:] - GAP_S).argmin()]
    newest, older = (
        points[points[:, 4] == age, :3].astype(np.float64) for age in (ages[0], then_s)
    )
    ground = _Ground(newest)
    now, then = _objects(newest[ground.is_below(newest)]), _objects(older[ground.is_below(older)])
    if not now or not then:
        return nothing
    scene = _cloud(np.concatenate(then))
    centres = np.array([cluster.mean(axis=0) for cluster in then])
    gap_s = float(then_s - ages[0])
    positions, velocities = [], []
    for cluster in now:
        displacement = _displacement(cluster, scene, centres, MAX_SPEED_MPS * gap_s)
        if np.linalg.norm(displacement) > MIN_SPEED_MPS * gap_s:
            positions.append(cluster)
            velocities.append(np.broadcast_to(-displacement / gap_s, cluster.shape))
    if not positions:
        return nothing
    return np.concatenate(positions).astype(np.float32), np.concatenate(velocities).astype(
        np.float32
    )


def voxel_speed(
    positions: np.ndarray, velocities: np.ndarray, grid: VoxelGrid
) -> Float[Tensor, "x y z"]:
    """Speed of every voxel in metres per second: that of its fastest point, 0 where none moves.

    Args:
        positions, velocities: from ``point_velocities``.
    """
    speed = np.zeros(grid.shape, dtype=np.float32)
    index, inside = grid.numpy_index(positions)
    np.maximum.at(speed, tuple(index.T), np.linalg.norm(velocities[inside], axis=1))
    return torch.from_numpy(speed)


def _displacement(
    cluster: np.ndarray, scene: o3d.geometry.PointCloud, centres: np.ndarray, farthest_m: float
) -> np.ndarray:
    """Vector from an object to where it lay in the other sweep; 0 where it stands still or is not
    found.
    """
    register, translation = o3d.pipelines.registration, np.eye(4)
    offsets = centres - cluster.mean(axis=0)
    offsets = offsets[np.linalg.norm(offsets[:, :2], axis=1) < farthest_m]
    at_rest = register.evaluate_registration(_cloud(cluster), scene, MATCH_M, np.eye(4)).fitness
    best, found = max(MIN_FITNESS, at_rest + MIN_GAIN), np.zeros(3)
    if best > 1:
        return found
    for offset in offsets:
        translation[:3, 3] = offset
        result = register.registration_icp(_cloud(cluster), scene, 2 * MATCH_M, translation)
        fitness = register.evaluate_registration(
            _cloud(cluster), scene, MATCH_M, result.transformation
        ).fitness
        if fitness > best:
            centre = cluster.mean(axis=0)
            rotation, shift = result.transformation[:3, :3], result.transformation[:3, 3]
            best, found = fitness, rotation @ centre + shift - centre
    return found


def _objects(points: np.ndarray) -> list[np.ndarray]:
    """Clusters of points, without those that are too large."""
    if len(points) < MIN_POINTS:
        return []
    labels = np.asarray(_cloud(points).cluster_dbscan(eps=TOUCHING_M, min_points=3))
    order = np.argsort(labels, kind="stable")
    parts = np.split(points[order], np.flatnonzero(np.diff(labels[order])) + 1)
    first = labels[order][0] == -1  # points of no object
    return [
        part
        for part in parts[int(first) :]
        if len(part) >= MIN_POINTS and np.ptp(part, axis=0).max() < MAX_EXTENT_M
    ]


class _Ground:
    """The height of the ground: the lowest point in and around every cell of the plane."""

    def __init__(self, points: np.ndarray) -> None:
        self.low = np.floor(points[:, :2].min(axis=0) / CELL_M)
        cells = np.floor(points[:, :2] / CELL_M) - self.low
        self.height = np.full(cells.max(axis=0).astype(int) + 1, np.inf)
        np.minimum.at(self.height, tuple(cells.astype(int).T), points[:, 2])
        self.height = minimum_filter(self.height, size=3, mode="constant", cval=np.inf)

    def is_below(self, points: np.ndarray) -> np.ndarray:
        """Which points lie above ground that is known, and more than ``GROUND_M`` above it."""
        cells = (np.floor(points[:, :2] / CELL_M) - self.low).astype(int)
        inside = ((cells >= 0) & (cells < self.height.shape)).all(axis=1)
        cells = np.where(inside[:, None], cells, 0)
        above: np.ndarray = inside & (points[:, 2] > self.height[tuple(cells.T)] + GROUND_M)
        return above


def _cloud(points: np.ndarray) -> o3d.geometry.PointCloud:
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
