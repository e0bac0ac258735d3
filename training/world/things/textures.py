"""Procedural surface patterns: tiles with ever coarser copies (mipmaps), all in one table."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

TEXTURES = ("none", "asphalt", "brick", "windows", "foliage", "paving", "grass", "bark")
TEXTURE_ID = {name: index for index, name in enumerate(TEXTURES)}

_TEXELS = 512
_LEVELS = 10  # 512, 256, ..., 1
_TILE_M = np.array([8.0, 8.0, 4.0, 25.6, 4.0, 4.8, 4.0, 4.0], np.float32)
_OFFSET = np.concatenate([[0], np.cumsum([(_TEXELS >> level) ** 2 for level in range(_LEVELS)])])
_PER_TEXTURE = int(_OFFSET[-1])
COLOUR, LIGHT = slice(0, 3), 3
"""Channels of the table: factor on the colour, and light given off by a lit window."""


def look_up(
    texture: np.ndarray, u_m: np.ndarray, v_m: np.ndarray, footprint_m: np.ndarray
) -> np.ndarray:
    """Pattern values float32 [N, 4] (``COLOUR``, ``LIGHT``).

    Args:
        texture: [N] indices into ``TEXTURES``.
        u_m, v_m: [N] surface coordinates in metres.
        footprint_m: [N] size of a pixel on the surface in metres; chooses the coarseness.
    """
    tile = _TILE_M[texture]
    texel = tile / _TEXELS
    level = np.clip(np.log2(np.maximum(footprint_m / texel, 1.0)) + 0.5, 0, _LEVELS - 1).astype(
        np.int32
    )
    side = (_TEXELS >> level).astype(np.int32)
    column = (np.floor(u_m / tile * side).astype(np.int64) & (side - 1)).astype(np.int32)
    row = (np.floor(v_m / tile * side).astype(np.int64) & (side - 1)).astype(np.int32)
    return _table()[texture.astype(np.int32) * _PER_TEXTURE + _OFFSET[level] + row * side + column]


def noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth tileable noise in 0..1, float32, one tile per unit of ``u``, ``v``."""
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
    """Tileable noise float32 [512, 512] in 0..1, of octaves with ``cells`` cells to a side."""
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
    """One float32 [512, 512, 4] tile for each of ``TEXTURES``, in order; rows run along v, columns
    along u.
    """
    fine = rng.random((_TEXELS, _TEXELS), np.float32)
    row, column = np.mgrid[0:_TEXELS, 0:_TEXELS]

    asphalt = 0.86 + 0.16 * _fractal(21, (2, 4, 8, 16)) + 0.22 * (fine - 0.5)

    # Bricks of 25 x 8 cm with 1 cm joints: 4 m tile, 128 texels a metre.
    course = row // 10
    across = (column + 16 * (course % 2)) % 32
    brick = (
        0.85 + 0.3 * rng.random((52, 17), np.float32)[course, (column + 16 * (course % 2)) // 32]
    )
    brick = np.where((row % 10 < 1) | (across < 1), 1.35, brick)

    # Slabs of 60 x 30 cm: 4.8 m tile.
    slab = (
        0.92
        + 0.16
        * rng.random((17, 9), np.float32)[
            row // 32, (column + 32 * (row // 32 % 2)) % _TEXELS // 64
        ]
    )
    paving = np.where(
        (row % 32 < 1) | ((column + 32 * (row // 32 % 2)) % 64 < 1), 0.7, slab
    ) + 0.08 * (fine - 0.5)

    foliage = 0.45 + 0.9 * _fractal(22, (16, 32, 64, 128)) + 0.35 * (fine - 0.5)
    grass = 0.75 + 0.35 * _fractal(23, (2, 8, 64, 128)) + 0.35 * (fine - 0.5)
    bark = 0.7 + 0.5 * cv2.resize(
        rng.random((16, 128), np.float32), (_TEXELS, _TEXELS), interpolation=cv2.INTER_LINEAR
    )

    tiles = [
        _grey(np.ones((_TEXELS, _TEXELS), np.float32)),
        _grey(asphalt),
        _grey(brick),
        _windows(rng),
    ]
    tiles += [_grey(foliage), _grey(paving), _grey(grass), _grey(bark)]
    tiles[TEXTURE_ID["foliage"]][..., 0] *= 0.85 + 0.3 * _fractal(24, (4, 8))
    tiles[TEXTURE_ID["grass"]][..., 0] *= 0.9 + 0.5 * _fractal(25, (2, 4, 8))
    return tiles


def _grey(factor: np.ndarray) -> np.ndarray:
    tile = np.zeros((_TEXELS, _TEXELS, 4), np.float32)
    tile[..., COLOUR] = factor[..., None]
    return tile


def _windows(rng: np.random.Generator) -> np.ndarray:
    """Eight by eight bays of 3.2 m: wall, a window with frame and mullion, some of them lit at
    night.
    """
    tile = _grey(0.95 + 0.1 * _fractal(26, (4, 16, 64)))
    bay = _TEXELS // 8
    pane_row, pane_column = slice(18, 52), slice(12, 52)
    for i in range(8):
        for j in range(8):
            view = tile[i * bay : (i + 1) * bay, j * bay : (j + 1) * bay]
            view[:2, :, COLOUR] *= 0.8
            view[16:54, 10:54, COLOUR] = 1.15
            shade = 0.16 + 0.2 * rng.random()
            gradient = np.linspace(0.8, 1.25, 34, dtype=np.float32)[:, None, None]
            view[pane_row, pane_column, COLOUR] = (
                shade * gradient * np.array([0.9, 1.0, 1.12], np.float32)
            )
            view[18:52, 31:33, COLOUR] = 1.0
            if rng.random() < 0.3:
                view[pane_row, pane_column, LIGHT] = 0.3 + 0.7 * rng.random()
    return tile
