"""Occupancy labels from the geometry itself, as SurroundOcc stores them, and the masks of what the
sensors observed.

SurroundOcc aggregates a whole drive's LiDAR: the static town is labelled where the car could see it
from anywhere on its way, every actor wholly, at the place where it is at the keyframe.
"""

from __future__ import annotations

import numpy as np

from occ_core.taxonomy import CLASS_ID, LIDARSEG_CATEGORIES, NUM_CLASSES
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid
from training.world.scene import Mesh, Pose
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import LIDAR, Lidar

CLASS_OF_CATEGORY = np.array(list(LIDARSEG_CATEGORIES.values()), np.uint8)
"""nuScenes-lidarseg index -> class 1..16, or 0 (noise)."""

STATIC_SPACING_M = 0.2
ACTOR_SPACING_M = 0.12
_CELL_M = 0.3
"""Visibility is asked once for all samples in a cell of this size."""
_POSE_SPACING_M = 5.0
_SEEN_RANGE_M = 70.0
_TOLERANCE_M = 0.35

_VOTE = np.ones(NUM_CLASSES)
"""A vote's weight: where a thing and the ground share a voxel, the thing wins near ties."""
for _name in ("barrier", "bicycle", "motorcycle", "pedestrian", "traffic_cone"):
    _VOTE[CLASS_ID[_name]] = 2.0
for _name in ("bus", "car", "construction_vehicle", "trailer", "truck", "manmade"):
    _VOTE[CLASS_ID[_name]] = 1.4


def sample_surface(
    mesh: Mesh, spacing_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points spread evenly over a mesh: positions float32 [N, 3] and their triangles int64 [N].

    Each triangle gets area / spacing^2 points, its fraction rounded by chance; inside it they lie
    on a shifted additive (R2) sequence, which leaves fewer holes than chance would.
    """
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    expected = area / spacing_m**2
    count = np.floor(expected + rng.random(len(expected))).astype(np.int64)
    triangle = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    shift = rng.random((len(count), 2))[triangle]
    u, v = (
        ((shift[:, axis] + step * ratio) % 1.0).astype(np.float32)
        for axis, ratio in enumerate((0.7548776662466927, 0.5698402909980532))
    )
    outside = u + v > 1.0
    u, v = np.where(outside, 1.0 - u, u)[:, None], np.where(outside, 1.0 - v, v)[:, None]
    points = a[triangle] * (1.0 - u - v) + b[triangle] * u + c[triangle] * v
    return points, triangle


class DriveLabels:
    """A drive's surface samples, kept for its keyframes.

    Args:
        span_s: first and last time in seconds at which the LiDAR looked at the town.
    """

    def __init__(
        self,
        caster: RayCaster,
        span_s: tuple[float, float],
        rng: np.random.Generator,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        lidar: Lidar = LIDAR,
    ) -> None:
        self.drive, self.motion, self.grid, self.lidar = caster.drive, caster.motion, grid, lidar
        eyes = _eyes(self.drive.world_from_ego, span_s, lidar)
        self.points, self.labels = _visible_static(caster, eyes, grid, rng)
        self.actors: list[tuple[np.ndarray, np.ndarray]] = []
        for actor in self.drive.actors:
            points, triangle = sample_surface(actor.mesh, ACTOR_SPACING_M, rng)
            self.actors.append((points, CLASS_OF_CATEGORY[actor.mesh.category[triangle]]))

    def at(self, time_s: float) -> np.ndarray:
        """Rows ix, iy, iz, label (0 noise, 1..16), int64 [N, 4], in the LiDAR frame of the car at
        ``time_s``.
        """
        grid_from_world = np.linalg.inv(
            self.drive.world_from_ego(time_s) @ self.lidar.ego_from_lidar
        )
        reach = 1.5 * np.abs(self.grid.range_m).max()
        centre = self.drive.world_from_ego(time_s)[:2, 3]
        near = (np.abs(self.points[:, :2] - centre.astype(np.float32)) < reach).all(1)
        points, labels = [_moved(grid_from_world, self.points[near])], [self.labels[near]]
        for grid_from_actor, (surface, classes) in zip(
            grid_from_world @ self.motion.at(time_s), self.actors, strict=True
        ):
            if np.hypot(*grid_from_actor[:2, 3]) < reach:
                points.append(_moved(grid_from_actor, surface))
                labels.append(classes)
        return vote(np.concatenate(points), np.concatenate(labels), self.grid)


def vote(points: np.ndarray, labels: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Rows ix, iy, iz, label, int64 [N, 4], sorted: the class with the most (weighted) points ``[M,
    3]`` in each voxel.
    """
    index, inside = grid.numpy_index(points)
    flat = np.ravel_multi_index(index.T, grid.shape)
    voxels, position = np.unique(flat, return_inverse=True)
    votes = np.bincount(
        position * NUM_CLASSES + labels[inside], minlength=len(voxels) * NUM_CLASSES
    )
    winner = np.argmax(votes.reshape(-1, NUM_CLASSES) * _VOTE, axis=1)
    return np.column_stack([*np.unravel_index(voxels, grid.shape), winner]).astype(np.int64)


def _moved(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ a_from_b[:3, :3].T.astype(np.float32) + a_from_b[:3, 3].astype(np.float32)


def _eyes(world_from_ego: Pose, span_s: tuple[float, float], lidar: Lidar) -> np.ndarray:
    """Positions of the LiDAR along the way, float64 [N, 3], about ``_POSE_SPACING_M`` apart."""
    times = np.linspace(*span_s, 1 + int((span_s[1] - span_s[0]) / 0.1))
    path = np.array([(world_from_ego(float(t)) @ lidar.ego_from_lidar)[:3, 3] for t in times])
    kept = [0]
    for index in range(1, len(path)):
        if (
            np.linalg.norm(path[index] - path[kept[-1]]) >= _POSE_SPACING_M
            or index == len(path) - 1
        ):
            kept.append(index)
    return path[kept]


def _visible_static(
    caster: RayCaster, eyes: np.ndarray, grid: VoxelGrid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Static samples near the way that one of ``eyes`` [E, 3] sees, and their classes."""
    reach = 1.5 * np.abs(grid.range_m).max()
    mesh = caster.static
    corners = mesh.vertices[mesh.triangles]  # [T, 3, 3]
    low, high = eyes.min(0) - reach, eyes.max(0) + reach
    nearby = ((corners.max(1) > low) & (corners.min(1) < high))[:, :2].all(1)
    top = eyes[:, 2].max() + grid.range_m[5] + 0.5
    nearby &= corners[..., 2].min(1) < top
    part = Mesh(
        mesh.vertices,
        mesh.triangles[nearby],
        mesh.material[nearby],
        mesh.category[nearby],
        mesh.tint[nearby],
    )
    points, triangle = sample_surface(part, STATIC_SPACING_M, rng)
    labels = CLASS_OF_CATEGORY[part.category[triangle]]
    keep = ((points > low) & (points < high))[:, :2].all(1) & (points[:, 2] < top)
    points, labels = points[keep], labels[keep]

    cell = (
        np.floor((points - points.min(0)) / _CELL_M).astype(np.int64)
        if len(points)
        else np.zeros((0, 3), np.int64)
    )
    extent = cell.max(0) + 1 if len(points) else np.ones(3, np.int64)
    _, first, member = np.unique(
        np.ravel_multi_index(cell.T, extent), return_index=True, return_inverse=True
    )
    seen = np.zeros(len(first), bool)
    waiting = np.arange(len(first))
    for eye in eyes:
        way = points[first[waiting]] - eye.astype(np.float32)
        distance = np.linalg.norm(way, axis=1)
        elevation = np.degrees(
            np.arcsin(np.clip(way[:, 2] / np.maximum(distance, 1e-3), -1.0, 1.0))
        )
        candidate = (distance < _SEEN_RANGE_M) & (distance > 0.5)
        candidate &= (elevation > LIDAR.elevations_deg[0]) & (elevation < LIDAR.elevations_deg[-1])
        asked = np.flatnonzero(candidate)
        direction = way[asked] / distance[asked, None]
        free = ~caster.blocked(eye, direction, distance[asked] - _TOLERANCE_M, None)
        seen[waiting[asked[free]]] = True
        waiting = waiting[~seen[waiting]]
    visible = seen[member]
    return points[visible], labels[visible]
