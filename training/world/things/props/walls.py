"""Walls and solid fences along roads as triangle meshes, ``static.manmade``."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

WALLS = ("plaster", "brick", "rubble", "concrete", "planks", "low")
"""Kinds of garden walls and board fences, 0.5 to 2 m high."""

_WALL = {  # material, height, thickness in metres, whether it has a coping
    "plaster": ("plaster", 1.4, 0.22, True),
    "brick": ("brick", 1.5, 0.24, True),
    "rubble": ("rubble", 1.2, 0.40, False),
    "concrete": ("concrete", 1.7, 0.18, False),
    "planks": ("planks", 1.7, 0.05, False),
    "low": ("rubble", 0.55, 0.30, True),
}


def draw_wall(rng: np.random.Generator, kind: str) -> Mesh:
    """Draws two metres of wall along x, of a kind of ``WALLS``, in a colour of its own."""
    sketch = Sketch("static.manmade")
    material, height, thickness, coping = _WALL[kind]
    tint = np.exp(rng.normal(0.0, 0.25)) * np.exp(rng.normal(0.0, 0.08, 3))
    sketch.box((0, 0, height / 2 - 0.2), (2.0, thickness, height + 0.4), material, tint)
    if coping:
        sketch.box((0, 0, height + 0.03), (2.0, thickness + 0.08, 0.07), "concrete", tint)
    if kind == "planks":
        sketch.box((-0.98, 0.05, height / 2), (0.1, 0.1, height + 0.1), "wood", tint)
    return sketch.mesh()


def draw_picket_fence(rng: np.random.Generator) -> Mesh:
    """Draws two metres of picket fence along x, 1 m high."""
    sketch = Sketch("static.manmade")
    tint = rng.choice([(1.8, 2.3, 3.2), (1.0, 1.0, 1.0), (0.6, 0.6, 0.65)])
    for z in (0.3, 0.75):
        sketch.box((0, 0, z), (2.0, 0.03, 0.07), "wood", tint)
    for x in np.arange(-0.94, 1.0, 0.16):
        sketch.box((x, 0, 0.5), (0.09, 0.02, 1.0), "wood", tint)
    return sketch.mesh()


def draw_noise_barrier(rng: np.random.Generator) -> Mesh:
    """Draws two metres of noise barrier along x, about 3 m high."""
    sketch = Sketch("static.manmade")
    material = str(rng.choice(["planks", "concrete", "hoarding"]))
    tint = np.exp(rng.normal(0.0, 0.25, 3)) * (0.75, 0.85, 0.75)
    sketch.box((0, 0, 1.3), (2.0, 0.14, 3.4), material, tint)
    sketch.box((-0.95, 0, 1.35), (0.2, 0.26, 3.5), "steel_dark")
    return sketch.mesh()
