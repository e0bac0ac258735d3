"""Buildings as triangle meshes: front on y = 0 facing -y, x along the front (centre 0), body
towards +y.

They reach 1 m into the ground.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.meshes import Sketch, Vector

BOSTON_STYLES = ("brick", "glass", "warehouse", "brick", "plaster")
SINGAPORE_STYLES = ("slab", "shophouse", "glass", "slab", "plaster")

_SHADES = {
    "brick": ((1.0, 1.0, 1.0), (0.85, 0.9, 0.95), (1.2, 1.1, 1.0)),
    "warehouse": ((1.0, 1.05, 1.1), (0.8, 0.75, 0.7), (0.7, 0.8, 0.9)),
    "glass": ((1.0, 1.0, 1.0), (0.7, 0.9, 1.1), (1.2, 1.1, 0.95)),
    "plaster": ((1.0, 1.0, 1.0), (1.1, 1.0, 0.85), (0.85, 0.85, 0.85)),
    "slab": ((1.2, 1.2, 1.18), (1.15, 1.05, 0.9), (1.0, 1.1, 1.15)),
    "shophouse": ((1.15, 1.05, 0.8), (0.8, 1.0, 0.95), (1.1, 0.85, 0.8), (1.15, 1.15, 1.1)),
}
_WALLS = {
    "brick": ("brick", "facade_brick_windows"),
    "warehouse": ("hoarding", "hoarding"),
    "glass": ("metal", "facade_glass"),
    "plaster": ("plaster", "facade_windows"),
    "slab": ("plaster", "facade_windows"),
    "shophouse": ("plaster", "facade_windows"),
}
_FLOORS = {
    "brick": (3, 7),
    "warehouse": (1, 2),
    "glass": (5, 14),
    "plaster": (3, 8),
    "slab": (9, 15),
    "shophouse": (2, 4),
}
"""Above the ground floor: at least, and fewer than."""


def draw_building(rng: np.random.Generator, style: str, width: float, depth: float) -> Mesh:
    """A building ``width`` along its front and ``depth`` deep, of a style of the two tables above."""
    sketch = Sketch("static.manmade")
    tint = np.array(_SHADES[style][rng.integers(len(_SHADES[style]))]) * rng.uniform(0.85, 1.1)
    wall, upper = _WALLS[style]
    floors = int(rng.integers(*_FLOORS[style]))
    ground_floor = 5.0 if style == "warehouse" else float(rng.uniform(3.4, 4.4))
    top = ground_floor + 3.1 * floors
    if style == "warehouse":
        _warehouse(sketch, rng, width, depth, ground_floor + 3.0, tint)
        return sketch.mesh()
    if style == "slab":
        _void_deck(sketch, width, depth, ground_floor, tint)
    else:
        _shop_front(
            sketch, rng, width, depth, ground_floor, wall, tint, arcade=style == "shophouse"
        )
    sketch.box(
        (0, depth / 2, (ground_floor + top) / 2), (width, depth, top - ground_floor), upper, tint
    )
    sketch.box((0, depth / 2, top + 0.4), (width + 0.2, depth + 0.2, 0.8), wall, tint * 0.9)
    _ledges(sketch, rng, style, width, ground_floor, floors, wall, tint)
    if style == "shophouse":
        _tiled_roof(sketch, width, depth, top + 0.8)
    elif rng.random() < 0.6:
        sketch.box(
            (rng.uniform(-0.2, 0.2) * width, depth * 0.5, top + 2.0),
            (width * 0.25, depth * 0.3, 2.6),
            "metal",
        )
    return sketch.mesh()


def _shop_front(
    sketch: Sketch,
    rng: np.random.Generator,
    width: float,
    depth: float,
    height: float,
    wall: str,
    tint: Vector,
    arcade: bool,
) -> None:
    """Pillars, and between them windows, doors and wall; a core behind, which beams through windows
    reach.
    """
    setback = 2.6 if arcade else 0.25
    room = setback + 2.2
    sketch.box(
        (0, (room + depth) / 2, (height - 1) / 2), (width, depth - room, height + 1), wall, tint
    )
    for side in (-1, 1):
        sketch.box(
            (side * (width / 2 - 0.15), room / 2, (height - 1) / 2),
            (0.3, room, height + 1),
            wall,
            tint,
        )
    bays = max(2, round(width / 4.2))
    edges = np.linspace(-width / 2, width / 2, bays + 1)
    for x in edges[1:-1]:
        sketch.box((x, 0.25, (height - 1) / 2), (0.5, 0.5, height + 1), wall, tint)
    if arcade:
        sketch.box((0, setback / 2, -0.45), (width, setback, 1.2), "paving")
    awning = rng.choice([(0.75, 0.25, 0.2), (0.25, 0.45, 0.35), (0.85, 0.8, 0.7), (0.3, 0.35, 0.6)])
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        middle, pane = (left + right) / 2, right - left - 0.5
        draw = rng.random()
        if draw < 0.25:
            sketch.box(
                (middle, setback + 0.1, (height - 1) / 2), (pane, 0.2, height + 1), wall, tint
            )
            sketch.box((middle, setback - 0.02, 1.15), (1.2, 0.08, 2.3), "wood")
            continue
        sill = 0.5 if draw < 0.75 else 0.05
        sketch.box((middle, setback + 0.1, (sill - 1) / 2), (pane, 0.2, sill + 1), wall, tint)
        sketch.box(
            (middle, setback + 0.1, (2.9 + height) / 2), (pane, 0.2, height - 2.9), wall, tint
        )
        corners = [
            (middle - pane / 2, setback + 0.1, sill),
            (middle + pane / 2, setback + 0.1, sill),
            (middle + pane / 2, setback + 0.1, 2.9),
            (middle - pane / 2, setback + 0.1, 2.9),
        ]
        sketch.polygon(corners, "shop_window")
        sketch.box((middle, setback + 0.05, 1.7), (0.08, 0.12, 2.4), "steel_dark")
        if not arcade and rng.random() < 0.4:
            profile = [(-1.0, 2.6), (-0.95, 2.65), (0.1, 3.35), (0.1, 3.2)]
            sketch.loft(
                np.array(
                    [
                        [(x, y, z) for y, z in profile]
                        for x in (middle - pane / 2, middle + pane / 2)
                    ]
                ),
                "canvas",
                awning,
            )


def _void_deck(sketch: Sketch, width: float, depth: float, height: float, tint: Vector) -> None:
    """Open ground floor on columns with lift cores, as under a Singapore housing block."""
    sketch.box((0, depth / 2, -0.4), (width, depth, 1.2), "concrete")
    sketch.box((0, depth / 2, height - 0.1), (width, depth, 0.2), "plaster", tint)
    for x in np.arange(-width / 2 + 0.5, width / 2, 5.0):
        for y in (0.4, depth / 2, depth - 0.4):
            sketch.box((x, y, height / 2), (0.45, 0.8, height), "plaster", tint)
    for share in (-0.25, 0.25):
        sketch.box(
            (share * width, depth * 0.6, height / 2),
            (4.5, depth * 0.5, height),
            "plaster",
            np.asarray(tint) * 0.85,
        )


def _ledges(
    sketch: Sketch,
    rng: np.random.Generator,
    style: str,
    width: float,
    base: float,
    floors: int,
    wall: str,
    tint: Vector,
) -> None:
    deep = {"slab": 1.1, "glass": 0.08}.get(style, 0.15)
    levels = range(min(floors, 6))
    for floor in levels:
        sketch.box(
            (0, -deep / 2, base + 3.1 * floor), (width, deep, 0.18), wall, np.asarray(tint) * 0.95
        )
        if style == "slab":
            sketch.box(
                (0, -deep, base + 3.1 * floor + 0.55),
                (width, 0.1, 1.0),
                "plaster",
                np.asarray(tint) * (0.9 if floor % 2 else 1.05),
            )
    if style in ("plaster", "brick") and rng.random() < 0.6:
        for x in np.arange(-width / 2 + 2.5, width / 2 - 1.5, 5.0):
            for floor in levels:
                z = base + 3.1 * floor
                sketch.box((x, -0.55, z + 0.05), (2.2, 1.1, 0.12), "concrete")
                sketch.box((x, -1.08, z + 0.6), (2.2, 0.05, 1.0), "metal")


def _tiled_roof(sketch: Sketch, width: float, depth: float, z: float) -> None:
    for low, high in ((-0.4, depth / 2), (depth + 0.4, depth / 2)):
        sketch.polygon(
            [
                (-width / 2, low, z),
                (width / 2, low, z),
                (width / 2, high, z + 2.2),
                (-width / 2, high, z + 2.2),
            ],
            "roof_tile",
        )


def _warehouse(
    sketch: Sketch,
    rng: np.random.Generator,
    width: float,
    depth: float,
    height: float,
    tint: Vector,
) -> None:
    sketch.box((0, depth / 2, (height - 1) / 2), (width, depth, height + 1), "hoarding", tint)
    for x in np.arange(-width / 2 + 3.5, width / 2 - 2.0, 6.0):
        if rng.random() < 0.7:
            sketch.box((x, -0.05, 2.0), (3.6, 0.14, 4.0), "metal", (0.8, 0.8, 0.85))
            sketch.box((x, -0.5, 4.3), (4.0, 1.0, 0.12), "metal")
    for x in np.arange(-width / 2 + 0.4, width / 2, 3.0):
        sketch.box((x, -0.06, height / 2), (0.25, 0.16, height), "steel_dark")


def draw_pavilion(rng: np.random.Generator, width: float, depth: float) -> Mesh:
    """A flat roof on columns over a hall, front on y = 0: a market, a station entrance, a covered
    car park.
    """
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(3.2, 5.0))
    sketch.box((0, depth / 2, height), (width, depth, 0.4), "metal")
    for x in np.linspace(-width / 2 + 0.6, width / 2 - 0.6, max(2, round(width / 6))):
        for y in (0.6, depth - 0.6):
            sketch.tube([(x, y, -0.5), (x, y, height)], 0.22, "plaster", sides=8)
    sketch.box(
        (0, depth * 0.65, height / 2 - 0.5), (width * 0.5, depth * 0.4, height + 1), "plaster"
    )
    return sketch.mesh()


def draw_background_slab(rng: np.random.Generator, width: float) -> Mesh:
    """A plain high building far away."""
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(9.0, 45.0))
    material = str(rng.choice(["facade_windows", "facade_glass", "facade_brick_windows"]))
    sketch.box(
        (0, 7.0, height / 2 - 1), (width, 14.0, height + 2), material, rng.uniform(0.8, 1.15, 3)
    )
    return sketch.mesh()
