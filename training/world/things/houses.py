"""Detached and terraced houses with pitched roofs as triangle meshes, ``static.manmade``.

As for ``buildings``: the front lies on y = 0 and faces -y, x runs along it with 0 in its middle,
the body extends towards +y, and walls reach 1 m into the ground.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch, Vector

_WALLS = {
    "plaster": ((1.15, 1.15, 1.12), (1.1, 1.0, 0.8), (1.1, 0.95, 0.85), (0.8, 0.85, 0.9),
                (0.95, 0.8, 0.6), (0.6, 0.6, 0.6)),
    "brick": ((1.0, 1.0, 1.0), (0.7, 0.65, 0.65), (1.4, 1.3, 1.1)),
    "planks": ((1.6, 1.9, 2.2), (1.0, 1.0, 1.0), (0.9, 0.5, 0.45), (1.1, 1.5, 1.8)),
    "rubble": ((1.0, 1.0, 1.0), (1.2, 1.1, 0.95)),
}  # fmt: skip
_ROOFS = ((1.0, 1.0, 1.0), (1.4, 1.0, 0.8), (0.55, 0.6, 0.65), (0.35, 0.45, 0.6), (0.8, 0.6, 0.5))
_STOREY_M = 2.75


def draw_house(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """Draws a house ``width`` along its front and ``depth`` deep, with one to three storeys."""
    sketch = Sketch("static.manmade")
    wall = str(rng.choice(tuple(_WALLS), p=(0.6, 0.18, 0.14, 0.08)))
    tints = _WALLS[wall]
    tint = np.array(tints[int(rng.integers(len(tints)))]) * np.exp(rng.normal(0.0, 0.08, 3))
    storeys = int(rng.choice([1, 2, 3], p=[0.4, 0.45, 0.15]))
    top = 0.4 + _STOREY_M * storeys
    sketch.box((0, depth / 2, (top - 1) / 2), (width, depth, top + 1), wall, tint)
    sketch.box((0, depth / 2, -0.2), (width + 0.1, depth + 0.1, 1.1), "concrete")
    _draw_roof(sketch, rng, width, depth, top, wall, tint)
    _draw_openings(sketch, rng, width, depth, storeys)
    if rng.random() < 0.35:
        _draw_porch(sketch, rng, width, tint)
    return sketch.mesh()


def _draw_roof(
    sketch: Sketch,
    rng: np.random.Generator,
    width: float,
    depth: float,
    top: float,
    wall: str,
    tint: Vector,
) -> None:
    """A gable roof along or across the front, or a flat one; a chimney."""
    tile = np.array(_ROOFS[int(rng.integers(len(_ROOFS)))]) * np.exp(rng.normal(0.0, 0.1, 3))
    if rng.random() < 0.12:
        sketch.box((0, depth / 2, top + 0.15), (width + 0.6, depth + 0.6, 0.3), "concrete")
        return
    along = rng.random() < 0.65  # the ridge runs along the front
    half, length = (depth / 2, width / 2) if along else (width / 2, depth / 2)
    rise = half * float(rng.uniform(0.5, 1.1))
    gable = [(-half, top), (half, top), (0.0, top + rise)]
    slopes = [
        [(side * (half + 0.5), top - 0.5 * rise / half), (0.0, top + rise + 0.12)]
        for side in (-1, 1)
    ]

    def at(across: float, z: float, ahead: float) -> tuple[float, float, float]:
        x, y = (ahead, across) if along else (across, ahead)
        return x, y + depth / 2, z

    for end in (-length, length):
        sketch.polygon([at(across, z, end) for across, z in gable], wall, tint)
    for (low, low_z), (ridge, ridge_z) in slopes:
        eaves = length + 0.4
        corners = [at(low, low_z, -eaves), at(low, low_z, eaves)]
        corners += [at(ridge, ridge_z, eaves), at(ridge, ridge_z, -eaves)]
        sketch.polygon(corners, "roof_tile", tile)
    x, y, z = at(0.4 * half, top + rise * 0.8, 0.4 * length)
    sketch.box((x, y, z + 0.3), (0.6, 0.6, 1.8), "brick")


def _draw_openings(
    sketch: Sketch, rng: np.random.Generator, width: float, depth: float, storeys: int
) -> None:
    """Windows on all four sides, some with shutters, and a door."""
    shutters = rng.uniform(0.1, 0.9, 3) if rng.random() < 0.5 else None
    spacing = float(rng.uniform(2.2, 3.4))
    size = (float(rng.uniform(0.9, 1.5)), float(rng.uniform(1.1, 1.5)))
    for storey in range(storeys):
        z = 0.4 + _STOREY_M * (storey + 0.55)
        for x in np.arange(-width / 2 + spacing / 2, width / 2 - 0.6, spacing):
            for y, out in ((0.0, -1), (depth, 1)):
                if rng.random() < 0.85:
                    _draw_window(sketch, (x, y, z), (0.0, float(out)), size, shutters)
        for y in np.arange(spacing * 0.7, depth - 0.8, 1.4 * spacing):
            for x, out in ((-width / 2, -1), (width / 2, 1)):
                if rng.random() < 0.6:
                    _draw_window(sketch, (x, y, z), (float(out), 0.0), size, shutters)
    door = float(rng.uniform(-0.35, 0.35)) * width
    sketch.box((door, -0.04, 1.2), (1.1, 0.1, 2.1), "paint", rng.uniform(0.08, 0.8, 3))
    sketch.box((door, -0.5, 0.1), (1.5, 1.0, 0.25), "concrete")


def _draw_window(
    sketch: Sketch,
    centre: tuple[float, float, float],
    out: tuple[float, float],
    size: tuple[float, float],
    shutters: Vector | None,
) -> None:
    """A framed window in a wall that faces ``out``, along x or y."""
    centre_xyz, normal = np.array(centre), np.array([*out, 0.0])
    along = np.array([abs(out[1]), abs(out[0]), 0.0])
    wide, tall = size
    for thick, grow, material in ((0.06, 0.12, "paint"), (0.10, 0.0, "glass")):
        extent = np.abs(normal) * thick + along * (wide + grow) + (0, 0, tall + grow)
        sketch.box(centre_xyz, extent, material)
    if shutters is not None:
        for side in (-1, 1):
            extent = np.abs(normal) * 0.12 + along * 0.45 * wide + (0, 0, tall)
            place = centre_xyz + side * along * 0.76 * wide
            sketch.box(place, extent, "paint", shutters)


def _draw_porch(sketch: Sketch, rng: np.random.Generator, width: float, tint: Vector) -> None:
    """A roof on posts before a part of the front, or a closed bay."""
    x, wide = float(rng.uniform(-0.25, 0.25)) * width, 0.4 * width
    deep = float(rng.uniform(1.2, 2.4))
    sketch.box((x, -deep / 2, 2.65), (wide, deep, 0.16), "roof_tile")
    if rng.random() < 0.5:
        sketch.box((x, -deep / 2, 0.8), (wide - 0.2, deep - 0.2, 3.6), "plaster", tint)
    else:
        for post in (x - wide / 2 + 0.1, x + wide / 2 - 0.1):
            sketch.box((post, -deep + 0.1, 1.1), (0.14, 0.14, 3.1), "wood")
