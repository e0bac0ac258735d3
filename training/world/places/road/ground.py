"""The ground: a raster of surfaces over road coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from training.world.places.road.layout import CELL_M, RoadPlan


@dataclass(frozen=True)
class Surface:
    """A kind of ground."""

    category: str
    """nuScenes-lidarseg category."""
    material: str
    level_m: float
    """Height above the carriageway."""


SURFACES: dict[str, Surface] = {
    "road": Surface("flat.driveable_surface", "asphalt", 0.0),
    "parking": Surface("flat.driveable_surface", "asphalt_worn", 0.04),
    "pavement": Surface("flat.sidewalk", "paving", 0.14),
    "dropped": Surface("flat.sidewalk", "paving", 0.04),
    "grass": Surface("flat.terrain", "grass", 0.16),
    "soil": Surface("flat.terrain", "soil", 0.11),
    "yard": Surface("flat.other", "concrete", 0.15),
    "island": Surface("flat.other", "concrete", 0.14),
    "gravel": Surface("flat.other", "gravel", 0.12),
    "shoulder": Surface("flat.terrain", "gravel", 0.03),
    "field": Surface("flat.terrain", "soil", 0.12),
    "drive": Surface("flat.driveable_surface", "paving", 0.06),
}
SURFACE_ID: dict[str, int] = {name: index for index, name in enumerate(SURFACES)}


@dataclass(frozen=True)
class Look:
    """What the sensors see of a patch of ground."""

    material: str
    tint: np.ndarray
    """``[3]``, factor on the material's colour."""
    reflectance: float
    """Factor on the material's reflectivity."""


class Ground:
    """The surface of every cell of ``CELL_M`` over (s, d), grass at first.

    Args:
        plan: the streets.
        levels_m: heights by the names of ``SURFACES``, where they differ from those.

    Attributes:
        plan: the streets, whose road coordinates the raster uses.
        surface: uint8 ``[S, D]``, index into ``SURFACES``.
        region: uint16 ``[S, D]``, the number of the call of ``paint`` that painted the cell, or 0.
        levels_m: float32, the height of each of ``SURFACES`` above the carriageway.
        look: uint16 ``[S, D]``, index into ``looks``; 0 is what ``SURFACES`` says.
        looks: of patches that differ from it.
        vertices_sd: ``[S + 1, D + 1, 2]``, road coordinates of the cells' corners.
        moved: bool ``[S + 1, D + 1]``, corners that ``round_corner`` has moved off the raster.
    """

    def __init__(self, plan: RoadPlan, levels_m: Mapping[str, float] | None = None) -> None:
        self.plan = plan
        self._levels_m = {name: surface.level_m for name, surface in SURFACES.items()}
        self._levels_m |= levels_m or {}
        self.levels_m = np.array(list(self._levels_m.values()), np.float32)
        self._origin = np.array([plan.s_range_m[0], plan.d_range_m[0]])
        extent = np.array([plan.s_range_m[1], plan.d_range_m[1]]) - self._origin
        cells = np.round(extent / CELL_M).astype(int)
        self.surface = np.full(cells, SURFACE_ID["grass"], np.uint8)
        self.region, self._regions = np.zeros(cells, np.uint16), 0
        self.look, self.looks = np.zeros(cells, np.uint16), [Look("asphalt", np.ones(3), 1.0)]
        self.vertices_sd = np.indices(cells + 1).transpose(1, 2, 0) * CELL_M + self._origin
        self.moved = np.zeros(cells + 1, bool)

    def _window(self, s: tuple[float, float], d: tuple[float, float]) -> tuple[slice, slice]:
        """The cells of a rectangle, as slices of ``surface``."""
        slices = []
        for axis, bounds in enumerate((s, d)):
            cells = np.round((np.sort(bounds) - self._origin[axis]) / CELL_M).astype(int)
            start, stop = np.clip(cells, 0, self.surface.shape[axis])
            slices.append(slice(start, stop))
        return slices[0], slices[1]

    def paint(self, name: str, s: tuple[float, float], d: tuple[float, float]) -> None:
        """Covers the rectangle between two values of s and two of d, each pair in any order."""
        window = self._window(s, d)
        self.surface[window] = SURFACE_ID[name]
        self._regions += 1
        self.region[window] = self._regions

    def add_look(self, look: Look) -> int:
        """Adds a look; returns its number for ``look``."""
        self.looks.append(look)
        return len(self.looks) - 1

    def cover(self, number: int, s: tuple[float, float], d: tuple[float, float], *on: str) -> None:
        """Gives a rectangle a look of ``looks`` where its surface is one of ``on``."""
        window = self._window(s, d)
        named = np.isin(self.surface[window], [SURFACE_ID[name] for name in on])
        self.look[window][named] = number

    def round_corner(
        self, corner: tuple[float, float], towards: tuple[int, int], radius_m: float
    ) -> None:
        """Rounds the corner of two kerbs: road covers what lies outside an arc of ``radius_m``.

        Args:
            corner: its s and d.
            towards: signs of the direction away from the road, along s and d.
        """
        centre = np.add(corner, np.multiply(towards, radius_m))
        window = self._window((corner[0], centre[0]), (corner[1], centre[1]))
        corners = tuple(slice(each.start, each.stop + 1) for each in window)
        vertices = self.vertices_sd[corners]
        if min(vertices.shape[:2]) < 2:
            return  # the corner lies beyond the town's border
        middle = vertices[:-1, :-1] + CELL_M / 2
        outside = np.linalg.norm(middle - centre, axis=-1) > radius_m
        self.surface[window][outside] = SURFACE_ID["road"]
        self.region[window][outside] = self._regions
        self._smooth(corners, outside, np.broadcast_to(centre, vertices.shape), radius_m)

    def paint_band(self, name: str, points_sd: np.ndarray, half_m: float, *spare: str) -> None:
        """Covers all within ``half_m`` of a line.

        Args:
            points_sd: the line, ``[N, 2]``, points at most a cell apart.
            spare: surfaces that are left as they are.
        """
        low, high = points_sd.min(axis=0) - half_m - CELL_M, points_sd.max(axis=0) + half_m + CELL_M
        window = self._window((low[0], high[0]), (low[1], high[1]))
        corners = tuple(slice(each.start, each.stop + 1) for each in window)
        vertices = self.vertices_sd[corners]
        if min(vertices.shape[:2]) < 2:
            return  # it lies beyond the town's border
        line = cKDTree(points_sd)
        middle = vertices[:-1, :-1] + CELL_M / 2
        spared = np.isin(self.surface[window], [SURFACE_ID[each] for each in spare])
        inside = (line.query(middle)[0] <= half_m) & ~spared
        self.surface[window][inside] = SURFACE_ID[name]
        self._regions += 1
        self.region[window][inside] = self._regions
        self._smooth(corners, inside, points_sd[line.query(vertices)[1]], half_m)

    def _smooth(
        self, corners: tuple[slice, ...], painted: np.ndarray, centre: np.ndarray, radius_m: float
    ) -> None:
        """Moves vertices between painted cells and others to ``radius_m`` from their ``centre``, so
        that kerbs are smooth; but by less than half a cell's diagonal, or else their cells would
        turn inside out.
        """
        vertices = self.vertices_sd[corners]
        around = np.pad(painted, 1, mode="edge")
        count = around[:-1, :-1].astype(int) + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:]
        offset = vertices - centre
        distance = np.linalg.norm(offset, axis=-1, keepdims=True)
        snap = (
            ((count > 0) & (count < 4))[..., None]
            & (np.abs(distance - radius_m) < 0.45 * CELL_M * 1.42)
            & (distance > 1e-6)
        )
        on_arc = centre + offset / np.maximum(distance, 1e-6) * radius_m
        vertices[:] = np.where(snap, on_arc, vertices)
        self.moved[corners] |= snap[..., 0]

    def surface_at(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Index into ``SURFACES`` at each point; the border's surface continues beyond it."""
        cell = [
            np.clip(np.floor((np.asarray(value, float) - low) / CELL_M).astype(int), 0, count - 1)
            for value, low, count in zip((s, d), self._origin, self.surface.shape, strict=True)
        ]
        return self.surface[cell[0], cell[1]]

    def is_surface(self, s: np.ndarray | float, d: np.ndarray | float, *names: str) -> np.ndarray:
        """Whether the surface at each point is one of ``names``."""
        return np.isin(self.surface_at(s, d), [SURFACE_ID[name] for name in names])

    def height(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Height of the ground in metres, without the unevenness of terrain."""
        return self.plan.base_height(s, d) + self.levels_m[self.surface_at(s, d)]

    def level_m(self, name: str) -> float:
        """Height of one of ``SURFACES`` above the carriageway."""
        return self._levels_m[name]
