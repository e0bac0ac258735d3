"""How much of an actor the sensors see: LiDAR points in its box, and its visible surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.world.scene import Mesh
from training.world.sensors.raycast import PosedActors, RayCaster
from training.world.sensors.rig import FULL_SIZE, CameraSpec

_SURFACE_POINTS = 48
"""Points on the surface of an actor whose line of sight to each camera is tested."""


def count_points_in_box(
    points: np.ndarray, a_from_actor: np.ndarray, size_wlh: tuple[float, float, float]
) -> int:
    """Number of points in the box of an actor, which stands on z = 0 of the actor frame.

    Args:
        points: [N, 3] in a frame a, sorted by x.
        a_from_actor: [4, 4].
        size_wlh: width, length and height of the box in metres.
    """
    width, length, height = size_wlh
    reach = np.hypot(np.hypot(width, length) / 2, height)
    first, last = np.searchsorted(points[:, 0], a_from_actor[0, 3] + np.array([-reach, reach]))
    local = (points[first:last] - a_from_actor[:3, 3]) @ a_from_actor[:3, :3]
    inside = (np.abs(local[:, 0]) <= length / 2) & (np.abs(local[:, 1]) <= width / 2)
    return int((inside & (local[:, 2] >= 0) & (local[:, 2] <= height)).sum())


def visible_fractions(
    caster: RayCaster,
    actors: PosedActors,
    indices: np.ndarray,
    world_from_ego: np.ndarray,
    cameras: Sequence[CameraSpec],
) -> list[float]:
    """Fraction (0..1) of each actor's surface that is visible in its best camera.

    Args:
        caster: the drive.
        actors: the actors, posed at the time.
        indices: int [K] of the actors in question.
        world_from_ego: [4, 4].
        cameras: of the car.
    """
    best = np.zeros(len(indices))
    if not len(indices):
        return []
    points = np.concatenate(
        [
            _surface_points(caster.drive.actors[index].mesh, actors.world_from_actor[index])
            for index in indices
        ]
    )
    owner = np.repeat(np.arange(len(indices)), _SURFACE_POINTS)
    for camera in cameras:
        world_from_camera = world_from_ego @ camera.ego_from_camera
        local = (points - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
        ahead = np.flatnonzero(local[:, 2] > 0.5)
        pixel = local[ahead, :2] / local[ahead, 2:] * camera.focal_px + camera.centre_px
        framed = ahead[((pixel > 0) & (pixel < (FULL_SIZE[1], FULL_SIZE[0]))).all(1)]
        ray = points[framed] - world_from_camera[:3, 3]
        length = np.linalg.norm(ray, axis=1)
        hits = caster.cast(world_from_camera[:3, 3], ray / length[:, None], actors)
        # A ray that ends at the surface may hit the actor itself a little earlier.
        is_clear = (hits.actor == indices[owner[framed]]) | (hits.range_m >= length - 0.1)
        visible = np.bincount(owner[framed[is_clear]], minlength=len(indices))
        best = np.maximum(best, visible / _SURFACE_POINTS)
    return best.tolist()


def _surface_points(mesh: Mesh, world_from_actor: np.ndarray) -> np.ndarray:
    """Centres of triangles [``_SURFACE_POINTS``, 3], spread evenly over the mesh."""
    picked = np.linspace(0, len(mesh.triangles) - 1, _SURFACE_POINTS).astype(int)
    return (
        mesh.vertices[mesh.triangles[picked]].mean(1) @ world_from_actor[:3, :3].T
        + world_from_actor[:3, 3]
    )
