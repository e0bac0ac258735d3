"""City buses and school buses as triangle meshes."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import WHITE, Sketch, Vector

_SCHOOL_YELLOW = (0.95, 0.66, 0.08)


def draw_bus(
    rng: np.random.Generator, length: float, height: float, colour: Vector, section: str = "whole"
) -> Mesh:
    """Draws a city bus, or one section of an articulated bus; above 4 m it has two decks.

    Args:
        length, height: in metres.
        section: whole (``vehicle.bus.rigid``), or front or rear (``vehicle.bus.bendy``).
    """
    width = float(rng.uniform(2.48, 2.58))
    half, front, back = width / 2, length / 2, -length / 2
    sketch = Sketch("vehicle.bus.rigid" if section == "whole" else "vehicle.bus.bendy")
    decks = [(1.15, min(height - 0.45, 2.55))]  # lower and upper edge of each row of windows
    if height > 4:
        decks.append((3.0, height - 0.35))
    _draw_shell(sketch, length, half, height, decks, colour)
    for deck in decks:
        _draw_windows(sketch, rng, length, half, deck, colour)
    for side in (-1, 1):
        if section != "rear":
            sketch.box((front - 0.03, side * half * 0.75, 0.62), (0.07, 0.40, 0.18), "headlight")
            arm = side * (half + 0.12)
            mirror = [
                (front - 0.2, side * half, 2.4),
                (front + 0.15, arm, 2.2),
                (front + 0.15, arm, 1.9),
            ]
            sketch.tube(mirror, 0.06, "plastic_dark")
        if section != "front":
            sketch.box((back + 0.01, side * half * 0.8, 0.95), (0.05, 0.18, 0.5), "taillight")
    sign = (front - 0.02, 0, min(height, 3.0) - 0.22)
    sketch.box(sign, (0.05, width * 0.6, 0.2), "plastic_dark")
    air_conditioning = (length * 0.3, width * 0.6, 0.18)
    sketch.box((-0.1 * length, 0, height + 0.08), air_conditioning, "paint", colour)
    if section == "rear":
        axles = [back + length * 0.25]
    else:
        axles = [back + length * 0.26, front - length * 0.22]
    for x in axles:
        for side in (-1, 1):
            sketch.wheel((x, side * (half - 0.13), 0.48), 0.48, 0.29, "metal")
    return sketch.mesh()


def _draw_shell(
    sketch: Sketch,
    length: float,
    half: float,
    height: float,
    decks: list[tuple[float, float]],
    colour: Vector,
) -> None:
    """The painted bands below, between and above the rows of windows."""
    front, back, bottom = length / 2, -length / 2, 0.32
    for sill, lintel in [*decks, (height, height)]:
        profile = [
            (back, bottom),
            (front - 0.03, bottom),
            (front, (bottom + sill) / 2),
            (front - 0.03, sill),
            (back, sill),
        ]
        sketch.prism(profile, (-half, half), "paint", colour)
        bottom = lintel


def _draw_windows(
    sketch: Sketch,
    rng: np.random.Generator,
    length: float,
    half: float,
    deck: tuple[float, float],
    colour: Vector,
) -> None:
    """One deck's windows with the pillars between them and the seats behind them."""
    sill, lintel = deck
    front, back = length / 2, -length / 2
    pillars = np.linspace(back, front, max(3, round(length / 1.6)) + 1)
    for left, right in zip(pillars[:-1], pillars[1:], strict=True):
        for side in (-half, half):
            sketch.pane((left + 0.12, side, sill), (right - 0.03, side, lintel), "glass")
            pillar = (left + 0.045, side * 0.97, (sill + lintel) / 2)
            sketch.box(pillar, (0.15, half * 0.06, lintel - sill), "paint", colour)
        for y in (half * 0.55, -half * 0.55):
            seat = ((left + right) / 2, y, sill + 0.12)
            sketch.box(seat, (0.12, half * 0.75, 0.75), "cloth", (0.2, 0.3, 0.5))
    rear_glazed = rng.random() >= 0.5
    for x, glazed in ((front - 0.04, True), (back + 0.01, rear_glazed)):
        material, tint = ("glass", WHITE) if glazed else ("paint", colour)
        sketch.pane((x, -half, sill), (x, half, lintel), material, tint)


def draw_school_bus(rng: np.random.Generator) -> Mesh:
    """Draws a yellow school bus with a bonnet, a ``vehicle.bus.rigid``."""
    length, width, height = float(rng.uniform(7.5, 11.0)), 2.44, float(rng.uniform(2.95, 3.2))
    half, front, back = width / 2, length / 2, -length / 2
    nose = front - 1.5  # rear end of the bonnet
    sketch = Sketch("vehicle.bus.rigid")
    lower = [(back, 0.45), (nose, 0.45), (nose, 1.6), (back, 1.6)]
    roof = [
        (back, 2.4),
        (nose - 0.15, 2.4),
        (nose - 0.35, height - 0.05),
        (nose - 0.9, height),
        (back, height),
    ]
    bonnet = [(nose, 0.5), (front, 0.5), (front, 1.25), (nose, 1.55)]
    for profile, reach in ((lower, half), (roof, half), (bonnet, half * 0.78)):
        sketch.prism(profile, (-reach, reach), "paint", _SCHOOL_YELLOW)
    for side in (-half, half):
        for x in np.arange(back + 0.5, nose - 0.7, 0.85):
            sketch.pane((x, side, 1.6), (x + 0.7, side, 2.4), "glass")
            sketch.box((x - 0.075, side * 0.98, 2.0), (0.15, 0.05, 0.8), "paint", _SCHOOL_YELLOW)
        rail = ((back + nose) / 2, side * 1.01, 1.1)
        sketch.box(rail, (length - 2.2, 0.02, 0.12), "plastic_dark")
        for x in (back + length * 0.22, front - 0.75):
            sketch.wheel((x, side * 0.86, 0.48), 0.48, 0.28, "metal")
        sketch.box((front - 0.02, side * 0.6, 0.95), (0.08, 0.22, 0.22), "headlight")
        sketch.box((back, side * 0.8, 1.5), (0.06, 0.2, 0.2), "taillight")
    windscreen = [
        (nose, -half, 1.6),
        (nose, half, 1.6),
        (nose - 0.15, half, 2.4),
        (nose - 0.15, -half, 2.4),
    ]
    sketch.polygon(windscreen, "glass")
    sketch.pane((back, -half, 1.6), (back, half, 2.4), "glass")
    for x in np.arange(back + 0.9, nose - 0.5, 0.85):
        sketch.box((x, 0, 1.75), (0.14, width * 0.8, 0.7), "plastic_dark")
    sketch.box((front + 0.06, 0, 0.6), (0.12, width * 0.94, 0.25), "plastic_dark")
    return sketch.mesh()
