"""The ground: a raster of surfaces over road coordinates, and the triangles made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.layout import CELL_M, RoadPlan
from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID


@dataclass(frozen=True)
class Surface:
    category: str
    material: str
    level_m: float
    """Height above the carriageway."""


SURFACES: dict[str, Surface] = {
    "road": Surface("flat.driveable_surface", "asphalt", 0.0),
    "lot": Surface("flat.driveable_surface", "asphalt_worn", 0.04),
    "walk": Surface("flat.sidewalk", "paving", 0.14),
    "dropped": Surface("flat.sidewalk", "paving", 0.04),
    "grass": Surface("flat.terrain", "grass", 0.16),
    "soil": Surface("flat.terrain", "soil", 0.11),
    "plot": Surface("flat.other", "concrete", 0.15),
    "island": Surface("flat.other", "concrete", 0.14),
    "gravel": Surface("flat.other", "gravel", 0.12),
}
_NAMES = tuple(SURFACES)
_LEVELS = np.array([surface.level_m for surface in SURFACES.values()], np.float32)
_CATEGORIES = np.array([CATEGORY_ID[surface.category] for surface in SURFACES.values()], np.uint8)
_MATERIALS = np.array([MATERIAL_ID[surface.material] for surface in SURFACES.values()], np.uint8)
_TERRAIN = np.equal(_CATEGORIES, CATEGORY_ID["flat.terrain"])
_ROUGH = np.array([[0.025, 1.9, 0.7], [0.035, -0.6, 1.3], [0.04, 0.31, 0.42]])
"""Unevenness of terrain: amplitude in metres, wave numbers along s and d."""
_BLOCK = 4
"""Cells along the largest square; between its corners the ground is bilinear, so that squares of
all sizes fit together.
"""


class Ground:
    """Which surface lies where, in cells of ``CELL_M`` over (s, d); later paint covers earlier."""

    def __init__(self, plan: RoadPlan) -> None:
        self._plan = plan
        self._origin = np.array([plan.s_range_m[0], plan.d_range_m[0]])
        extent = np.array([plan.s_range_m[1], plan.d_range_m[1]]) - self._origin
        cells = np.round(extent / CELL_M).astype(int)
        self._surface = np.full(cells, _NAMES.index("grass"), np.uint8)
        index = np.indices(cells + 1)
        self._vertices = (
            index.transpose(1, 2, 0) * CELL_M + self._origin
        )  # road coordinates [S+1, D+1, 2]
        self._fixed = np.zeros(cells + 1, bool)

    def _window(self, s: tuple[float, float], d: tuple[float, float]) -> tuple[slice, slice]:
        slices = []
        for axis, (low, high) in enumerate((s, d)):
            start, end = sorted((low, high))
            edges = np.round((np.array([start, end]) - self._origin[axis]) / CELL_M).astype(int)
            edges = np.clip(edges, 0, self._surface.shape[axis])
            slices.append(slice(edges[0], edges[1]))
        return slices[0], slices[1]

    def paint(self, name: str, s: tuple[float, float], d: tuple[float, float]) -> None:
        """Covers the rectangle between two values of s and two of d."""
        self._surface[self._window(s, d)] = _NAMES.index(name)

    def round_corner(
        self, corner: tuple[float, float], towards: tuple[int, int], radius_m: float
    ) -> None:
        """Rounds a kerb: road covers what lies between the corner of two kerbs and an arc.

        ``towards`` points away from the road.
        """
        s, d = corner
        centre = np.array([s + towards[0] * radius_m, d + towards[1] * radius_m])
        window = self._window((s, centre[0]), (d, centre[1]))
        vertices = self._vertices[
            window[0].start : window[0].stop + 1, window[1].start : window[1].stop + 1
        ]
        if min(vertices.shape[:2]) < 2:
            return  # the corner lies beyond the town's edge
        middle = vertices[:-1, :-1] + CELL_M / 2
        outside = np.linalg.norm(middle - centre, axis=-1) > radius_m
        self._surface[window][outside] = _NAMES.index("road")
        around = np.pad(outside, 1, mode="edge")
        count = around[:-1, :-1].astype(int) + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:]
        offset = vertices - centre
        distance = np.linalg.norm(offset, axis=-1, keepdims=True)
        snap = (
            ((count > 0) & (count < 4))[..., None]
            & (np.abs(distance - radius_m) < 0.45 * CELL_M * 1.42)
            & (distance > 1e-6)
        )
        vertices[:] = np.where(
            snap, centre + offset / np.maximum(distance, 1e-6) * radius_m, vertices
        )
        fixed = self._fixed[
            window[0].start : window[0].stop + 1, window[1].start : window[1].stop + 1
        ]
        fixed |= snap[..., 0]

    def surface_at(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Index into ``SURFACES`` of the surface at each place."""
        cell = [
            np.clip(np.floor((np.asarray(value, float) - low) / CELL_M).astype(int), 0, count - 1)
            for value, low, count in zip((s, d), self._origin, self._surface.shape, strict=True)
        ]
        return self._surface[cell[0], cell[1]]

    def is_surface(self, s: np.ndarray | float, d: np.ndarray | float, *names: str) -> np.ndarray:
        """Whether the surface at each place is one of ``names``."""
        return np.isin(self.surface_at(s, d), [_NAMES.index(name) for name in names])

    def height(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Height of the ground in metres (without the unevenness of terrain)."""
        return self._plan.base_height(s, d) + _LEVELS[self.surface_at(s, d)]

    def mesh(self) -> Mesh:
        """Triangles of the ground: uniform blocks of up to 2 m as one square, kerbs as upright
        faces, and plain land around.
        """
        places = self._lattice()
        parts = [*self._squares(places), self._surroundings(), self._kerbs(places)]
        corners, surface, stripe = (np.concatenate(part) for part in zip(*parts, strict=True))
        stone = (stripe > 0) & (_CATEGORIES[surface] == CATEGORY_ID["flat.sidewalk"])
        material = np.where(stone, MATERIAL_ID["kerb"], _MATERIALS[surface]).astype(np.uint8)
        tint = np.ones((len(surface), 3), np.float32)
        if self._plan.traffic < 0:  # Singapore paints kerbs black and white
            tint[stone & (stripe == 2)] = 0.35
        quads = np.arange(4 * len(surface)).reshape(-1, 4)
        return Mesh(
            vertices=corners.reshape(-1, 3).astype(np.float32),
            triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
            material=np.tile(material, 2),
            category=np.tile(_CATEGORIES[surface], 2),
            tint=np.tile(tint, (2, 1)),
        )

    def _lattice(self) -> np.ndarray:
        """World x, y and carriageway height of every corner of the cells, then the unevenness
        there: ``[S+1, D+1, 4]``.
        """
        coarse = self._vertices[::_BLOCK, ::_BLOCK]
        places = np.concatenate(
            [
                self._plan.world(coarse[..., 0], coarse[..., 1]),
                self._plan.base_height(coarse[..., 0], coarse[..., 1])[..., None],
            ],
            -1,
        )
        places = _between(places, _BLOCK)
        moved = self._vertices[self._fixed]
        places[self._fixed] = np.column_stack(
            [
                self._plan.world(moved[:, 0], moved[:, 1]),
                self._plan.base_height(moved[:, 0], moved[:, 1]),
            ]
        )
        terrain = np.pad(_TERRAIN[self._surface], 2, constant_values=True)
        size = self._surface.shape
        within = np.ones((size[0] + 1, size[1] + 1), bool)  # terrain all around, 1 m wide
        for row in range(4):
            for column in range(4):
                within &= terrain[row : row + size[0] + 1, column : column + size[1] + 1]
        fine = self._vertices[::2, ::2]
        uneven = _between(
            (_roughness(fine.reshape(-1, 2)).reshape(fine.shape[:2]) * within[::2, ::2])[..., None],
            2,
        )
        return np.concatenate([places, uneven], axis=-1)

    def _squares(self, places: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Per block size: corners ``[N, 4, 3]``, surface ``[N]``, 0 ``[N]``."""
        moved = self._fixed
        whole = ~(moved[:-1, :-1] | moved[1:, :-1] | moved[:-1, 1:] | moved[1:, 1:])
        left = np.ones_like(self._surface, bool)
        parts = []
        for size in (_BLOCK, 2, 1):
            rows, columns = (count // size for count in self._surface.shape)
            blocks = self._surface.reshape(rows, size, columns, size)
            free = left.reshape(rows, size, columns, size).all((1, 3))
            uniform = (blocks == blocks[:, :1, :, :1]).all((1, 3)) & whole.reshape(
                rows, size, columns, size
            ).all((1, 3))
            take = free & (uniform | (size == 1))
            if size == _BLOCK:
                take &= ~_TERRAIN[blocks[:, 0, :, 0]]
            left &= ~np.repeat(np.repeat(take, size, 0), size, 1)
            row, column = np.nonzero(take)
            low, right = row * size, column * size
            square = places[
                np.stack([low, low + size, low + size, low], 1),
                np.stack([right, right, right + size, right + size], 1),
            ]
            surface = blocks[row, 0, column, 0]
            corners = square[..., :3].copy()
            corners[..., 2] += square[..., 3] * _TERRAIN[surface, None] + _LEVELS[surface, None]
            parts.append((corners, surface, np.zeros(len(surface), np.uint8)))
        return parts

    def _surroundings(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Squares of 10 m of plain land, 60 m wide around the raster, as ``_squares`` gives them."""
        (s0, s1), (d0, d1) = self._plan.s_range_m, self._plan.d_range_m
        s, d = np.meshgrid(
            np.arange(s0 - 60, s1 + 60, 10.0), np.arange(d0 - 60, d1 + 60, 10.0), indexing="ij"
        )
        outside = (s < s0) | (s >= s1) | (d < d0) | (d >= d1)
        low = np.stack([s[outside], d[outside]], axis=-1)
        corner = low[:, None] + np.array([(0, 0), (10, 0), (10, 10), (0, 10)])
        grass = _NAMES.index("grass")
        height = self._plan.base_height(corner[..., 0], corner[..., 1]) + _LEVELS[grass]
        corners = np.concatenate(
            [self._plan.world(corner[..., 0], corner[..., 1]), height[..., None]], axis=-1
        )
        return corners, np.full(len(low), grass, np.uint8), np.zeros(len(low), np.uint8)

    def _kerbs(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Upright faces between neighbours of different level: corners ``[N, 4, 3]``, surface
        ``[N]``, stripe ``[N]``.

        The stripe is 0 where the step is too low for a kerb, else 1 and 2 by turns, each a metre
        long.
        """
        level = _LEVELS[self._surface]
        faces = []
        for axis, step in ((0, (1, 0)), (1, (0, 1))):
            row, column = np.nonzero(np.abs(np.diff(level, axis=axis)) > 1e-4)
            cells = self._surface[row, column], self._surface[row + step[0], column + step[1]]
            higher = _LEVELS[cells[0]] > _LEVELS[cells[1]]
            start, end = (
                places[row + step[0], column + step[1], :3],
                places[row + 1, column + 1, :3],
            )
            faces.append(
                (
                    start,
                    end,
                    np.where(higher, *cells),
                    np.where(higher, *cells[::-1]),
                    1 + (row + column) // 2 % 2,
                )
            )
        start, end, upper, lower, stripe = (
            np.concatenate(parts) for parts in zip(*faces, strict=True)
        )
        down, up = np.zeros((len(upper), 3)), np.zeros((len(upper), 3))
        down[:, 2], up[:, 2] = _LEVELS[lower] - 0.02, _LEVELS[upper]
        corners = np.stack([start + down, end + down, end + up, start + up], axis=1)
        return (
            corners,
            upper,
            np.where(_LEVELS[upper] - _LEVELS[lower] > 0.05, stripe, 0).astype(np.uint8),
        )


def _between(values: np.ndarray, factor: int) -> np.ndarray:
    """A lattice ``[A, B, C]`` made ``factor`` times as fine by linear interpolation along both
    axes.
    """
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        share = (np.arange(factor) / factor).reshape(1, factor, *([1] * (values.ndim - 1)))
        fine = values[:-1, None] * (1 - share) + values[1:, None] * share
        values = np.moveaxis(
            np.concatenate([fine.reshape(-1, *values.shape[1:]), values[-1:]]), 0, axis
        )
    return values


def _roughness(points: np.ndarray) -> np.ndarray:
    phase = points @ _ROUGH[:, 1:].T
    return (np.sin(phase) * _ROUGH[:, 0]).sum(axis=1)


def pave(plan: RoadPlan, ground: Ground) -> None:
    """Paints the streets: verges, pavements, carriageways, bays, corners, medians and islands."""
    s_all = plan.s_range_m
    for side, parts in plan.sides.items():
        kerb, (walk_start, walk_end) = plan.kerb_m(side), plan.walk_m(side)
        ground.paint(
            "plot" if parts.front_m > 3.0 else "walk",
            s_all,
            (side * walk_end, side * plan.plots_m(side)),
        )
        ground.paint("grass", s_all, (side * kerb, side * walk_start))
        ground.paint("walk", s_all, (side * walk_start, side * walk_end))
    for cross in plan.crossings:
        for side in cross.arms:
            kerb, far = plan.kerb_m(side), max(map(abs, plan.d_range_m))
            outer = cross.half_m + cross.walk_m
            ground.paint("walk", (cross.s_m - outer, cross.s_m + outer), (side * kerb, side * far))
    ground.paint("road", s_all, (-plan.edge_m, plan.edge_m))
    for side, parts in plan.sides.items():
        if parts.bay_m:
            ground.paint("road", s_all, (side * plan.edge_m, side * plan.kerb_m(side)))
    if plan.median_m:
        ground.paint(
            "island" if plan.median_m < 3 else "grass",
            s_all,
            (-plan.median_m / 2, plan.median_m / 2),
        )
    for cross in plan.crossings:
        clear = cross.half_m + cross.corner_m
        for side in (
            plan.sides
        ):  # pavement and verge reach out where bays end before a crossing, and people wait there
            ground.paint(
                "walk",
                (cross.s_m - clear - 4.0, cross.s_m + clear + 4.0),
                (side * plan.kerb_m(side), side * plan.walk_m(side)[0]),
            )
        ground.paint(
            "road",
            (cross.s_m - clear - 4.0, cross.s_m + clear + 4.0),
            (-plan.median_m / 2, plan.median_m / 2),
        )
        for side in cross.arms:
            far = max(map(abs, plan.d_range_m))
            ground.paint(
                "road",
                (cross.s_m - cross.half_m, cross.s_m + cross.half_m),
                (side * plan.edge_m, side * far),
            )
            for along in (-1, 1):
                corner = (cross.s_m + along * cross.half_m, side * plan.kerb_m(side))
                ground.round_corner(corner, (along, side), cross.corner_m)
            island = plan.kerb_m(side) + cross.corner_m + 1.0
            if cross.half_m > 5:
                ground.paint(
                    "island",
                    (cross.s_m - 0.5, cross.s_m + 0.5),
                    (side * (island + 4), side * (island + 16)),
                )
