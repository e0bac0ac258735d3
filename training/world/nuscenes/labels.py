"""Occupancy labels computed from the geometry, in the conventions of SurroundOcc.

SurroundOcc aggregates the LiDAR sweeps of a whole drive. So the static town is labelled where the
car sees it from anywhere on its way, and every actor completely, at its pose at the keyframe.
"""

from __future__ import annotations

import numpy as np

from occ_core.taxonomy import CLASS_ID, LIDARSEG_CATEGORIES, NUM_CLASSES
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid
from training.world.scene import Mesh, Trajectory
from training.world.sensors.raycast import RayCaster
from training.world.sensors.rig import LIDAR, LidarSpec

CLASS_OF_CATEGORY = np.array(list(LIDARSEG_CATEGORIES.values()), np.uint8)
"""nuScenes-lidarseg index -> class 1..16, or 0 (noise)."""

STATIC_SPACING_M = 0.2
ACTOR_SPACING_M = 0.12
_CELL_M = 0.3
"""Visibility is computed once for all samples in a cell of this size."""
_VIEWPOINT_SPACING_M = 5.0
_VISIBLE_RANGE_M = 70.0
_OCCLUSION_TOLERANCE_M = 0.35

_VOTE_WEIGHT = np.ones(NUM_CLASSES)
"""Where an object and the ground share a voxel, the object wins near ties."""
for _name in ("barrier", "bicycle", "motorcycle", "pedestrian", "traffic_cone"):
    _VOTE_WEIGHT[CLASS_ID[_name]] = 2.0
for _name in ("bus", "car", "construction_vehicle", "trailer", "truck", "manmade"):
    _VOTE_WEIGHT[CLASS_ID[_name]] = 1.4


class DriveLabels:
    """Surface samples of a drive, from which the labels of every keyframe are made.

    Args:
        caster: the drive.
        span_s: first and last time in seconds at which the LiDAR sees the town.
        rng: of the samples.
        grid: of the labels, in the LiDAR frame.
        lidar: the sensor.
    """

    def __init__(
        self,
        caster: RayCaster,
        span_s: tuple[float, float],
        rng: np.random.Generator,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        lidar: LidarSpec = LIDAR,
    ) -> None:
        self.drive, self.actor_poses = caster.drive, caster.actor_poses
        self.grid, self.lidar = grid, lidar
        viewpoints = _viewpoints(self.drive.world_from_ego, span_s, lidar)
        self.points, self.labels = _visible_static(caster, viewpoints, grid, rng, _view_deg(lidar))
        self.actors: list[tuple[np.ndarray, np.ndarray]] = []
        for actor in self.drive.actors:
            points, triangle = sample_surface(actor.mesh, ACTOR_SPACING_M, rng)
            self.actors.append((points, CLASS_OF_CATEGORY[actor.mesh.category[triangle]]))

    def at(self, time_s: float) -> np.ndarray:
        """Rows ix, iy, iz, label (0 noise, 1..16), int64 [N, 4].

        The grid lies in the LiDAR frame at ``time_s``.
        """
        world_from_ego = self.drive.world_from_ego(time_s)
        grid_from_world = np.linalg.inv(world_from_ego @ self.lidar.ego_from_lidar)
        reach = 1.5 * np.abs(self.grid.range_m).max()
        centre = world_from_ego[:2, 3]
        near = (np.abs(self.points[:, :2] - centre.astype(np.float32)) < reach).all(1)
        points, labels = [_transform(grid_from_world, self.points[near])], [self.labels[near]]
        grid_from_actors = grid_from_world @ self.actor_poses.at(time_s)
        for grid_from_actor, (samples, classes) in zip(grid_from_actors, self.actors, strict=True):
            if np.hypot(*grid_from_actor[:2, 3]) < reach:
                points.append(_transform(grid_from_actor, samples))
                labels.append(classes)
        return vote(np.concatenate(points), np.concatenate(labels), self.grid)


def sample_surface(
    mesh: Mesh, spacing_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points spread evenly over a mesh: positions float32 [N, 3] and their triangles int64 [N].

    Each triangle gets area / spacing^2 points, randomly rounded up or down. Inside it they lie on a
    randomly shifted R2 sequence (additive recurrence), which leaves fewer holes than random points.
    """
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    expected = area / spacing_m**2
    count = np.floor(expected + rng.random(len(expected))).astype(np.int64)
    triangle = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    shift = rng.random((len(count), 2))[triangle]
    # 1/p and 1/p^2, with p the plastic number 1.3247...
    u, v = (
        ((shift[:, axis] + step * ratio) % 1.0).astype(np.float32)
        for axis, ratio in enumerate((0.7548776662466927, 0.5698402909980532))
    )
    outside = u + v > 1.0  # in the other half of the parallelogram
    u, v = np.where(outside, 1.0 - u, u)[:, None], np.where(outside, 1.0 - v, v)[:, None]
    points = a[triangle] * (1.0 - u - v) + b[triangle] * u + c[triangle] * v
    return points, triangle


def vote(points: np.ndarray, labels: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """The class with the largest weighted number of points [M, 3] in each voxel.

    Returns:
        Sorted rows ix, iy, iz, label, int64 [N, 4].
    """
    index, inside = grid.numpy_index(points)
    flat = np.ravel_multi_index(index.T, grid.shape)
    voxels, position = np.unique(flat, return_inverse=True)
    votes = np.bincount(
        position * NUM_CLASSES + labels[inside], minlength=len(voxels) * NUM_CLASSES
    )
    winner = np.argmax(votes.reshape(-1, NUM_CLASSES) * _VOTE_WEIGHT, axis=1)
    return np.column_stack([*np.unravel_index(voxels, grid.shape), winner]).astype(np.int64)


def _transform(a_from_b: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ a_from_b[:3, :3].T.astype(np.float32) + a_from_b[:3, 3].astype(np.float32)


def _viewpoints(
    world_from_ego: Trajectory, span_s: tuple[float, float], lidar: LidarSpec
) -> np.ndarray:
    """LiDAR positions on the way, float64 [N, 3], about ``_VIEWPOINT_SPACING_M`` apart."""
    times = np.linspace(*span_s, 1 + int((span_s[1] - span_s[0]) / 0.1))
    path = np.array([(world_from_ego(float(t)) @ lidar.ego_from_lidar)[:3, 3] for t in times])
    kept = [0]
    for index in range(1, len(path)):
        is_last = index == len(path) - 1
        if is_last or np.linalg.norm(path[index] - path[kept[-1]]) >= _VIEWPOINT_SPACING_M:
            kept.append(index)
    return path[kept]


def _visible_static(
    caster: RayCaster,
    viewpoints: np.ndarray,
    grid: VoxelGrid,
    rng: np.random.Generator,
    view_deg: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Static samples visible from a viewpoint [V, 3], and their classes."""
    points, labels = _sample_static(caster.static, viewpoints, grid, rng)
    if not len(points):
        return points, labels
    cell = np.floor((points - points.min(0)) / _CELL_M).astype(np.int64)
    flat_cell = np.ravel_multi_index(cell.T, cell.max(0) + 1)
    _, first, cell_of_point = np.unique(flat_cell, return_index=True, return_inverse=True)
    visible = _visible(caster, viewpoints, points[first], view_deg)[cell_of_point]
    return points[visible], labels[visible]


def _sample_static(
    mesh: Mesh, viewpoints: np.ndarray, grid: VoxelGrid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of the static town that can lie in the grid at a viewpoint, and their classes."""
    reach = 1.5 * np.abs(grid.range_m).max()
    low, high = viewpoints.min(0) - reach, viewpoints.max(0) + reach
    top = viewpoints[:, 2].max() + grid.range_m[5] + 0.5
    corners = mesh.vertices[mesh.triangles]  # [T, 3, 3]
    nearby = ((corners.max(1) > low) & (corners.min(1) < high))[:, :2].all(1)
    nearby &= corners[..., 2].min(1) < top
    part = Mesh(
        mesh.vertices,
        mesh.triangles[nearby],
        mesh.material[nearby],
        mesh.category[nearby],
        mesh.tint[nearby],
        mesh.reflectance[nearby],
    )
    points, triangle = sample_surface(part, STATIC_SPACING_M, rng)
    labels = CLASS_OF_CATEGORY[part.category[triangle]]
    keep = ((points > low) & (points < high))[:, :2].all(1) & (points[:, 2] < top)
    return points[keep], labels[keep]


def _view_deg(lidar: LidarSpec) -> tuple[float, float]:
    """Lowest and highest elevation of what is labelled: at least that of nuScenes' LiDAR.

    What is true does not depend on how few beams a sensor has.
    """
    fans = lidar.elevations_deg, LIDAR.elevations_deg
    return min(float(fan[0]) for fan in fans), max(float(fan[-1]) for fan in fans)


def _visible(
    caster: RayCaster, viewpoints: np.ndarray, points: np.ndarray, view_deg: tuple[float, float]
) -> np.ndarray:
    """Whether the LiDAR sees each of the points [N, 3] from a viewpoint, bool [N]."""
    visible = np.zeros(len(points), bool)
    remaining = np.arange(len(points))
    lowest_deg, highest_deg = view_deg
    for viewpoint in viewpoints:
        ray = points[remaining] - viewpoint.astype(np.float32)
        distance = np.linalg.norm(ray, axis=1)
        sine = np.clip(ray[:, 2] / np.maximum(distance, 1e-3), -1.0, 1.0)
        elevation = np.degrees(np.arcsin(sine))
        in_view = (distance < _VISIBLE_RANGE_M) & (distance > 0.5)
        in_view &= (elevation > lowest_deg) & (elevation < highest_deg)
        candidate = np.flatnonzero(in_view)
        direction = ray[candidate] / distance[candidate, None]
        length = distance[candidate] - _OCCLUSION_TOLERANCE_M
        blocked = caster.is_blocked(viewpoint, direction, length, None)
        visible[remaining[candidate[~blocked]]] = True
        remaining = remaining[~visible[remaining]]
    return visible
