"""Rays against a drive: the static town (built once) and the actors (put where they are at a given
time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import open3d as o3d

from training.world.motion import Motion
from training.world.scene import Actor, Drive, Mesh

STATIC = -1
"""``Hits.actor`` of the static town."""

_HALF_SIZE_FROM_WIDTH = 800
_SAME_PLANE = np.array([2e-3, 2e-3, 2e-3, 0.02, 2e-3, 2e-3, 2e-3], np.float32)
"""Largest difference in normal, distance (metres) and tint."""


@dataclass(frozen=True)
class Hits:
    """What N rays met first. Rows of rays that met nothing hold ``range_m`` inf and zeros
    elsewhere.
    """

    range_m: np.ndarray
    """float32 [N]."""
    normal: np.ndarray
    """float32 [N, 3], unit, world frame, turned against the ray."""
    material: np.ndarray
    """uint8 [N]."""
    category: np.ndarray
    """uint8 [N], nuScenes-lidarseg index."""
    tint: np.ndarray
    """float32 [N, 3]."""
    actor: np.ndarray
    """int32 [N], index into the drive's actors, or ``STATIC``."""

    @property
    def hit(self) -> np.ndarray:
        """bool [N]."""
        return np.isfinite(self.range_m)


def _scene(vertices: np.ndarray, triangles: np.ndarray) -> o3d.t.geometry.RaycastingScene:
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    if len(triangles):
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(triangles, np.uint32)),
        )
    return scene


class ActorsAt:
    """The actors at one moment (each may be given its own time), ready to be cast against."""

    def __init__(
        self, actors: Sequence[Actor], indices: np.ndarray, world_from_actor: np.ndarray
    ) -> None:
        """``indices`` [K] of the actors that are there, ``world_from_actor`` [A, 4, 4] of all."""
        self.world_from_actor = world_from_actor
        self.empty = not len(indices)
        if self.empty:
            return
        vertices, triangles, count = [], [], 0
        for index in indices:
            mesh, pose = actors[index].mesh, world_from_actor[index].astype(np.float32)
            vertices.append(mesh.vertices @ pose[:3, :3].T + pose[:3, 3])
            triangles.append(mesh.triangles + count)
            count += len(mesh.vertices)
        meshes = [actors[index].mesh for index in indices]
        self.scene = _scene(np.concatenate(vertices), np.concatenate(triangles))
        self.material = np.concatenate([mesh.material for mesh in meshes])
        self.category = np.concatenate([mesh.category for mesh in meshes])
        self.tint = np.concatenate([mesh.tint for mesh in meshes])
        self.index = np.repeat(
            np.asarray(indices, np.int32), [len(mesh.triangles) for mesh in meshes]
        )


class RayCaster:
    """Casts rays through a drive. One instance a process: Open3D's scenes cannot be pickled."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.static: Mesh = drive.static
        self.motion = Motion(drive.actors, drive.duration_s)
        self._scene = _scene(self.static.vertices, self.static.triangles)

    def actors_at(
        self, time_s: float | np.ndarray, near_m: np.ndarray, radius_m: float = 130.0
    ) -> ActorsAt:
        """The actors at ``time_s`` (a number, or one time [A] for each actor) that are within
        ``radius_m`` of ``near_m`` [3].
        """
        poses = self.motion.at(time_s)
        near = np.hypot(*(poses[:, :2, 3] - near_m[:2]).T) < radius_m
        return ActorsAt(self.drive.actors, np.flatnonzero(near), poses)

    def cast(self, origins: np.ndarray, directions: np.ndarray, actors: ActorsAt) -> Hits:
        """First hits of the rays ``origins`` [N, 3] (or [3]) + t ``directions`` [N, 3] (unit),
        world frame.
        """
        rays = _rays(origins, directions)
        answer = self._scene.cast_rays(rays, nthreads=1)
        distance = answer["t_hit"].numpy()
        triangle = np.where(np.isfinite(distance), answer["primitive_ids"].numpy(), 0).astype(
            np.int64
        )
        normal = answer["primitive_normals"].numpy()
        if len(self.static.triangles):
            material, category = self.static.material[triangle], self.static.category[triangle]
            tint = self.static.tint[triangle]
        else:
            material = category = np.zeros(len(distance), np.uint8)
            tint = np.zeros((len(distance), 3), np.float32)
        actor = np.full(len(distance), STATIC, np.int32)
        if not actors.empty:
            answer = actors.scene.cast_rays(rays, nthreads=1)
            nearer = np.flatnonzero(answer["t_hit"].numpy() < distance)
            triangle = answer["primitive_ids"].numpy()[nearer].astype(np.int64)
            distance[nearer] = answer["t_hit"].numpy()[nearer]
            normal[nearer] = answer["primitive_normals"].numpy()[nearer]
            material[nearer], category[nearer] = (
                actors.material[triangle],
                actors.category[triangle],
            )
            tint[nearer], actor[nearer] = actors.tint[triangle], actors.index[triangle]
        towards = np.einsum("ni,ni->n", normal, directions.astype(np.float32)) > 0
        normal[towards] *= -1
        return Hits(distance, normal, material, category, tint, actor)

    def cast_image(
        self, eye: np.ndarray, directions: np.ndarray, size: tuple[int, int], actors: ActorsAt
    ) -> Hits:
        """First hits of an image's rays [H * W, 3] from ``eye``; large images are cast at half size
        first.

        Where four neighbours of the half-size image lie on one plane of one surface, the pixels
        between them do too, and their ranges follow from the plane; only the other pixels are cast
        one by one.
        """
        height, width = size
        if width < _HALF_SIZE_FROM_WIDTH:
            return self.cast(eye, directions, actors)
        rows, columns = (height + 1) // 2, (width + 1) // 2
        coarse_directions = np.ascontiguousarray(
            directions.reshape(height, width, 3)[::2, ::2].reshape(-1, 3)
        )
        coarse = self.cast(eye, coarse_directions, actors)
        plane = np.where(
            coarse.hit,
            np.einsum("ni,ni->n", coarse.normal, coarse_directions) * _finite(coarse.range_m),
            0.0,
        )
        between = _one_plane(coarse, plane, (rows, columns))
        whole = np.zeros((height, width), bool)
        whole[: 2 * rows - 2, : 2 * columns - 2] = between.repeat(2, axis=0).repeat(2, axis=1)
        owner = (np.arange(height)[:, None] // 2 * columns + np.arange(width) // 2).ravel()
        hits = Hits(*(getattr(coarse, field.name)[owner] for field in fields(Hits)))
        towards = np.einsum("ni,ni->n", hits.normal, directions)
        on_plane = np.flatnonzero(whole.ravel() & hits.hit)
        hits.range_m[on_plane] = plane[owner[on_plane]] / towards[on_plane]
        other = np.flatnonzero(~whole.ravel())
        exact = self.cast(eye, directions[other], actors)
        for field in fields(Hits):
            getattr(hits, field.name)[other] = getattr(exact, field.name)
        return hits

    def blocked(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        length_m: np.ndarray | float,
        actors: ActorsAt | None,
    ) -> np.ndarray:
        """bool [N]: whether something stands within ``length_m`` along the rays; ``actors`` None
        asks the static town alone.
        """
        rays = _rays(origins, directions)
        length = np.broadcast_to(np.asarray(length_m, np.float32), (len(directions),))
        blocked = self._scene.cast_rays(rays, nthreads=1)["t_hit"].numpy() < length
        if actors is not None and not actors.empty:
            blocked |= actors.scene.cast_rays(rays, nthreads=1)["t_hit"].numpy() < length
        return blocked


def _finite(range_m: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(range_m), range_m, 0.0)


def _one_plane(hits: Hits, plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool [rows - 1, columns - 1]: whether the hits at the four corners of each cell lie on one
    plane of one surface.

    ``plane`` [N] is each hit's plane's signed distance from the eye in metres.
    """
    surface = np.where(
        hits.hit, hits.material.astype(np.int64) + 256 * (hits.actor + 1), -1
    ).reshape(size)
    features = np.column_stack([hits.normal, plane, hits.tint]).astype(np.float32).reshape(*size, 7)
    right = (surface[:, 1:] == surface[:, :-1]) & (
        np.abs(features[:, 1:] - features[:, :-1]) < _SAME_PLANE
    ).all(-1)
    down = (surface[1:] == surface[:-1]) & (np.abs(features[1:] - features[:-1]) < _SAME_PLANE).all(
        -1
    )
    return right[1:] & right[:-1] & down[:, 1:] & down[:, :-1]


def _rays(origins: np.ndarray, directions: np.ndarray) -> o3d.core.Tensor:
    rays = np.empty((len(directions), 6), np.float32)
    rays[:, :3] = origins
    rays[:, 3:] = directions
    return o3d.core.Tensor.from_numpy(rays)
