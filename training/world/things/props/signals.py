"""Street lamps, traffic lights and signs as triangle meshes, ``static.manmade``."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

_SIGN_COLOURS = (
    (1, 1, 1),
    (0.9, 0.15, 0.15),
    (0.2, 0.35, 0.8),
    (0.15, 0.5, 0.3),
    (0.95, 0.8, 0.15),
)


def draw_street_lamp(height: float, arm: float) -> Mesh:
    """Draws a street lamp with its arm along +x; the light hangs at ``(arm, 0, height - 0.1)``."""
    sketch = Sketch("static.manmade")
    sketch.tube([(0, 0, 0), (0, 0, 1.1)], 0.12, "metal", sides=8)
    pole = [(0, 0, 1.0), (0, 0, height * 0.85), (arm * 0.25, 0, height), (arm, 0, height + 0.05)]
    sketch.tube(pole, [0.085, 0.07, 0.055, 0.045], "metal", sides=7)
    sketch.box((arm, 0, height), (0.65, 0.26, 0.12), "metal")
    sketch.box((arm, 0, height - 0.075), (0.5, 0.2, 0.04), "lamp_head")
    return sketch.mesh()


def draw_traffic_light(arm: float, red: bool) -> Mesh:
    """Draws traffic lights that face +x: one on the pole, and two on an arm along +y if ``arm``.

    Args:
        arm: its length in metres, or 0 for none.
        red: whether they show red instead of green.
    """
    sketch = Sketch("static.manmade")
    sketch.tube([(0, 0, 0), (0, 0, 5.9 if arm else 3.4)], 0.09, "steel_dark", sides=8)
    heads = [(0.14, 0.0, 2.9)]
    if arm:
        sketch.tube([(0, 0, 5.7), (0, arm, 5.9)], 0.07, "steel_dark")
        heads += [(0.1, arm, 5.5), (0.1, arm * 0.55, 5.4)]
    top, bottom = ("signal_red", "plastic_dark") if red else ("plastic_dark", "signal_green")
    for x, y, z in heads:
        sketch.box((x, y, z), (0.18, 0.36, 1.05), "plastic_dark")
        sketch.box((x - 0.1, y, z), (0.02, 0.6, 1.3), "plastic_dark")
        for offset, material in ((0.33, top), (0.0, "plastic_dark"), (-0.33, bottom)):
            lens = [(x + 0.08, y, z + offset), (x + 0.12, y, z + offset)]
            sketch.tube(lens, 0.12, material, sides=8)
    return sketch.mesh()


def draw_sign(rng: np.random.Generator) -> Mesh:
    """Draws a pole with one or two signs that face +x."""
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(2.3, 3.2))
    sketch.tube([(0, 0, 0), (0, 0, height)], 0.04, "metal")
    for level in range(int(rng.integers(1, 3))):
        z = height - 0.35 - 0.75 * level
        tint = rng.choice(_SIGN_COLOURS)
        if rng.random() < 0.5:
            size = rng.uniform((0.5, 0.5), (0.9, 0.7))
            sketch.box((0.06, 0, z), (0.02, *size), "sign_face", tint)
            sketch.box((0.045, 0, z), (0.01, *size), "sign_back")
        else:
            sketch.tube([(0.045, 0, z), (0.07, 0, z)], 0.33, "sign_face", tint, sides=12)
    return sketch.mesh()


def draw_direction_sign() -> Mesh:
    """Draws a large direction sign on two posts, facing +x."""
    sketch = Sketch("static.manmade")
    for y in (-1.0, 1.0):
        sketch.tube([(0, y, 0), (0, y, 4.2)], 0.08, "metal")
    sketch.box((0.12, 0, 3.3), (0.05, 2.8, 1.8), "sign_face", (0.15, 0.45, 0.28))
    return sketch.mesh()
