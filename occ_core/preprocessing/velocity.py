"""Velocities of what moves, from the sweeps of one frame (TACOcc, section III-B: adjacent-frame
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
"""Between the sweeps that are registered: a car drives metres in it, a pedestrian a quarter of one.
"""
GROUND_M = 0.3
"""What lies lower than this above the lowest point around is ground."""
CELL_M = 2.0
TOUCHING_M = 0.8
"""Points of one thing are not farther apart."""
MOST_EXTENT_M = 14.0
"""Larger things stand still: facades, hedges."""
MIN_POINTS = 8
FASTEST_MPS = 20.0
SLOWEST_MPS = 1.0
"""Less is what sampling a surface anew makes of one at rest."""
MATCH_M = 0.3
"""Registered points lie no farther from their likes."""
MIN_FITNESS = 0.6
"""Share of a thing's points that find their like."""
MIN_GAIN = 0.3
"""By which a displacement must be fitter than none: what may stand still, stands still."""


def point_velocities(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Things of the newest sweep, ego motion made up for, are registered one by one with an older
    sweep.

    Args:
        points: float32 ``[N, 5]`` as in ``Frame``: x, y, z, intensity, age in seconds.

    Returns:
        Positions ``[M, 3]`` in metres of points that move, and their velocities ``[M, 3]`` in
        metres per second; what is not among them stands still or is not known to move.
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
    now, then = _things(newest[ground.below(newest)]), _things(older[ground.below(older)])
    if not now or not then:
        return nothing
    scene = _cloud(np.concatenate(then))
    centres = np.array([thing.mean(axis=0) for thing in then])
    gap_s = float(then_s - ages[0])
    positions, velocities = [], []
    for thing in now:
        displacement = _displacement(thing, scene, centres, FASTEST_MPS * gap_s)
        if np.linalg.norm(displacement) > SLOWEST_MPS * gap_s:
            positions.append(thing)
            velocities.append(np.broadcast_to(-displacement / gap_s, thing.shape))
    if not positions:
        return nothing
    return np.concatenate(positions).astype(np.float32), np.concatenate(velocities).astype(
        np.float32
    )


def voxel_speed(
    positions: np.ndarray, velocities: np.ndarray, grid: VoxelGrid
) -> Float[Tensor, "x y z"]:
    """Metres per second of every voxel, as its fastest point; 0 where none moves.

    Args:
        positions, velocities: of ``point_velocities``.
    """
    speed = np.zeros(grid.shape, dtype=np.float32)
    index, inside = grid.numpy_index(positions)
    np.maximum.at(speed, tuple(index.T), np.linalg.norm(velocities[inside], axis=1))
    return torch.from_numpy(speed)


def _displacement(
    thing: np.ndarray, scene: o3d.geometry.PointCloud, centres: np.ndarray, farthest_m: float
) -> np.ndarray:
    """Where a thing is in the other sweep, as seen from where it is; 0 where it stands still or is
    not found.
    """
    register, translation = o3d.pipelines.registration, np.eye(4)
    offsets = centres - thing.mean(axis=0)
    offsets = offsets[np.linalg.norm(offsets[:, :2], axis=1) < farthest_m]
    at_rest = register.evaluate_registration(_cloud(thing), scene, MATCH_M, np.eye(4)).fitness
    best, found = max(MIN_FITNESS, at_rest + MIN_GAIN), np.zeros(3)
    if best > 1:
        return found
    for offset in offsets:
        translation[:3, 3] = offset
        result = register.registration_icp(_cloud(thing), scene, 2 * MATCH_M, translation)
        fitness = register.evaluate_registration(
            _cloud(thing), scene, MATCH_M, result.transformation
        ).fitness
        if fitness > best:
            centre = thing.mean(axis=0)
            best, found = (
                fitness,
                result.transformation[:3, :3] @ centre + result.transformation[:3, 3] - centre,
            )
    return found


def _things(points: np.ndarray) -> list[np.ndarray]:
    """Points that lie together, what is large left out."""
    if len(points) < MIN_POINTS:
        return []
    labels = np.asarray(_cloud(points).cluster_dbscan(eps=TOUCHING_M, min_points=3))
    order = np.argsort(labels, kind="stable")
    parts = np.split(points[order], np.flatnonzero(np.diff(labels[order])) + 1)
    first = labels[order][0] == -1  # of no thing
    return [
        part
        for part in parts[int(first) :]
        if len(part) >= MIN_POINTS and np.ptp(part, axis=0).max() < MOST_EXTENT_M
    ]


class _Ground:
    """The lowest point in and around every cell of the ground plane."""

    def __init__(self, points: np.ndarray) -> None:
        self.low = np.floor(points[:, :2].min(axis=0) / CELL_M)
        cells = np.floor(points[:, :2] / CELL_M) - self.low
        self.height = np.full(cells.max(axis=0).astype(int) + 1, np.inf)
        np.minimum.at(self.height, tuple(cells.astype(int).T), points[:, 2])
        self.height = minimum_filter(self.height, size=3, mode="constant", cval=np.inf)

    def below(self, points: np.ndarray) -> np.ndarray:
        """Which points have ground under them, and not just under them."""
        cells = (np.floor(points[:, :2] / CELL_M) - self.low).astype(int)
        inside = ((cells >= 0) & (cells < self.height.shape)).all(axis=1)
        cells = np.where(inside[:, None], cells, 0)
        above: np.ndarray = inside & (points[:, 2] > self.height[tuple(cells.T)] + GROUND_M)
        return above


def _cloud(points: np.ndarray) -> o3d.geometry.PointCloud:
    return o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
