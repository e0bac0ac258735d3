"""Drawing with triangles: a ``Sketch`` gathers boxes, prisms, tubes and ellipsoids in one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID

WHITE = (1.0, 1.0, 1.0)

Vector = Sequence[float] | np.ndarray
Points = Sequence[Vector] | np.ndarray

_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_BOX_TRIANGLES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip

# The icosahedron's corners lie on three golden rectangles.
_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON_CORNERS = np.array([
    [-1, _GOLDEN, 0], [1, _GOLDEN, 0], [-1, -_GOLDEN, 0], [1, -_GOLDEN, 0],
    [0, -1, _GOLDEN], [0, 1, _GOLDEN], [0, -1, -_GOLDEN], [0, 1, -_GOLDEN],
    [_GOLDEN, 0, -1], [_GOLDEN, 0, 1], [-_GOLDEN, 0, -1], [-_GOLDEN, 0, 1],
])  # fmt: skip
_ICOSAHEDRON_TRIANGLES = np.array([
    [0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11],
    [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6], [7, 1, 8],
    [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9],
    [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1],
])  # fmt: skip


class Sketch:
    """Triangles of one lidarseg category, in metres in the frame of the thing that is drawn.

    Every method takes a material's name and a tint, which multiplies the material's colour.
    """

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
        """Adds triangles ``[T, 3]`` over vertices ``[V, 3]``; ``tint`` is ``[3]`` or ``[T, 3]``."""
        self._vertices.append(np.asarray(vertices, np.float32))
        self._triangles.append(np.asarray(triangles, np.int32) + self._count)
        self._material.append(np.full(len(triangles), MATERIAL_ID[material], np.uint8))
        self._tint.append(np.broadcast_to(np.asarray(tint, np.float32), (len(triangles), 3)))
        self._count += len(vertices)

    def box(
        self, centre: Vector, size: Vector, material: str, tint: Vector = WHITE, pitch: float = 0.0
    ) -> None:
        """Adds a box; ``pitch`` turns it about its y axis, in radians, nose down positive."""
        corners = _BOX_CORNERS * np.asarray(size)
        if pitch:
            corners = corners @ _rotation_y(pitch).T
        self.add(corners + np.asarray(centre), _BOX_TRIANGLES, material, tint)

    def polygon(self, corners: Points, material: str, tint: Vector = WHITE) -> None:
        """Adds a flat convex polygon ``[P, 3]``."""
        count = len(corners)
        first, inner = np.zeros(count - 2, int), np.arange(1, count - 1)
        self.add(np.asarray(corners, float), np.stack([first, inner, inner + 1], 1), material, tint)

    def pane(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        material: str,
        tint: Vector = WHITE,
    ) -> None:
        """Adds an upright rectangle between its lower corner and the opposite upper corner."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        self.polygon([(x0, y0, z0), (x1, y1, z0), (x1, y1, z1), (x0, y0, z1)], material, tint)

    def prism(
        self, profile_xz: Points, y: tuple[float, float], material: str, tint: Vector = WHITE
    ) -> None:
        """Adds a convex side view ``[P, 2]`` (x, z) extruded between two values of y."""
        profile = np.asarray(profile_xz, float)
        rings = np.stack([np.insert(profile, 1, side, axis=1) for side in y])
        self.loft(rings, material, tint)

    def loft(
        self, rings: np.ndarray, material: str, tint: Vector = WHITE, capped: bool = True
    ) -> None:
        """Adds a skin over rings ``[R, P, 3]``; ``capped`` closes both ends, if convex."""
        count, points, _ = rings.shape
        self.add(rings.reshape(-1, 3), _loft_triangles(count, points, capped), material, tint)

    def tube(
        self,
        path: Points,
        radius: float | Sequence[float],
        material: str,
        tint: Vector = WHITE,
        sides: int = 6,
    ) -> None:
        """Adds a round bar along ``path`` ``[P, 3]``, with one radius or one for each point."""
        points = np.asarray(path, float)
        radii = np.broadcast_to(np.asarray(radius, float), (len(points),))
        tangent = np.empty_like(points)
        tangent[1:-1] = points[2:] - points[:-2]
        tangent[0], tangent[-1] = points[1] - points[0], points[-1] - points[-2]
        tangent /= np.sqrt((tangent * tangent).sum(axis=1, keepdims=True))
        x, y, z = tangent.T
        # The normal is tangent x (0, 0, 1), or tangent x (1, 0, 0) where the bar is nearly upright.
        upright = np.abs(z) > 0.9
        normal = np.stack(
            [np.where(upright, 0.0, y), np.where(upright, z, -x), np.where(upright, -y, 0.0)], 1
        )
        normal /= np.sqrt((normal * normal).sum(axis=1, keepdims=True))
        u, v, w = normal.T
        binormal = np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
        cosine, sine = _circle(sides)
        rings = (
            cosine[:, None] * normal[:, None] + sine[:, None] * binormal[:, None]
        )  # [P, sides, 3]
        self.loft(points[:, None] + radii[:, None, None] * rings, material, tint)

    def wheel(self, centre: Vector, radius: float, width: float, hub: str = "chrome") -> None:
        """Adds a wheel that rolls along x, with a hub of the given material."""
        x, y, z = centre
        half = width / 2
        self.tube([(x, y - half, z), (x, y + half, z)], radius, "tyre", sides=12)
        self.tube([(x, y - half - 0.005, z), (x, y + half + 0.005, z)], radius * 0.6, hub, sides=8)

    def ellipsoid(
        self, centre: Vector, radii: Vector, material: str, tint: Vector = WHITE, fine: bool = False
    ) -> None:
        """Adds an ellipsoid of 20 triangles, or of 80 if ``fine``."""
        vertices, triangles = _icosphere(int(fine))
        self.add(vertices * np.asarray(radii) + np.asarray(centre), triangles, material, tint)

    def mesh(self) -> Mesh:
        """Everything added so far as one mesh."""
        triangles = np.concatenate(self._triangles)
        return Mesh(
            vertices=np.concatenate(self._vertices),
            triangles=triangles,
            material=np.concatenate(self._material),
            category=np.full(len(triangles), self._category, np.uint8),
            tint=np.concatenate(self._tint),
            reflectance=np.ones(len(triangles), np.float32),
        )


def _rotation_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@lru_cache(maxsize=64)
def _loft_triangles(rings: int, points: int, capped: bool) -> np.ndarray:
    index = np.arange(rings * points).reshape(rings, points)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)  # the next corner of the same ring
    triangles = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    if capped:
        inner = np.arange(1, points - 1)
        for start, forward in ((index[0, 0], True), (index[-1, 0], False)):
            fan = np.stack([np.full(points - 2, start), start + inner, start + inner + 1], axis=1)
            # Both caps face outwards: the order of the last one's corners is reversed.
            triangles.append(fan if forward else fan[:, ::-1])
    return np.concatenate(triangles)


@lru_cache(maxsize=16)
def _circle(sides: int) -> np.ndarray:
    """Cosine and sine of evenly spaced angles, ``[2, sides]``."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    return np.stack([np.cos(angle), np.sin(angle)])


@lru_cache(maxsize=4)
def _icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere: vertices ``[V, 3]`` and triangles ``[20 * 4 ** level, 3]``."""
    vertices, triangles = _ICOSAHEDRON_CORNERS, _ICOSAHEDRON_TRIANGLES
    for _ in range(level):
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        # Two triangles share each edge and must get the same middle vertex.
        unique, inverse = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
        middle = inverse.reshape(3, -1).T + len(vertices)
        vertices = np.concatenate([vertices, vertices[unique].mean(axis=1)])
        a, b, c = triangles.T
        ab, bc, ca = middle.T
        corners = ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))
        triangles = np.concatenate([np.stack(each, axis=1) for each in corners])
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True), triangles
