"""Ray casting against a drive: the static town and the actors at a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import open3d as o3d

from training.world.motion import ActorPoses
from training.world.scene import Actor, Drive, Mesh

STATIC = -1
"""``Hits.actor`` of the static town."""

_HALF_SIZE_MIN_WIDTH = 800
"""Images at least this wide are cast at half size first."""
_PLANE_TOLERANCE = np.array([2e-3, 2e-3, 2e-3, 0.02, 2e-3, 2e-3, 2e-3], np.float32)
"""Largest difference in normal, distance from the eye (metres) and tint on one plane."""


@dataclass(frozen=True)
class Hits:
    """First hits of N rays; a ray without a hit has ``range_m`` inf and zeros elsewhere."""

    range_m: np.ndarray
    """float32 [N]."""
    normal: np.ndarray
    """float32 [N, 3], unit, world frame, facing the ray's origin."""
    material: np.ndarray
    """uint8 [N]."""
    category: np.ndarray
    """uint8 [N], nuScenes-lidarseg index."""
    tint: np.ndarray
    """float32 [N, 3]."""
    reflectance: np.ndarray
    """float32 [N], factor on the LiDAR reflectivity of the material."""
    actor: np.ndarray
    """int32 [N], index into the actors of the drive, or ``STATIC``."""

    @property
    def is_hit(self) -> np.ndarray:
        """bool [N]."""
        return np.isfinite(self.range_m)


class PosedActors:
    """The actors at one time (or each at a time of its own), as a scene to cast rays against.

    Args:
        actors: all A actors of the drive.
        indices: int [K], the actors that the scene contains.
        world_from_actor: float64 [A, 4, 4].
    """

    def __init__(
        self, actors: Sequence[Actor], indices: np.ndarray, world_from_actor: np.ndarray
    ) -> None:
        self.world_from_actor = world_from_actor
        self.is_empty = not len(indices)
        if self.is_empty:
            return
        vertices, triangles, count = [], [], 0
        for index in indices:
            mesh, pose = actors[index].mesh, world_from_actor[index].astype(np.float32)
            vertices.append(mesh.vertices @ pose[:3, :3].T + pose[:3, 3])
            triangles.append(mesh.triangles + count)
            count += len(mesh.vertices)
        meshes = [actors[index].mesh for index in indices]
        self.scene = _ray_scene(np.concatenate(vertices), np.concatenate(triangles))
        self.material = np.concatenate([mesh.material for mesh in meshes])
        self.category = np.concatenate([mesh.category for mesh in meshes])
        self.tint = np.concatenate([mesh.tint for mesh in meshes])
        self.reflectance = np.concatenate([mesh.reflectance for mesh in meshes])
        self.index = np.repeat(
            np.asarray(indices, np.int32), [len(mesh.triangles) for mesh in meshes]
        )


class RayCaster:
    """Casts rays through a drive; not picklable, so every process creates its own."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.static: Mesh = drive.static
        self.actor_poses = ActorPoses(drive.actors, drive.duration_s)
        self._scene = _ray_scene(self.static.vertices, self.static.triangles)

    def actors_at(
        self, time_s: float | np.ndarray, near_m: np.ndarray, radius_m: float = 130.0
    ) -> PosedActors:
        """The actors within ``radius_m`` of ``near_m`` [3].

        ``time_s`` is one time, or one time [A] for each actor.
        """
        poses = self.actor_poses.at(time_s)
        near = np.hypot(*(poses[:, :2, 3] - near_m[:2]).T) < radius_m
        return PosedActors(self.drive.actors, np.flatnonzero(near), poses)

    def cast(self, origins: np.ndarray, directions: np.ndarray, actors: PosedActors) -> Hits:
        """First hits of the rays ``origins`` + t ``directions`` in the world frame.

        Args:
            origins: [N, 3], or one [3] for all.
            directions: unit vectors [N, 3].
            actors: the actors that can be hit besides the static town.
        """
        rays = _rays(origins, directions)
        result = self._scene.cast_rays(rays, nthreads=1)
        distance = result["t_hit"].numpy()
        triangle = np.where(np.isfinite(distance), result["primitive_ids"].numpy(), 0).astype(
            np.int64
        )
        normal = result["primitive_normals"].numpy()
        if len(self.static.triangles):
            material, category = self.static.material[triangle], self.static.category[triangle]
            tint, reflectance = self.static.tint[triangle], self.static.reflectance[triangle]
        else:
            material = category = np.zeros(len(distance), np.uint8)
            tint = np.zeros((len(distance), 3), np.float32)
            reflectance = np.zeros(len(distance), np.float32)
        actor = np.full(len(distance), STATIC, np.int32)
        if not actors.is_empty:
            result = actors.scene.cast_rays(rays, nthreads=1)
            nearer = np.flatnonzero(result["t_hit"].numpy() < distance)
            triangle = result["primitive_ids"].numpy()[nearer].astype(np.int64)
            distance[nearer] = result["t_hit"].numpy()[nearer]
            normal[nearer] = result["primitive_normals"].numpy()[nearer]
            material[nearer] = actors.material[triangle]
            category[nearer] = actors.category[triangle]
            tint[nearer], reflectance[nearer] = actors.tint[triangle], actors.reflectance[triangle]
            actor[nearer] = actors.index[triangle]
        facing_away = np.einsum("ni,ni->n", normal, directions.astype(np.float32)) > 0
        normal[facing_away] *= -1
        return Hits(distance, normal, material, category, tint, reflectance, actor)

    def cast_image(
        self, eye: np.ndarray, directions: np.ndarray, size: tuple[int, int], actors: PosedActors
    ) -> Hits:
        """First hits of the pixel rays [H * W, 3] of an image; ``size`` is (height, width).

        Wide images are cast at half size first. Where four neighbours of the half-size image lie on
        one plane of one surface, so do the pixels between them, and their ranges follow from the
        plane; only the other pixels are cast one by one.
        """
        height, width = size
        if width < _HALF_SIZE_MIN_WIDTH:
            return self.cast(eye, directions, actors)
        rows, columns = (height + 1) // 2, (width + 1) // 2
        coarse_directions = np.ascontiguousarray(
            directions.reshape(height, width, 3)[::2, ::2].reshape(-1, 3)
        )
        coarse = self.cast(eye, coarse_directions, actors)
        finite_range = np.where(coarse.is_hit, coarse.range_m, 0.0)
        cosine = np.einsum("ni,ni->n", coarse.normal, coarse_directions)
        plane = np.where(coarse.is_hit, cosine * finite_range, 0.0)
        flat_cells = _on_one_plane(coarse, plane, (rows, columns))
        on_plane = np.zeros((height, width), bool)
        on_plane[: 2 * rows - 2, : 2 * columns - 2] = flat_cells.repeat(2, axis=0).repeat(2, axis=1)
        # Every pixel starts as a copy of the half-size pixel at the upper left.
        source = (np.arange(height)[:, None] // 2 * columns + np.arange(width) // 2).ravel()
        hits = Hits(*(getattr(coarse, field.name)[source] for field in fields(Hits)))
        towards = np.einsum("ni,ni->n", hits.normal, directions)
        flat = np.flatnonzero(on_plane.ravel() & hits.is_hit)
        hits.range_m[flat] = plane[source[flat]] / towards[flat]
        other = np.flatnonzero(~on_plane.ravel())
        exact = self.cast(eye, directions[other], actors)
        for field in fields(Hits):
            getattr(hits, field.name)[other] = getattr(exact, field.name)
        return hits

    def is_blocked(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        length_m: np.ndarray | float,
        actors: PosedActors | None,
    ) -> np.ndarray:
        """Whether something stands within ``length_m`` along each ray, bool [N].

        With ``actors`` None only the static town counts.
        """
        rays = _rays(origins, directions)
        length = np.broadcast_to(np.asarray(length_m, np.float32), (len(directions),))
        blocked = self._scene.cast_rays(rays, nthreads=1)["t_hit"].numpy() < length
        if actors is not None and not actors.is_empty:
            blocked |= actors.scene.cast_rays(rays, nthreads=1)["t_hit"].numpy() < length
        return blocked


def _ray_scene(vertices: np.ndarray, triangles: np.ndarray) -> o3d.t.geometry.RaycastingScene:
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    if len(triangles):
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(triangles, np.uint32)),
        )
    return scene


def _rays(origins: np.ndarray, directions: np.ndarray) -> o3d.core.Tensor:
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3] = origins
    rays[:, 3:] = directions
    return o3d.core.Tensor.from_numpy(rays)


def _on_one_plane(hits: Hits, plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether the hits at the corners of each cell lie on one plane of one surface.

    Args:
        hits: of an image of ``size`` (rows, columns).
        plane: [N], signed distance in metres from the eye to the plane of each hit.

    Returns:
        bool [rows - 1, columns - 1].
    """
    surface = np.where(
        hits.is_hit, hits.material.astype(np.int64) + 256 * (hits.actor + 1), -1
    ).reshape(size)
    features = np.column_stack([hits.normal, plane, hits.tint]).astype(np.float32).reshape(*size, 7)
    right = (surface[:, 1:] == surface[:, :-1]) & (
        np.abs(features[:, 1:] - features[:, :-1]) < _PLANE_TOLERANCE
    ).all(-1)
    down = (surface[1:] == surface[:-1]) & (
        np.abs(features[1:] - features[:-1]) < _PLANE_TOLERANCE
    ).all(-1)
    return right[1:] & right[:-1] & down[:, 1:] & down[:, :-1]
