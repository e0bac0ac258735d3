"""Triangles of the ground: large squares where it is uniform, kerbs as upright faces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.world.places.road.ground import SURFACE_ID, SURFACES, Ground
from training.world.places.road.layout import RoadPlan
from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID

_CATEGORIES = np.array([CATEGORY_ID[surface.category] for surface in SURFACES.values()], np.uint8)
_MATERIALS = np.array([MATERIAL_ID[surface.material] for surface in SURFACES.values()], np.uint8)
_IS_TERRAIN = np.equal(_CATEGORIES, CATEGORY_ID["flat.terrain"])
_WAVES = np.array([[0.025, 1.9, 0.7], [0.035, -0.6, 1.3], [0.04, 0.31, 0.42]])
"""Unevenness of terrain: amplitude in metres, wave number along s and along d."""
_BLOCK = 4
"""Cells along the largest square. Between the corners of such blocks the ground is bilinear, so
that squares of all sizes fit together without gaps.
"""
_LAND_M, _LAND_SQUARE_M = 60, 10.0
"""Width of the plain land around the raster, and the edge of its squares."""


class _Quads(NamedTuple):
    corners: np.ndarray
    """``[N, 4, 3]``, world frame, metres."""
    surface: np.ndarray
    """``[N]``, index into ``SURFACES``."""
    stripe: np.ndarray
    """``[N]``: 1 and 2 by turns along a kerb, each a metre long; 0 where there is no kerb."""
    look: np.ndarray
    """``[N]``, index into ``Ground.looks``."""


def ground_mesh(ground: Ground) -> Mesh:
    """The ground of the whole raster and of the plain land around it, in the world frame."""
    lattice = _lattice(ground)
    parts = [*_squares(ground, lattice), _surrounding_land(ground), _kerbs(ground, lattice)]
    corners, surface, stripe, look = (np.concatenate(part) for part in zip(*parts, strict=True))
    stone = (stripe > 0) & (_CATEGORIES[surface] == CATEGORY_ID["flat.sidewalk"])
    tint = np.array([each.tint for each in ground.looks], np.float32)[look]
    looks = np.array([MATERIAL_ID[each.material] for each in ground.looks], np.uint8)[look]
    material = np.where(stone, MATERIAL_ID["kerb"], np.where(look, looks, _MATERIALS[surface]))
    reflectance = np.array([each.reflectance for each in ground.looks], np.float32)[look]
    if ground.plan.driving_side > 0:  # Singapore paints its kerbs black and white
        tint[stone & (stripe == 2)] = 0.35
    quads = np.arange(4 * len(surface)).reshape(-1, 4)
    return Mesh(
        vertices=corners.reshape(-1, 3).astype(np.float32),
        triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        material=np.tile(material.astype(np.uint8), 2),
        category=np.tile(_CATEGORIES[surface], 2),
        tint=np.tile(tint, (2, 1)),
        reflectance=np.tile(reflectance, 2),
    )


def _world_points(plan: RoadPlan, points_sd: np.ndarray) -> np.ndarray:
    """World x, y and height of the carriageway ``[..., 3]`` at road coordinates ``[..., 2]``."""
    s, d = points_sd[..., 0], points_sd[..., 1]
    return np.concatenate([plan.world(s, d), plan.base_height(s, d)[..., None]], axis=-1)


def _lattice(ground: Ground) -> np.ndarray:
    """World x, y, carriageway's height and unevenness at the cells' corners: ``[S+1, D+1, 4]``."""
    points = _refine(_world_points(ground.plan, ground.vertices_sd[::_BLOCK, ::_BLOCK]), _BLOCK)
    points[ground.moved] = _world_points(ground.plan, ground.vertices_sd[ground.moved])
    # Only corners with 1 m of terrain all around them (2 cells) are uneven: there are no steps at
    # its borders.
    rows, columns = ground.surface.shape
    terrain = np.pad(_IS_TERRAIN[ground.surface], 2, constant_values=True)
    surrounded = np.ones((rows + 1, columns + 1), bool)
    for row in range(4):
        for column in range(4):
            surrounded &= terrain[row : row + rows + 1, column : column + columns + 1]
    phase = ground.vertices_sd[::2, ::2].reshape(-1, 2) @ _WAVES[:, 1:].T
    uneven = (np.sin(phase) * _WAVES[:, 0]).sum(axis=1).reshape(surrounded[::2, ::2].shape)
    uneven = _refine((uneven * surrounded[::2, ::2])[..., None], 2)
    return np.concatenate([points, uneven], axis=-1)


def _refine(values: np.ndarray, factor: int) -> np.ndarray:
    """A lattice ``[A, B, C]``, ``factor`` times as fine by linear interpolation on both axes."""
    for axis in (0, 1):
        values = np.moveaxis(values, axis, 0)
        weight = (np.arange(factor) / factor).reshape(1, factor, *([1] * (values.ndim - 1)))
        fine = values[:-1, None] * (1 - weight) + values[1:, None] * weight
        fine = np.concatenate([fine.reshape(-1, *values.shape[1:]), values[-1:]])
        values = np.moveaxis(fine, 0, axis)
    return values


def _squares(ground: Ground, lattice: np.ndarray) -> list[_Quads]:
    """The level ground, one part for each size of squares, the largest first."""
    moved, surfaces = ground.moved, ground.surface
    kind = ground.look.astype(np.int32) * len(SURFACES) + surfaces
    regular = ~(moved[:-1, :-1] | moved[1:, :-1] | moved[:-1, 1:] | moved[1:, 1:])
    left = np.ones_like(surfaces, bool)
    parts = []
    for size in (_BLOCK, 2, 1):
        rows, columns = (count // size for count in surfaces.shape)
        shape = (rows, size, columns, size)
        blocks = surfaces.reshape(shape)
        kinds = kind.reshape(shape)
        uniform = (kinds == kinds[:, :1, :, :1]).all((1, 3)) & regular.reshape(shape).all((1, 3))
        take = left.reshape(shape).all((1, 3)) & (uniform | (size == 1))
        if size == _BLOCK:
            take &= ~_IS_TERRAIN[blocks[:, 0, :, 0]]  # too coarse for uneven ground
        left &= ~np.repeat(np.repeat(take, size, 0), size, 1)
        row, column = np.nonzero(take)
        s, d = row * size, column * size
        corner_s = np.stack([s, s + size, s + size, s], 1)
        corner_d = np.stack([d, d, d + size, d + size], 1)
        points = lattice[corner_s, corner_d]  # [N, 4, 4]
        surface = blocks[row, 0, column, 0]
        corners = points[..., :3].copy()
        corners[..., 2] += (
            points[..., 3] * _IS_TERRAIN[surface, None] + ground.levels_m[surface, None]
        )
        look = ground.look.reshape(shape)[row, 0, column, 0]
        parts.append(_Quads(corners, surface, np.zeros(len(surface), np.uint8), look))
    return parts


def _surrounding_land(ground: Ground) -> _Quads:
    """Large squares of grass around the raster, which look like its first corner."""
    plan = ground.plan
    (s0, s1), (d0, d1) = plan.s_range_m, plan.d_range_m
    s, d = np.meshgrid(
        np.arange(s0 - _LAND_M, s1 + _LAND_M, _LAND_SQUARE_M),
        np.arange(d0 - _LAND_M, d1 + _LAND_M, _LAND_SQUARE_M),
        indexing="ij",
    )
    outside = (s < s0) | (s >= s1) | (d < d0) | (d >= d1)
    low = np.stack([s[outside], d[outside]], axis=-1)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * _LAND_SQUARE_M
    corners = _world_points(plan, low[:, None] + square)
    grass = SURFACE_ID["grass"]
    corners[..., 2] += ground.levels_m[grass]
    count = len(low)
    look = np.full(count, ground.look[0, 0])
    return _Quads(corners, np.full(count, grass, np.uint8), np.zeros(count, np.uint8), look)


def _kerbs(ground: Ground, lattice: np.ndarray) -> _Quads:
    """Upright faces between neighbouring cells of different level."""
    levels_m = ground.levels_m
    level = levels_m[ground.surface]
    faces = []
    for axis, (s, d) in ((0, (1, 0)), (1, (0, 1))):
        row, column = np.nonzero(np.abs(np.diff(level, axis=axis)) > 1e-4)
        cells = ground.surface[row, column], ground.surface[row + s, column + d]
        first_higher = levels_m[cells[0]] > levels_m[cells[1]]
        start, end = lattice[row + s, column + d, :3], lattice[row + 1, column + 1, :3]
        upper, lower = np.where(first_higher, *cells), np.where(first_higher, *cells[::-1])
        look = np.where(first_higher, ground.look[row, column], ground.look[row + s, column + d])
        faces.append((start, end, upper, lower, 1 + (row + column) // 2 % 2, look))
    start, end, upper, lower, stripe, look = (
        np.concatenate(part) for part in zip(*faces, strict=True)
    )
    down, up = np.zeros((len(upper), 3)), np.zeros((len(upper), 3))
    # 2 cm into the ground: no gap shows where it is uneven.
    down[:, 2], up[:, 2] = levels_m[lower] - 0.02, levels_m[upper]
    corners = np.stack([start + down, end + down, end + up, start + up], axis=1)
    is_kerb = levels_m[upper] - levels_m[lower] > 0.05
    stripe = np.where(is_kerb, stripe, 0).astype(np.uint8)
    return _Quads(corners, upper, stripe, look)
