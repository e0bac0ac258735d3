"""Drawing with triangles: primitives gathered in a ``Sketch``, and meshes joined, moved and
repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID

CATEGORY_ID: dict[str, int] = {name: index for index, name in enumerate(LIDARSEG_CATEGORIES)}
WHITE = (1.0, 1.0, 1.0)

Vector = Sequence[float] | np.ndarray

_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_BOX_TRIANGLES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)


class Sketch:
    """Gathers triangles of one lidarseg category, in the frame of the thing that is drawn."""

    def __init__(self, category: str) -> None:
        self._category = CATEGORY_ID[category]
        self._vertices: list[np.ndarray] = []
        self._triangles: list[np.ndarray] = []
        self._material: list[np.ndarray] = []
        self._tint: list[np.ndarray] = []
        self._count = 0

    def add(
        self, vertices: np.ndarray, triangles: np.ndarray, material: str, tint: Vector = WHITE
    ) -> None:
        """Adds triangles ``[T, 3]`` over ``vertices [V, 3]``; ``tint`` is one colour or ``[T, 3]``."""
        self._vertices.append(np.asarray(vertices, np.float32))
        self._triangles.append(np.asarray(triangles, np.int32) + self._count)
        self._material.append(np.full(len(triangles), MATERIAL_ID[material], np.uint8))
        self._tint.append(np.broadcast_to(np.asarray(tint, np.float32), (len(triangles), 3)))
        self._count += len(vertices)

    def box(
        self,
        centre: Vector,
        size: Vector,
        material: str,
        tint: Vector = WHITE,
        yaw: float = 0.0,
        pitch: float = 0.0,
    ) -> None:
        """A box; ``pitch`` turns it about its y axis (nose down is positive), then ``yaw`` about z."""
        vertices = _BOX_CORNERS * np.asarray(size)
        if yaw or pitch:
            vertices = vertices @ (rotation_z(yaw) @ rotation_y(pitch)).T
        self.add(vertices + np.asarray(centre), _BOX_TRIANGLES, material, tint)

    def polygon(
        self, corners: Sequence[Vector] | np.ndarray, material: str, tint: Vector = WHITE
    ) -> None:
        """A convex flat polygon."""
        count = len(corners)
        fan = np.stack(
            [np.zeros(count - 2, int), np.arange(1, count - 1), np.arange(2, count)], axis=1
        )
        self.add(np.asarray(corners, float), fan, material, tint)

    def prism(
        self,
        profile_xz: Sequence[tuple[float, float]],
        y: tuple[float, float],
        material: str,
        tint: Vector = WHITE,
    ) -> None:
        """A convex side view ``(x, z)`` drawn out along y."""
        profile = np.asarray(profile_xz, float)
        rings = np.stack([np.insert(profile, 1, side, axis=1) for side in y])
        self.loft(rings, material, tint)

    def loft(
        self, rings: np.ndarray, material: str, tint: Vector = WHITE, capped: bool = True
    ) -> None:
        """A skin over closed rings ``[S, K, 3]``, its ends closed by fans (rings must then be
        convex).
        """
        stations, around, _ = rings.shape
        self.add(rings.reshape(-1, 3), _loft_triangles(stations, around, capped), material, tint)

    def tube(
        self,
        path: Sequence[Vector] | np.ndarray,
        radius: float | Sequence[float],
        material: str,
        tint: Vector = WHITE,
        sides: int = 6,
    ) -> None:
        """A round bar along ``path [P, 3]`` with one radius or one a point."""
        points = np.asarray(path, float)
        radii = np.broadcast_to(np.asarray(radius, float), (len(points),))
        along = np.empty_like(points)
        along[1:-1] = points[2:] - points[:-2]
        along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
        along /= np.sqrt((along * along).sum(axis=1, keepdims=True))
        x, y, z = along.T
        upright = np.abs(z) > 0.9
        across = np.stack(
            [np.where(upright, 0.0, y), np.where(upright, z, -x), np.where(upright, -y, 0.0)],
            axis=1,
        )
        across /= np.sqrt((across * across).sum(axis=1, keepdims=True))
        u, v, w = across.T
        third = np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
        circle = _circle(sides)
        ring = circle[0][:, None] * across[:, None] + circle[1][:, None] * third[:, None]
        self.loft(points[:, None] + radii[:, None, None] * ring, material, tint)

    def wheel(self, centre: Vector, radius: float, width: float, hub: str = "chrome") -> None:
        """A wheel that rolls along x."""
        x, y, z = centre
        self.tube([(x, y - width / 2, z), (x, y + width / 2, z)], radius, "tyre", sides=12)
        self.tube(
            [(x, y - width / 2 - 0.005, z), (x, y + width / 2 + 0.005, z)],
            radius * 0.6,
            hub,
            sides=8,
        )

    def blob(
        self,
        centre: Vector,
        radii: Vector,
        material: str,
        tint: Vector = WHITE,
        finer: bool = False,
    ) -> None:
        """An ellipsoid of 20 triangles, or 80."""
        vertices, triangles = icosphere(int(finer))
        self.add(vertices * np.asarray(radii) + np.asarray(centre), triangles, material, tint)

    def mesh(self) -> Mesh:
        triangles = np.concatenate(self._triangles)
        return Mesh(
            vertices=np.concatenate(self._vertices),
            triangles=triangles,
            material=np.concatenate(self._material),
            category=np.full(len(triangles), self._category, np.uint8),
            tint=np.concatenate(self._tint),
        )


@lru_cache(maxsize=64)
def _loft_triangles(stations: int, around: int, capped: bool) -> np.ndarray:
    index = np.arange(stations * around).reshape(stations, around)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    triangles = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    if capped:
        inner = np.arange(1, around - 1)
        for start, forward in ((index[0, 0], True), (index[-1, 0], False)):
            fan = np.stack([np.full(around - 2, start), start + inner, start + inner + 1], axis=1)
            triangles.append(fan if forward else fan[:, ::-1])
    return np.concatenate(triangles)


@lru_cache(maxsize=16)
def _circle(sides: int) -> np.ndarray:
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.stack([np.cos(angle), np.sin(angle)])


@lru_cache(maxsize=4)
def icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere: vertices ``[V, 3]`` and triangles ``[20 * 4 ** level, 3]``."""
    golden = (1 + 5**0.5) / 2
    corners: list[tuple[float, float, float]] = [
        (-1, golden, 0),
        (1, golden, 0),
        (-1, -golden, 0),
        (1, -golden, 0),
        (0, -1, golden),
        (0, 1, golden),
    ]
    corners += [
        (0, -1, -golden),
        (0, 1, -golden),
        (golden, 0, -1),
        (golden, 0, 1),
        (-golden, 0, -1),
        (-golden, 0, 1),
    ]
    faces = [
        (0, 11, 5),
        (0, 5, 1),
        (0, 1, 7),
        (0, 7, 10),
        (0, 10, 11),
        (1, 5, 9),
        (5, 11, 4),
        (11, 10, 2),
        (10, 7, 6),
        (7, 1, 8),
    ]
    faces += [
        (3, 9, 4),
        (3, 4, 2),
        (3, 2, 6),
        (3, 6, 8),
        (3, 8, 9),
        (4, 9, 5),
        (2, 4, 11),
        (6, 2, 10),
        (8, 6, 7),
        (9, 8, 1),
    ]
    vertices = np.array(corners, float)
    triangles = np.array(faces)
    for _ in range(level):
        edges = np.sort(
            np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]),
            axis=1,
        )
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = inverse.reshape(3, -1).T + len(vertices)
        vertices = np.concatenate([vertices, vertices[unique].mean(axis=1)])
        a, b, c = triangles.T
        ab, bc, ca = middle.T
        triangles = np.concatenate(
            [np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
        )
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True), triangles


def rotation_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate(
            [
                mesh.triangles + np.int32(offset)
                for mesh, offset in zip(meshes, offsets, strict=True)
            ]
        ),
        material=np.concatenate([mesh.material for mesh in meshes]),
        category=np.concatenate([mesh.category for mesh in meshes]),
        tint=np.concatenate([mesh.tint for mesh in meshes]),
    )


def repeated(
    template: Mesh,
    position: np.ndarray,
    yaw: np.ndarray,
    scale: np.ndarray | None = None,
    tint: np.ndarray | None = None,
) -> Mesh:
    """Copies of ``template`` at ``position [N, 3]``, turned by ``yaw [N]``, scaled ``[N, 3]``,
    tinted ``[N, 3]``.
    """
    count = len(position)
    vertices = np.broadcast_to(template.vertices, (count, *template.vertices.shape))
    if scale is not None:
        vertices = vertices * scale[:, None].astype(np.float32)
    cosine, sine = np.cos(yaw).astype(np.float32)[:, None], np.sin(yaw).astype(np.float32)[:, None]
    x, y = vertices[..., 0], vertices[..., 1]
    moved = np.stack(
        [cosine * x - sine * y, sine * x + cosine * y, vertices[..., 2]], axis=-1
    ) + position[:, None].astype(np.float32)
    colours = np.broadcast_to(template.tint, (count, *template.tint.shape))
    if tint is not None:
        colours = colours * tint[:, None].astype(np.float32)
    shift = (np.arange(count, dtype=np.int32) * len(template.vertices))[:, None, None]
    return Mesh(
        vertices=moved.reshape(-1, 3),
        triangles=(template.triangles[None] + shift).reshape(-1, 3),
        material=np.tile(template.material, count),
        category=np.tile(template.category, count),
        tint=np.ascontiguousarray(colours.reshape(-1, 3)),
    )


def centred(mesh: Mesh) -> tuple[Mesh, tuple[float, float, float]]:
    """The mesh moved so that its footprint's centre is the origin and its lowest point z = 0;
    width, length, height.
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    length, width, height = (float(extent) for extent in high - low)
    return Mesh(mesh.vertices - origin, mesh.triangles, mesh.material, mesh.category, mesh.tint), (
        width,
        length,
        height,
    )
