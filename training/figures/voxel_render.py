"""Shaded pictures of a semantic voxel grid, ray cast on the CPU without a window or a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import open3d as o3d

from occ_core.labels.benchmarks import GridFrame
from occ_core.labels.label_set import Colour, LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.taxonomy import IGNORE
from occ_core.voxel_grid import VoxelGrid

BACKGROUND_RGB = (24, 26, 31)
"""Colour of the pixels that no voxel covers."""
EGO_RGB = (245, 245, 245)

_TO_SUN = [-0.45, -0.55, 0.70]
SUN = np.array(_TO_SUN, dtype=np.float32) / np.float32(np.linalg.norm(_TO_SUN))
"""Unit vector towards the sun, which stands high, to the left and behind."""
AMBIENT = 0.55
FULL_LIGHT = 1.25
"""Light on a face perpendicular to the sun's rays; the ground, at an angle, then gets about 1."""
SHADOW = 0.35
"""Fraction of the sun's light left in shadow, soft enough to recognise the class colours."""
CORNER_LIGHT = np.array([0.50, 0.68, 0.84, 1.0], dtype=np.float32)
"""Light at a face's corner by how many of its 3 neighbours are free, 0 to 3 (Lysenko 2012, "Ambient
occlusion for Minecraft-like worlds").
"""
EDGE_LIGHT = 0.82
EDGE_WIDTH = 0.06
"""Width of a face's darker border, as a fraction of the face, so that voxels can be counted."""


@dataclass(frozen=True)
class Cuboid:
    """A solid with edges along the axes of the grid frame, in metres."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]


EGO_CAR = (
    Cuboid((-0.87, -1.60, -1.60), (0.87, 2.50, -0.95)),
    Cuboid((-0.75, -1.40, -0.95), (0.75, 1.20, -0.30)),
)
"""Body and cabin of nuScenes' car in its LiDAR frame (x right, y forward, z up), which is 1.84 m
above the road.
"""
_LIDAR_IN_FRAME: dict[GridFrame, tuple[float, float, float]] = {
    "ego": (0.99, 0.0, 1.84),
    "velodyne": (0.0, 0.0, 0.11),
}
"""Where nuScenes' LiDAR would be in a frame whose x points forward: KITTI's stands 1.73 m high."""


def ego_car(frame: GridFrame) -> tuple[Cuboid, ...]:
    """The vehicle's solids in a grid's frame."""
    if frame == "lidar":
        return EGO_CAR
    x, y, z = _LIDAR_IN_FRAME[frame]
    return tuple(
        Cuboid(
            (solid.low_m[1] + x, -solid.high_m[0] + y, solid.low_m[2] + z),
            (solid.high_m[1] + x, -solid.low_m[0] + y, solid.high_m[2] + z),
        )
        for solid in EGO_CAR
    )


@dataclass(frozen=True)
class Viewpoint:
    """A position from which a picture is taken, in perspective or in parallel projection."""

    eye_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    field_of_view_deg: float = 32.0
    """Vertical field of view in perspective."""
    height_m: float = 0.0
    """Height of the picture's content in parallel projection; 0 is perspective."""

    def rays(self, height: int, width: int) -> np.ndarray:
        """Origin and unit direction of the ray through each pixel's centre.

        Returns:
            float32 ``[height, width, 6]``, metres in the grid frame.
        """
        eye = np.asarray(self.eye_m)
        forward = np.asarray(self.target_m) - eye
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right = right / np.linalg.norm(right)
        up = np.cross(right, forward)
        half_height = self._half_height()
        u = half_height * ((np.arange(width) + 0.5) * 2 - width) / height
        v = half_height * (1 - (np.arange(height) + 0.5) * 2 / height)
        across = (u[:, None] * right).astype(np.float32)  # [width, 3]
        along = (v[:, None] * up).astype(np.float32)  # [height, 3]
        rays = np.empty((height, width, 6), dtype=np.float32)
        if self.height_m:
            rays[..., :3] = (eye + along)[:, None] + across
            rays[..., 3:] = forward
        else:
            rays[..., :3] = eye
            rays[..., 3:] = (forward + along)[:, None] + across
            lengths = np.sqrt(np.einsum("hwd,hwd->hw", rays[..., 3:], rays[..., 3:]))
            rays[..., 3:] /= lengths[..., None]
        return rays

    def pixel_m(self, distance_m: np.ndarray, height: int) -> np.ndarray:
        """Size in metres of a pixel at each distance, in a picture with ``height`` rows."""
        pixel = np.float32(2 / height * self._half_height())
        return pixel * (np.ones_like(distance_m) if self.height_m else distance_m)

    def _half_height(self) -> float:
        """Half the height of the picture's content in metres; in perspective, 1 m away."""
        if self.height_m:
            return self.height_m / 2
        return float(np.tan(np.radians(self.field_of_view_deg) / 2))


def viewpoint_behind(grid: VoxelGrid, frame: GridFrame = "lidar") -> Viewpoint:
    """Behind and above the ego vehicle, or the near side of a grid that lies ahead of it. It looks
    in the driving direction: +y in a LiDAR's frame, +x in the others.
    """
    ahead = 1 if frame == "lidar" else 0
    low, high = grid.range_m[ahead], grid.range_m[ahead + 3]
    length_m = high - low
    centre_m = (low + high) / 2
    eye, target = centre_m - 0.36 * length_m, centre_m + 0.09 * length_m
    if low >= 0:  # the whole grid lies ahead
        eye -= 0.3 * length_m
    across = (grid.range_m[1 - ahead] + grid.range_m[4 - ahead]) / 2
    along = ((eye, across), (target, across)) if ahead == 0 else ((across, eye), (across, target))
    return Viewpoint(eye_m=(*along[0], 0.25 * length_m), target_m=(*along[1], -0.02 * length_m))


def viewpoint_above(grid: VoxelGrid, frame: GridFrame = "lidar") -> Viewpoint:
    """Above the grid, looking straight down on all of it, with the driving direction upwards in the
    picture: +y in a LiDAR's frame, +x in the others.
    """
    x_min, y_min, _, x_max, y_max, z_max = grid.range_m
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    return Viewpoint(
        (x, y, z_max + 10.0),
        (x, y, 0.0),
        up=(0.0, 1.0, 0.0) if frame == "lidar" else (1.0, 0.0, 0.0),
        height_m=max(x_max - x_min, y_max - y_min),
    )


class VoxelScene:
    """The exposed faces of a voxel grid, to be rendered from any viewpoint.

    Args:
        labels: class ids, uint8 ``[X, Y, Z]``; the empty class and ``IGNORE`` are not drawn.
        grid: the grid of the labels.
        ego: solids drawn for the ego vehicle.
        label_set: meaning and colours of the class ids.

    Raises:
        ValueError: ``labels`` does not have the grid's shape, or holds an unknown class id.
    """

    def __init__(
        self,
        labels: np.ndarray,
        grid: VoxelGrid,
        ego: tuple[Cuboid, ...] = EGO_CAR,
        label_set: LabelSet = NUSCENES,
    ) -> None:
        if labels.shape != grid.shape:
            raise ValueError(f"labels have shape {labels.shape}, but the grid has {grid.shape}")
        palette = label_set.palette
        occupied = (labels != label_set.empty) & (labels != IGNORE)
        if occupied.any() and int(labels[occupied].max()) >= len(palette):
            worst = int(labels[occupied].max())
            raise ValueError(
                f"labels hold class id {worst}, but known are 0..{len(palette) - 1} and {IGNORE}"
            )
        parts = [
            _voxel_faces(labels, occupied, grid, palette),
            *(_cuboid_faces(solid) for solid in ego),
        ]
        corners, normals, colours, light = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        self._voxel_m = grid.voxel_size_m
        self._colours, self._light = colours, light
        self._sun = np.clip(normals @ SUN, 0, None)
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        if len(corners):
            first = np.arange(len(corners), dtype=np.uint32)[:, None] * 4
            halves = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]], axis=1)
            triangles = halves.reshape(-1, 3).astype(np.uint32)
            vertices = o3d.core.Tensor.from_numpy(corners.reshape(-1, 3))
            self._scene.add_triangles(vertices, o3d.core.Tensor.from_numpy(triangles))

    def render(self, view: Viewpoint, height: int, width: int, samples: int = 2) -> np.ndarray:
        """Renders an RGB picture, uint8 ``[height, width, 3]``.

        Args:
            samples: each pixel is the mean of ``samples`` x ``samples`` rays.
        """
        rays = view.rays(height * samples, width * samples).reshape(-1, 6)
        hits = self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)
        distance = hits["t_hit"].numpy()
        picture = np.empty((len(rays), 3), dtype=np.float32)
        picture[:] = BACKGROUND_RGB
        seen = np.flatnonzero(np.isfinite(distance))
        if len(seen):
            rays, distance = rays[seen], distance[seen]
            triangles = hits["primitive_ids"].numpy()[seen]
            u, v = hits["primitive_uvs"].numpy()[seen].T
            # A face is two triangles, with corners 00, 10, 11 and 00, 11, 01.
            even = triangles % 2 == 0
            position = np.stack([np.where(even, u + v, u), np.where(even, v, u + v)])
            voxel_px = self._voxel_m / view.pixel_m(distance, height)
            faces = triangles // 2
            points = rays[:, :3] + distance[:, None] * rays[:, 3:]
            light = self._surface_light(faces, position, voxel_px) * self._sky_light(faces, points)
            picture[seen] = self._colours[faces] * light[:, None]
        fine = picture.reshape(height * samples, width * samples, 3)
        mean = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        return np.clip(mean.round(), 0, 255).astype(np.uint8)

    def _surface_light(
        self, faces: np.ndarray, position: np.ndarray, voxel_px: np.ndarray
    ) -> np.ndarray:
        """Fraction of the light that reaches points on faces, lower in corners and at borders: [N].

        Args:
            faces: index of each point's face, [N].
            position: position on the face in [0, 1], [2, N].
            voxel_px: size of a voxel in pixels at each point, [N].
        """
        s, t = position
        light = self._light[faces].T  # [4, N], corners in the order 00, 10, 11, 01
        light = (1 - t) * (light[0] + s * (light[1] - light[0])) + t * (
            light[3] + s * (light[2] - light[3])
        )
        # Borders of voxels that are a few pixels wide would only add noise.
        at_border = np.abs(position - 0.5).max(axis=0) > 0.5 - EDGE_WIDTH
        border = np.clip((voxel_px - 3) / 4, 0, 1) * at_border
        return light * (1 - (1 - EDGE_LIGHT) * border)

    def _sky_light(self, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Light of sky and sun at points [N, 3] on faces [N]: [N]."""
        sun = self._sun[faces]
        lit = np.flatnonzero(sun)
        to_sun = np.empty((len(lit), 6), dtype=np.float32)
        to_sun[:, :3] = points[lit] + 1e-3 * SUN  # off the face, which would shade itself
        to_sun[:, 3:] = SUN
        shadowed = self._scene.test_occlusions(
            o3d.core.Tensor.from_numpy(to_sun), nthreads=1
        ).numpy()
        sun[lit[shadowed]] *= SHADOW
        return AMBIENT + (FULL_LIGHT - AMBIENT) * sun


def _voxel_faces(
    labels: np.ndarray, occupied: np.ndarray, grid: VoxelGrid, palette: Sequence[Colour]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces between occupied and free voxels.

    Returns:
        Corners [F, 4, 3] in metres, normals [F, 3], RGB [F, 3], and light at the corners [F, 4].
    """
    solid = np.pad(occupied, 2)  # the neighbours of a face's outside cell need a second layer
    index = np.argwhere(occupied)
    colour_of = np.asarray(palette, dtype=np.float32)
    parts = []
    for axis in range(3):
        for sign in (-1, 1):
            normal = np.zeros(3, dtype=np.int64)
            normal[axis] = sign
            outside = index + normal + 2
            exposed = ~solid[tuple(outside.T)]
            voxel, outside = index[exposed], outside[exposed]
            side = np.eye(3, dtype=np.int64)[[a for a in range(3) if a != axis]]
            turns = ((-1, -1), (1, -1), (1, 1), (-1, 1))
            corners = np.stack(
                [voxel + 0.5 * (1 + normal + a * side[0] + b * side[1]) for a, b in turns], axis=1
            )
            light = np.stack(
                [_corner_light(solid, outside, a * side[0], b * side[1]) for a, b in turns], axis=1
            )
            parts.append(
                (
                    (np.asarray(grid.min_m) + corners * grid.voxel_size_m).astype(np.float32),
                    np.broadcast_to(normal.astype(np.float32), voxel.shape),
                    colour_of[labels[tuple(voxel.T)]],
                    light,
                )
            )
    corners, normals, colours, light = (np.concatenate(part) for part in zip(*parts, strict=True))
    return corners, normals, colours, light


def _corner_light(
    solid: np.ndarray, outside: np.ndarray, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """Light at the face corner towards ``a`` and ``b``, float32 [F].

    It depends on the three cells outside the face that touch the corner.
    """
    beside_a, beside_b, diagonal = (solid[tuple((outside + step).T)] for step in (a, b, a + b))
    free = 3 - beside_a.astype(np.int64) - beside_b - diagonal
    return CORNER_LIGHT[np.where(beside_a & beside_b, 0, free)]


def _cuboid_faces(solid: Cuboid) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The six faces of a cuboid in the ego vehicle's colour, in the form of ``_voxel_faces``."""
    cube = np.ones((1, 1, 1), dtype=np.uint8)
    unit = VoxelGrid((0.0, 0.0, 0.0, 1.0, 1.0, 1.0), 1.0)
    corners, normals, colours, light = _voxel_faces(
        cube, cube.astype(bool), unit, [EGO_RGB, EGO_RGB]
    )
    low, high = np.asarray(solid.low_m), np.asarray(solid.high_m)
    colours = np.broadcast_to(np.asarray(EGO_RGB, dtype=np.float32), colours.shape)
    return (low + corners * (high - low)).astype(np.float32), normals, colours, light
