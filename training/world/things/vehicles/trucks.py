"""Lorries and trailers as triangle meshes."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch, Vector
from training.world.things.vehicles.paint import paint_colour

_BODY_COLOURS = ((0.95, 0.95, 0.94), (0.8, 0.82, 0.84), (0.25, 0.4, 0.65), (0.75, 0.3, 0.2))
_TRAILER_COLOURS = (
    (0.95, 0.95, 0.95),
    (0.7, 0.72, 0.75),
    (0.62, 0.25, 0.16),
    (0.16, 0.32, 0.55),
    (0.2, 0.42, 0.3),
)
_REFLECTOR = (0.9, 0.5, 0.3)


def draw_lorry(rng: np.random.Generator, load: str, heavy: bool) -> Mesh:
    """Draws a ``vehicle.truck``: a lorry with its cab over the engine.

    Args:
        load: box, flatbed, canopy or tipper.
        heavy: 7.5 to 10.5 m long instead of about 5 m.
    """
    length = float(rng.uniform(7.5, 10.5) if heavy else rng.uniform(4.7, 6.4))
    width = float(rng.uniform(2.35, 2.55) if heavy else rng.uniform(1.75, 2.1))
    cab_height = float(rng.uniform(2.7, 3.1) if heavy else rng.uniform(2.0, 2.3))
    top = float(rng.uniform(3.2, 3.8) if heavy else rng.uniform(2.3, 3.0))
    radius, floor, depth = (0.5, 0.62, 2.0) if heavy else (0.36, 0.42, 1.55)
    deck = 2 * radius + 0.12
    front, back = length / 2, -length / 2
    sketch = Sketch("vehicle.truck")
    _draw_cab(sketch, front, width, cab_height, depth, paint_colour(rng), floor)
    _draw_load(sketch, rng, load, (back, front - depth - 0.12), width, top, deck)
    for side in (-1, 1):
        beam = ((back + front) / 2 - 0.4, side * width * 0.19, deck - 0.22)
        sketch.box(beam, (length - 1.0, 0.16, 0.26), "steel_dark")
        tank = (0.0, side * (width / 2 - 0.12), deck - 0.42)
        sketch.box(tank, (length * 0.22, 0.2, 0.45), "plastic_dark")
        sketch.box((back + 0.02, side * width * 0.38, deck - 0.15), (0.06, 0.38, 0.14), "taillight")
    bumper = (back + 0.05, 0, deck - 0.45)
    sketch.box(bumper, (0.10, width * 0.9, 0.12), "retro_white", _REFLECTOR)
    sketch.box((back + 0.01, 0, deck - 0.2), (0.03, 0.46, 0.12), "plate")
    axles = [front - depth * 0.6, back + length * 0.2]
    if heavy and length > 8.8:
        axles.append(back + length * 0.2 + 1.25)
    for x in axles:
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.16), radius), radius, 0.30, "metal")
    return sketch.mesh()


def _draw_cab(
    sketch: Sketch,
    front: float,
    width: float,
    height: float,
    depth: float,
    colour: Vector,
    floor: float,
) -> None:
    """Flat nose, raked windscreen, side windows, seats, mirrors, bumper and lamps."""
    half, back = width / 2, front - depth
    belt, pane_top = floor + (height - floor) * 0.48, height - 0.22
    rake = front - 0.26  # x of the windscreen's upper edge
    lower = [(back, floor), (front - 0.04, floor), (front, belt), (back, belt)]
    roof = [(back, pane_top), (rake, pane_top), (front - 0.42, height), (back, height)]
    for profile in (lower, roof):
        sketch.prism(profile, (-half, half), "paint", colour)
    sketch.box((back + 0.10, 0, (belt + height) / 2), (0.20, width, height - belt), "paint", colour)
    windscreen = [
        (front, -half, belt),
        (front, half, belt),
        (rake, half, pane_top),
        (rake, -half, pane_top),
    ]
    sketch.polygon(windscreen, "glass")
    door = ((back + 0.2, belt), (front, belt), (rake, pane_top), (back + 0.2, pane_top))
    for side in (-half, half):
        sketch.polygon([(x, side, z) for x, z in door], "glass")
    for side in (-1, 1):
        seat = (back + 0.55 * depth, side * half * 0.45, belt + 0.1)
        sketch.box(seat, (0.16, 0.5, 0.6), "plastic_dark")
        sketch.box((front - 0.03, side * half * 0.75, floor + 0.22), (0.1, 0.34, 0.18), "headlight")
        mirror = (front - 0.12, side * (half + 0.13), belt + 0.35)
        sketch.box(mirror, (0.12, 0.20, 0.42), "plastic_dark")
    sketch.box((front - 0.05, 0, floor + 0.02), (0.16, width * 0.96, 0.24), "plastic_dark")
    sketch.box((front + 0.04, 0, floor + 0.02), (0.02, 0.46, 0.12), "plate")


def _draw_load(
    sketch: Sketch,
    rng: np.random.Generator,
    load: str,
    x_range: tuple[float, float],
    width: float,
    top: float,
    deck: float,
) -> None:
    """What stands on the deck, between z ``deck`` and ``top``."""
    back, front = x_range
    middle, length, half = (back + front) / 2, front - back, width / 2
    colour = np.clip(rng.choice(_BODY_COLOURS) + rng.normal(0, 0.03, 3), 0, 1)
    if load == "box":
        sketch.box((middle, 0, (deck + top) / 2), (length, width, top - deck), "paint", colour)
        for side in (-1, 1):
            door = (back - 0.02, side * half * 0.5, (deck + top) / 2)
            sketch.box(door, (0.04, half * 0.92, (top - deck) * 0.92), "metal")
        return
    sketch.box((middle, 0, deck), (length, width, 0.14), "steel_dark")
    if load == "tipper":
        for side in (-1, 1):
            wall = (middle, side * (half - 0.05), deck + 0.6)
            sketch.box(wall, (length, 0.10, 1.2), "paint", colour)
        tailgate, front_wall = (0.10, width - 0.2, 1.1), (0.10, width - 0.2, 1.5)
        sketch.box((back + 0.05, 0, deck + 0.55), tailgate, "paint", colour, pitch=-0.12)
        sketch.box((front - 0.05, 0, deck + 0.75), front_wall, "paint", colour)
        heap = (length * 0.46, half * 0.85, 0.55)
        sketch.ellipsoid((middle, 0, deck + 0.6), heap, "soil", fine=True)
        return
    _draw_open_bed(sketch, rng, x_range, width, deck, colour)
    if load == "canopy":
        for x in np.linspace(back + 0.05, front - 0.05, 4):
            for side in (-1, 1):
                post = (x, side * (half - 0.05), (deck + top) / 2)
                sketch.box(post, (0.06, 0.06, top - deck), "metal")
        roof = [(back, top - 0.05), (front, top - 0.05), (front, top), (back, top)]
        sketch.prism(roof, (-half, half), "canvas", (0.35, 0.4, 0.38))
        sketch.box((front - 0.03, 0, (deck + top) / 2), (0.05, width, top - deck), "paint", colour)


def _draw_open_bed(
    sketch: Sketch,
    rng: np.random.Generator,
    x_range: tuple[float, float],
    width: float,
    deck: float,
    colour: Vector,
) -> None:
    """Low boards around the deck, and crates on it."""
    back, front = x_range
    length = front - back
    for side in (-1, 1):
        board = ((back + front) / 2, side * (width / 2 - 0.03), deck + 0.27)
        sketch.box(board, (length, 0.06, 0.42), "paint", colour)
    sketch.box((back + 0.03, 0, deck + 0.27), (0.06, width - 0.12, 0.42), "paint", colour)
    for along in np.arange(0.12, 0.9, 0.2):
        size = rng.uniform((0.6, 0.6, 0.4), (1.1, width * 0.8, 1.3))
        x, y = back + along * length + 0.3, rng.uniform(-0.15, 0.15)
        sketch.box((x, y, deck + 0.07 + size[2] / 2), size, "wood", rng.uniform(0.7, 1.3, 3))


def draw_trailer(rng: np.random.Generator, kind: str) -> Mesh:
    """Draws a ``vehicle.trailer`` without its tractor.

    Args:
        kind: semi or container (9 to 13 m), or light (3 to 5 m, with a drawbar).
    """
    return _light_trailer(rng) if kind == "light" else _long_trailer(rng, kind)


def _light_trailer(rng: np.random.Generator) -> Mesh:
    sketch = Sketch("vehicle.trailer")
    length, width = float(rng.uniform(2.8, 4.6)), float(rng.uniform(1.7, 2.1))
    height = float(rng.uniform(0.5, 1.7))
    colour = rng.choice([(0.9, 0.9, 0.9), (0.5, 0.5, 0.52), (0.9, 0.6, 0.1)])
    half = length / 2
    sketch.box((0, 0, 0.62 + height / 2), (length, width, height), "paint", colour)
    drawbar = [(half, -0.4, 0.5), (half + 1.1, 0, 0.5), (half, 0.4, 0.5)]
    sketch.tube(drawbar, 0.05, "steel_dark")
    sketch.box((half + 0.9, 0, 0.25), (0.08, 0.08, 0.5), "steel_dark")
    for side in (-1, 1):
        sketch.wheel((-0.15 * length, side * (width / 2 + 0.08), 0.32), 0.32, 0.2, "metal")
        sketch.box((-half, side * width * 0.4, 0.66), (0.05, 0.2, 0.1), "taillight")
    return sketch.mesh()


def _long_trailer(rng: np.random.Generator, kind: str) -> Mesh:
    sketch = Sketch("vehicle.trailer")
    length, width = float(rng.uniform(9.0, 13.0)), 2.5
    top = 3.9 if kind == "semi" else 3.75
    colour = rng.choice(_TRAILER_COLOURS)
    back = -length / 2
    sketch.box((0, 0, (1.2 + top) / 2), (length, width, top - 1.2), "paint", colour)
    if kind == "container":
        for x in np.arange(back + 0.3, length / 2, 0.6):
            for side in (-1, 1):
                rib = (x, side * width / 2, (1.25 + top) / 2)
                sketch.box(rib, (0.25, 0.06, top - 1.4), "paint", colour)
    for side in (-1, 1):
        sketch.box((0, side * 0.45, 1.05), (length * 0.95, 0.14, 0.3), "steel_dark")
        sketch.box((length * 0.22, side * 0.6, 0.55), (0.14, 0.14, 1.1), "steel_dark")
        sketch.box((back, side * width * 0.4, 1.1), (0.06, 0.35, 0.15), "taillight")
        for x in (back + 1.4, back + 2.7):
            sketch.wheel((x, side * (width / 2 - 0.2), 0.5), 0.5, 0.35, "metal")
    sketch.box((back - 0.03, 0, 0.55), (0.06, width * 0.9, 0.12), "retro_white", _REFLECTOR)
    return sketch.mesh()
