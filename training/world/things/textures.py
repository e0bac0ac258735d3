"""Procedural surface patterns: one tile for each texture, with mipmaps, all in one table."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

TEXTURES = (
    *("none", "asphalt", "brick", "windows", "foliage", "paving", "grass", "bark"),
    *("cracks", "cobbles", "litter", "planks", "rubble"),
)
TEXTURE_ID = {name: index for index, name in enumerate(TEXTURES)}

_TEXELS = 512
_LEVELS = 10  # 512, 256, ..., 1
# Edge of each texture's tile in metres; the tile repeats beyond it.
_TILE_M = np.array([8.0, 8.0, 4.0, 25.6, 4.0, 4.8, 4.0, 4.0, 16.0, 3.2, 4.0, 3.2, 4.0], np.float32)
_OFFSET = np.concatenate([[0], np.cumsum([(_TEXELS >> level) ** 2 for level in range(_LEVELS)])])
_PER_TEXTURE = int(_OFFSET[-1])
COLOUR, LIGHT = slice(0, 3), 3
"""Channels of the table: factor on the colour, and light emitted by a lit window."""


def look_up(
    texture: np.ndarray, u_m: np.ndarray, v_m: np.ndarray, footprint_m: np.ndarray
) -> np.ndarray:
    """Looks up texels, float32 ``[N, 4]`` (``COLOUR``, ``LIGHT``), without interpolation.

    Args:
        texture: ``[N]`` indices into ``TEXTURES``.
        u_m, v_m: ``[N]`` surface coordinates in metres.
        footprint_m: ``[N]`` size of a pixel on the surface in metres; selects the mipmap level.
    """
    tile = _TILE_M[texture]
    texel = tile / _TEXELS
    level = np.log2(np.maximum(footprint_m / texel, 1.0)) + 0.5
    level = np.clip(level, 0, _LEVELS - 1).astype(np.int32)
    side = (_TEXELS >> level).astype(np.int32)  # a power of two: & (side - 1) wraps around
    column = (np.floor(u_m / tile * side).astype(np.int64) & (side - 1)).astype(np.int32)
    row = (np.floor(v_m / tile * side).astype(np.int64) & (side - 1)).astype(np.int32)
    return _table()[texture.astype(np.int32) * _PER_TEXTURE + _OFFSET[level] + row * side + column]


def noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in 0..1, float32, which repeats with every unit of ``u`` and ``v``."""
    cloud = _fractal(7, (4, 8, 16, 32, 64))
    row, column = ((np.floor(c * _TEXELS).astype(np.int64) & (_TEXELS - 1)) for c in (v, u))
    return cloud[row, column]


@cache
def _table() -> np.ndarray:
    rng = np.random.default_rng(11)
    table = np.concatenate([_pyramid(tile) for tile in _tiles(rng)])
    table.setflags(write=False)
    return table


def _pyramid(tile: np.ndarray) -> np.ndarray:
    levels = [tile]
    while levels[-1].shape[0] > 1:
        a = levels[-1]
        levels.append((a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4)
    return np.concatenate([level.reshape(-1, 4) for level in levels]).astype(np.float32)


@cache
def _fractal(seed: int, cells: tuple[int, ...]) -> np.ndarray:
    """Noise float32 ``[512, 512]`` in 0..1 that tiles; each octave has ``cells`` cells a side."""
    rng = np.random.default_rng(seed)
    total = np.zeros((_TEXELS, _TEXELS), np.float32)
    for octave, cell in enumerate(cells):
        coarse = rng.random((cell, cell), np.float32)
        padded = np.pad(coarse, 2, mode="wrap")
        grown = cv2.resize(
            padded, None, fx=_TEXELS / cell, fy=_TEXELS / cell, interpolation=cv2.INTER_CUBIC
        )
        margin = 2 * _TEXELS // cell
        total += grown[margin : margin + _TEXELS, margin : margin + _TEXELS] * 0.6**octave
    total -= total.min()
    return total / total.max()


def _tiles(rng: np.random.Generator) -> list[np.ndarray]:
    """A tile of each texture, float32 ``[512, 512, 4]``: rows along v, columns along u."""
    fine = rng.random((_TEXELS, _TEXELS), np.float32)
    row, column = np.mgrid[0:_TEXELS, 0:_TEXELS]

    asphalt = 0.86 + 0.16 * _fractal(21, (2, 4, 8, 16)) + 0.22 * (fine - 0.5)

    # Bricks of 25 x 8 cm with 1 cm joints, each course shifted by half a brick: at 4 m a tile,
    # 128 texels a metre. Bricks and slabs have a shade each.
    course = row // 10
    shifted = column + 16 * (course % 2)
    brick = 0.85 + 0.3 * rng.random((52, 17), np.float32)[course, shifted // 32]
    brick = np.where((row % 10 < 1) | (shifted % 32 < 1), 1.35, brick)

    # Slabs of 60 x 30 cm, also shifted: 4.8 m a tile, 107 texels a metre.
    course = row // 32
    shifted = column + 32 * (course % 2)
    slab = 0.92 + 0.16 * rng.random((17, 9), np.float32)[course, shifted % _TEXELS // 64]
    slab = np.where((row % 32 < 1) | (shifted % 64 < 1), 0.7, slab)
    paving = slab + 0.08 * (fine - 0.5)

    foliage = 0.45 + 0.9 * _fractal(22, (16, 32, 64, 128)) + 0.35 * (fine - 0.5)
    grass = 0.75 + 0.35 * _fractal(23, (2, 8, 64, 128)) + 0.35 * (fine - 0.5)
    bark = 0.7 + 0.5 * cv2.resize(
        rng.random((16, 128), np.float32), (_TEXELS, _TEXELS), interpolation=cv2.INTER_LINEAR
    )

    plain, windows = np.ones((_TEXELS, _TEXELS), np.float32), _windows(rng)
    tiles = [_grey(plain), _grey(asphalt), _grey(brick), windows]
    tiles += [_grey(foliage), _grey(paving), _grey(grass), _grey(bark)]
    # Leaves and grass vary from green to yellowish: their red channel has noise of its own.
    tiles[TEXTURE_ID["foliage"]][..., 0] *= 0.85 + 0.3 * _fractal(24, (4, 8))
    tiles[TEXTURE_ID["grass"]][..., 0] *= 0.9 + 0.5 * _fractal(25, (2, 4, 8))
    return tiles + _weathered_tiles(rng)


def _weathered_tiles(rng: np.random.Generator) -> list[np.ndarray]:
    """Asphalt with tarred cracks, cobbles, leaf litter, boards and rubble walls."""
    fine = rng.random((_TEXELS, _TEXELS), np.float32)
    row, column = np.mgrid[0:_TEXELS, 0:_TEXELS]

    # Cracks follow the level lines of smooth noise; 3 cm a texel.
    cracks = 0.84 + 0.26 * _fractal(27, (2, 4, 8, 16)) + 0.2 * (fine - 0.5)
    for seed in (28, 29):
        cloud = _fractal(seed, (4, 8, 16))
        slope = np.hypot(*np.gradient(cloud)) + 1e-4
        is_crack = (np.abs(cloud - 0.5) < 0.6 * slope) & (_fractal(seed + 10, (2, 8)) > 0.5)
        cracks = np.where(is_crack, 0.55, cracks)

    # Cobbles of 10 x 10 cm, 16 texels, each course shifted by half a stone.
    course = row // 16
    shifted = column + 8 * (course % 2)
    stone = 0.8 + 0.4 * rng.random((32, 33), np.float32)[course, shifted // 16]
    stone = np.where((row % 16 < 2) | (shifted % 16 < 2), 0.55, stone)
    cobbles = stone + 0.12 * (fine - 0.5)

    litter = 0.35 + 1.1 * _fractal(30, (32, 64, 128)) + 0.5 * (fine - 0.5)

    # Upright boards 10 cm wide, with gaps of 1 cm.
    board = 0.75 + 0.5 * rng.random(33, np.float32)[column // 16]
    planks = np.where(column % 16 < 1, 0.3, board) * (0.9 + 0.2 * _fractal(31, (4, 64)))

    cell = _fractal(32, (16, 32))
    rubble = np.where(np.abs(np.sin(cell * 40)) < 0.2, 0.55, 0.75 + 0.6 * _fractal(33, (8, 16)))
    tiles = [_grey(tile) for tile in (cracks, cobbles, litter, planks, rubble)]
    tiles[2][..., 0] *= 0.8 + 0.6 * _fractal(34, (16, 64))
    return tiles


def _grey(factor: np.ndarray) -> np.ndarray:
    tile = np.zeros((_TEXELS, _TEXELS, 4), np.float32)
    tile[..., COLOUR] = factor[..., None]
    return tile


def _windows(rng: np.random.Generator) -> np.ndarray:
    """Eight by eight bays of 3.2 m, each with a framed window, of which 30 % are lit at night."""
    tile = _grey(0.95 + 0.1 * _fractal(26, (4, 16, 64)))
    bay = _TEXELS // 8
    pane_row, pane_column = slice(18, 52), slice(12, 52)
    for i in range(8):
        for j in range(8):
            view = tile[i * bay : (i + 1) * bay, j * bay : (j + 1) * bay]
            view[:2, :, COLOUR] *= 0.8  # shadow line between the floors
            view[16:54, 10:54, COLOUR] = 1.15  # frame
            shade = 0.16 + 0.2 * rng.random()
            gradient = np.linspace(0.8, 1.25, 34, dtype=np.float32)[:, None, None]
            bluish = np.array([0.9, 1.0, 1.12], np.float32)
            view[pane_row, pane_column, COLOUR] = shade * gradient * bluish
            view[18:52, 31:33, COLOUR] = 1.0  # mullion
            if rng.random() < 0.3:
                view[pane_row, pane_column, LIGHT] = 0.3 + 0.7 * rng.random()
    return tile
