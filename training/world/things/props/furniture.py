"""Small street furniture as triangle meshes, ``static.manmade``."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

_HYDRANT_RED = (0.85, 0.15, 0.1)


def draw_bus_stop(length: float) -> Mesh:
    """Draws a shelter with a bench inside, open towards +x."""
    sketch = Sketch("static.manmade")
    for y in (-length / 2 + 0.1, 0.0, length / 2 - 0.1):
        sketch.box((-0.7, y, 1.25), (0.1, 0.1, 2.5), "metal")
    sketch.box((0.0, 0, 2.55), (1.9, length, 0.12), "metal")
    half = length * 0.22
    for y in (-length / 4, length / 4):
        sketch.pane((-0.75, y - half, 0.3), (-0.75, y + half, 2.2), "shop_window")
    sketch.box((-0.4, 0, 0.45), (0.4, length * 0.7, 0.06), "wood")
    for y in (-length * 0.3, length * 0.3):
        sketch.box((-0.4, y, 0.21), (0.3, 0.06, 0.42), "metal")
    sketch.box((0.1, length / 2 - 0.05, 1.3), (1.2, 0.12, 2.0), "paint", (0.4, 0.55, 0.7))
    return sketch.mesh()


def draw_bench() -> Mesh:
    """Draws a wooden bench; one sits facing +x."""
    sketch = Sketch("static.manmade")
    sketch.box((0.0, 0, 0.43), (0.42, 1.6, 0.05), "wood")
    sketch.box((-0.22, 0, 0.68), (0.05, 1.6, 0.35), "wood", pitch=-0.2)
    for y in (-0.65, 0.65):
        sketch.box((0, y, 0.21), (0.4, 0.06, 0.42), "steel_dark")
    return sketch.mesh()


def draw_bin(rng: np.random.Generator) -> Mesh:
    """Draws a litter bin."""
    sketch = Sketch("static.manmade")
    height = float(rng.uniform(0.85, 1.15))
    tint = rng.choice([(0.25, 0.45, 0.3), (0.4, 0.4, 0.42), (0.2, 0.3, 0.5)])
    sketch.tube([(0, 0, 0), (0, 0, height)], [0.24, 0.28], "paint", tint, sides=8)
    sketch.tube([(0, 0, height), (0, 0, height + 0.1)], [0.29, 0.12], "plastic_dark", sides=8)
    return sketch.mesh()


def draw_hydrant() -> Mesh:
    """Draws a fire hydrant."""
    sketch = Sketch("static.manmade")
    body = [(0, 0, 0), (0, 0, 0.08), (0, 0, 0.6), (0, 0, 0.75)]
    sketch.tube(body, [0.15, 0.11, 0.11, 0.04], "paint", _HYDRANT_RED, sides=8)
    sketch.tube([(0, -0.2, 0.5), (0, 0.2, 0.5)], 0.06, "paint", _HYDRANT_RED)
    return sketch.mesh()


def draw_cabinet(rng: np.random.Generator) -> Mesh:
    """Draws an electrical cabinet."""
    sketch = Sketch("static.manmade")
    width, height = float(rng.uniform(0.7, 1.6)), float(rng.uniform(0.9, 1.6))
    tint = rng.choice([(0.75, 0.78, 0.75), (0.45, 0.55, 0.45), (0.6, 0.6, 0.62)])
    sketch.box((0, 0, height / 2), (0.45, width, height), "paint", tint)
    sketch.box((0, 0, 0.06), (0.55, width + 0.1, 0.12), "concrete")
    sketch.box((0, 0, height + 0.02), (0.52, width + 0.06, 0.04), "paint", tint)
    return sketch.mesh()


def draw_bollard() -> Mesh:
    """Draws a metal bollard."""
    sketch = Sketch("static.manmade")
    sketch.tube([(0, 0, 0), (0, 0, 0.85), (0, 0, 0.93)], [0.08, 0.08, 0.02], "metal", sides=8)
    return sketch.mesh()


def draw_planter() -> Mesh:
    """Draws a concrete trough for plants."""
    sketch = Sketch("static.manmade")
    sketch.box((0, 0, 0.28), (1.0, 2.0, 0.56), "concrete")
    return sketch.mesh()


def draw_column(height: float) -> Mesh:
    """Draws a free-standing square column."""
    sketch = Sketch("static.manmade")
    sketch.box((0, 0, height / 2), (0.6, 0.6, height), "plaster")
    return sketch.mesh()
