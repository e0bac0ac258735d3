"""Buildings as triangle meshes, ``static.manmade``, in metres.

The front lies on y = 0 and faces -y, x runs along it with 0 in its middle, the body extends
towards +y. Walls reach 1 m into the ground, which need not be level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch, Vector

BOSTON_STYLES = ("brick", "glass", "warehouse", "brick", "plaster")
SINGAPORE_STYLES = ("slab", "shophouse", "glass", "slab", "plaster")
"""Styles of a region's buildings; the more frequent ones occur twice."""

_STOREY_M = 3.1
_LEDGES = 6
"""Only the lowest storeys have ledges and balconies; those above would be out of sight."""


@dataclass(frozen=True)
class _Style:
    wall: str
    """Material of the ground floor."""
    upper_wall: str
    """Material of the storeys above."""
    storeys: tuple[int, int]
    """Storeys above the ground floor: at least, and fewer than."""
    tints: tuple[tuple[float, float, float], ...]


_STYLES = {
    "brick": _Style(
        "brick",
        "facade_brick_windows",
        (3, 7),
        ((1.0, 1.0, 1.0), (0.85, 0.9, 0.95), (1.2, 1.1, 1.0)),
    ),
    "warehouse": _Style(
        "hoarding", "hoarding", (1, 2), ((1.0, 1.05, 1.1), (0.8, 0.75, 0.7), (0.7, 0.8, 0.9))
    ),
    "glass": _Style(
        "metal", "facade_glass", (5, 14), ((1.0, 1.0, 1.0), (0.7, 0.9, 1.1), (1.2, 1.1, 0.95))
    ),
    "plaster": _Style(
        "plaster", "facade_windows", (3, 8), ((1.0, 1.0, 1.0), (1.1, 1.0, 0.85), (0.85, 0.85, 0.85))
    ),
    "slab": _Style(
        "plaster",
        "facade_windows",
        (9, 15),
        ((1.2, 1.2, 1.18), (1.15, 1.05, 0.9), (1.0, 1.1, 1.15)),
    ),
    "shophouse": _Style(
        "plaster",
        "facade_windows",
        (2, 4),
        ((1.15, 1.05, 0.8), (0.8, 1.0, 0.95), (1.1, 0.85, 0.8), (1.15, 1.15, 1.1)),
    ),
}


def draw_building(rng: np.random.Generator, name: str, width: float, depth: float) -> Mesh:
    """Draws a building ``width`` along its front and ``depth`` deep, in metres.

    Args:
        name: one of ``BOSTON_STYLES`` or ``SINGAPORE_STYLES``.
    """
    sketch = Sketch("static.manmade")
    style = _STYLES[name]
    tint = np.array(style.tints[rng.integers(len(style.tints))]) * rng.uniform(0.85, 1.1)
    storeys = int(rng.integers(*style.storeys))
    if name == "warehouse":
        _draw_warehouse(sketch, rng, width, depth, 8.0, tint)
        return sketch.mesh()
    base = float(rng.uniform(3.4, 4.4))  # height of the ground floor
    top = base + _STOREY_M * storeys
    if name == "slab":
        _draw_void_deck(sketch, width, depth, base, tint)
    else:
        arcade = name == "shophouse"
        _draw_shop_front(sketch, rng, width, depth, base, style.wall, tint, arcade)
    body = (width, depth, top - base)
    sketch.box((0, depth / 2, (base + top) / 2), body, style.upper_wall, tint)
    parapet = (width + 0.2, depth + 0.2, 0.8)
    sketch.box((0, depth / 2, top + 0.4), parapet, style.wall, tint * 0.9)
    _draw_ledges(sketch, name, width, base, storeys, style.wall, tint)
    if name in ("plaster", "brick") and rng.random() < 0.6:
        _draw_balconies(sketch, width, base, storeys)
    if name == "shophouse":
        _draw_tiled_roof(sketch, width, depth, top + 0.8)
    elif rng.random() < 0.6:
        machinery = (rng.uniform(-0.2, 0.2) * width, depth * 0.5, top + 2.0)
        sketch.box(machinery, (width * 0.25, depth * 0.3, 2.6), "metal")
    return sketch.mesh()


def _draw_shop_front(
    sketch: Sketch,
    rng: np.random.Generator,
    width: float,
    depth: float,
    height: float,
    wall: str,
    tint: Vector,
    arcade: bool,
) -> None:
    """Pillars with shop windows, doors or walls between them, and the room behind.

    Beams that pass a window reach the building's core 2.2 m behind it.
    """
    setback = 2.6 if arcade else 0.25
    room = setback + 2.2
    z, tall = (height - 1) / 2, height + 1  # from 1 m below the ground to the ceiling
    core = (width, depth - room, tall)
    sketch.box((0, (room + depth) / 2, z), core, wall, tint)
    for side in (-1, 1):
        sketch.box((side * (width / 2 - 0.15), room / 2, z), (0.3, room, tall), wall, tint)
    bays = max(2, round(width / 4.2))
    edges = np.linspace(-width / 2, width / 2, bays + 1)
    for x in edges[1:-1]:
        sketch.box((x, 0.25, z), (0.5, 0.5, tall), wall, tint)
    if arcade:
        sketch.box((0, setback / 2, -0.45), (width, setback, 1.2), "paving")
    awning = rng.choice([(0.75, 0.25, 0.2), (0.25, 0.45, 0.35), (0.85, 0.8, 0.7), (0.3, 0.35, 0.6)])
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        x, pane, y = (left + right) / 2, right - left - 0.5, setback + 0.1
        draw = rng.random()
        if draw < 0.25:
            sketch.box((x, y, z), (pane, 0.2, tall), wall, tint)
            sketch.box((x, setback - 0.02, 1.15), (1.2, 0.08, 2.3), "wood")
            continue
        sill, lintel = 0.5 if draw < 0.75 else 0.05, 2.9
        sketch.box((x, y, (sill - 1) / 2), (pane, 0.2, sill + 1), wall, tint)
        sketch.box((x, y, (lintel + height) / 2), (pane, 0.2, height - lintel), wall, tint)
        sketch.pane((x - pane / 2, y, sill), (x + pane / 2, y, lintel), "shop_window")
        sketch.box((x, setback + 0.05, 1.7), (0.08, 0.12, 2.4), "steel_dark")
        if not arcade and rng.random() < 0.4:
            _draw_awning(sketch, (x - pane / 2, x + pane / 2), awning)


def _draw_awning(sketch: Sketch, x_range: tuple[float, float], tint: Vector) -> None:
    profile = ((-1.0, 2.6), (-0.95, 2.65), (0.1, 3.35), (0.1, 3.2))
    rings = np.array([[(x, y, z) for y, z in profile] for x in x_range])
    sketch.loft(rings, "canvas", tint)


def _draw_void_deck(
    sketch: Sketch, width: float, depth: float, height: float, tint: np.ndarray
) -> None:
    """Open ground floor on columns with lift cores, as beneath a Singapore housing block."""
    sketch.box((0, depth / 2, -0.4), (width, depth, 1.2), "concrete")
    sketch.box((0, depth / 2, height - 0.1), (width, depth, 0.2), "plaster", tint)
    for x in np.arange(-width / 2 + 0.5, width / 2, 5.0):
        for y in (0.4, depth / 2, depth - 0.4):
            sketch.box((x, y, height / 2), (0.45, 0.8, height), "plaster", tint)
    for x in (-0.25 * width, 0.25 * width):
        core = (4.5, depth * 0.5, height)
        sketch.box((x, depth * 0.6, height / 2), core, "plaster", tint * 0.85)


def _draw_ledges(
    sketch: Sketch, name: str, width: float, base: float, storeys: int, wall: str, tint: np.ndarray
) -> None:
    """Ledges below the lowest storeys, and for a slab the walls of its access galleries."""
    depth = {"slab": 1.1, "glass": 0.08}.get(name, 0.15)
    for storey in range(min(storeys, _LEDGES)):
        z = base + _STOREY_M * storey
        sketch.box((0, -depth / 2, z), (width, depth, 0.18), wall, tint * 0.95)
        if name == "slab":
            shade = tint * (0.9 if storey % 2 else 1.05)
            sketch.box((0, -depth, z + 0.55), (width, 0.1, 1.0), "plaster", shade)


def _draw_balconies(sketch: Sketch, width: float, base: float, storeys: int) -> None:
    for x in np.arange(-width / 2 + 2.5, width / 2 - 1.5, 5.0):
        for storey in range(min(storeys, _LEDGES)):
            z = base + _STOREY_M * storey
            sketch.box((x, -0.55, z + 0.05), (2.2, 1.1, 0.12), "concrete")
            sketch.box((x, -1.08, z + 0.6), (2.2, 0.05, 1.0), "metal")


def _draw_tiled_roof(sketch: Sketch, width: float, depth: float, z: float) -> None:
    """A gable roof with its ridge along the front."""
    half, ridge = width / 2, depth / 2
    for eaves in (-0.4, depth + 0.4):
        corners = [
            (-half, eaves, z),
            (half, eaves, z),
            (half, ridge, z + 2.2),
            (-half, ridge, z + 2.2),
        ]
        sketch.polygon(corners, "roof_tile")


def _draw_warehouse(
    sketch: Sketch,
    rng: np.random.Generator,
    width: float,
    depth: float,
    height: float,
    tint: Vector,
) -> None:
    """A hall with roller doors below canopies, and posts between them."""
    sketch.box((0, depth / 2, (height - 1) / 2), (width, depth, height + 1), "hoarding", tint)
    for x in np.arange(-width / 2 + 3.5, width / 2 - 2.0, 6.0):
        if rng.random() < 0.7:
            sketch.box((x, -0.05, 2.0), (3.6, 0.14, 4.0), "metal", (0.8, 0.8, 0.85))
            sketch.box((x, -0.5, 4.3), (4.0, 1.0, 0.12), "metal")
    for x in np.arange(-width / 2 + 0.4, width / 2, 3.0):
        sketch.box((x, -0.06, height / 2), (0.25, 0.16, height), "steel_dark")


def draw_pavilion(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """Draws a flat roof on columns over a smaller hall, such as a market or a station entrance."""
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(3.2, 5.0))
    sketch.box((0, depth / 2, height), (width, depth, 0.4), "metal")
    for x in np.linspace(-width / 2 + 0.6, width / 2 - 0.6, max(2, round(width / 6))):
        for y in (0.6, depth - 0.6):
            sketch.tube([(x, y, -0.5), (x, y, height)], 0.22, "plaster", sides=8)
    hall = (width * 0.5, depth * 0.4, height + 1)
    sketch.box((0, depth * 0.65, height / 2 - 0.5), hall, "plaster")
    return sketch.mesh()


def draw_background_block(rng: np.random.Generator, width: float) -> Mesh:
    """Draws a plain block, 9 to 45 m high and 14 m deep, for the far background."""
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(9.0, 45.0))
    material = str(rng.choice(["facade_windows", "facade_glass", "facade_brick_windows"]))
    tint = rng.uniform(0.8, 1.15, 3)
    sketch.box((0, 7.0, height / 2 - 1), (width, 14.0, height + 2), material, tint)
    return sketch.mesh()
