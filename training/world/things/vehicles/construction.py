"""Construction machines as triangle meshes, ``vehicle.construction``."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

_ROLLER_YELLOW = (0.95, 0.72, 0.1)


def draw_excavator(rng: np.random.Generator) -> Mesh:
    """Draws a tracked excavator with its arm in a working pose."""
    size = float(rng.uniform(0.75, 1.15))
    colour = rng.choice([(0.95, 0.68, 0.08), (0.92, 0.45, 0.08), (0.85, 0.75, 0.2)])
    sketch = Sketch("vehicle.construction")
    track = [(-1.5, 0.05), (1.5, 0.05), (1.85, 0.4), (1.6, 0.75), (-1.6, 0.75), (-1.85, 0.4)]
    for side in (-1, 1):
        y = side * 1.25 * size
        sketch.prism(size * np.array(track), (y - 0.27, y + 0.27), "steel_dark")
    sketch.box((0, 0, 0.75 * size), (1.9 * size, 1.9 * size, 0.35 * size), "steel_dark")
    hull = [(-2.2, 0.95), (0.2, 0.95), (0.2, 1.85), (-1.9, 1.95), (-2.3, 1.6)]
    sketch.prism(size * np.array(hull), (-1.2 * size, 1.2 * size), "paint", colour)
    cab = [(0.1, 0.95), (1.35, 0.95), (1.45, 1.7), (1.05, 2.75), (0.1, 2.75)]
    sketch.prism(size * np.array(cab), (0.25 * size, 1.15 * size), "paint", colour)
    windscreen = [(1.47, 0.3, 1.6), (1.47, 1.1, 1.6), (1.09, 1.1, 2.7), (1.09, 0.3, 2.7)]
    sketch.polygon(size * np.array(windscreen), "glass")
    # Boom and stick: 3.1 m up at the angle `lift`, then 2.2 m down at the angle `reach`.
    lift, reach = rng.uniform(0.6, 1.0), rng.uniform(-1.3, -0.5)
    knee = np.array([0.9 + 3.1 * np.cos(lift), -0.15, 1.5 + 3.1 * np.sin(lift)])
    wrist = knee + 2.2 * np.array([np.cos(reach), 0.0, np.sin(reach)])
    wrist[2] = max(wrist[2], 0.9)
    for start, end, thick in ((np.array([0.5, -0.15, 1.4]), knee, 0.24), (knee, wrist, 0.18)):
        path = np.stack([start, (start + end) / 2 + (0, 0, 0.2), end]) * size
        radii = [thick * size, thick * 1.2 * size, thick * 0.8 * size]
        sketch.tube(path, radii, "paint", colour)
    bucket = [(0.0, 0.15), (0.45, 0.0), (0.35, -0.6), (-0.1, -0.75), (-0.25, -0.3)]
    outline = (wrist[[0, 2]] + bucket) * size
    sketch.prism(outline, (-0.65 * size, 0.35 * size), "steel_dark")
    return sketch.mesh()


def draw_loader(rng: np.random.Generator) -> Mesh:
    """Draws a wheel loader with its bucket low, raised or in between."""
    colour = rng.choice([(0.95, 0.70, 0.08), (0.92, 0.80, 0.25)])
    lift = float(rng.uniform(0.0, 1.0))
    sketch = Sketch("vehicle.construction")
    engine = [(-2.9, 0.8), (-0.4, 0.7), (-0.4, 1.9), (-2.6, 1.8)]
    front = [(-0.4, 0.7), (1.5, 0.6), (1.5, 1.2), (-0.4, 1.5)]
    cab = [(-0.7, 1.5), (0.6, 1.5), (0.75, 2.2), (0.5, 3.15), (-0.7, 3.15)]
    for profile, half in ((engine, 0.75), (front, 0.55), (cab, 0.65)):
        sketch.prism(profile, (-half, half), "paint", colour)
    window = ((-0.55, 1.95), (0.6, 1.95), (0.45, 3.0), (-0.55, 3.0))
    for side in (-0.66, 0.66):
        sketch.polygon([(x, side, z) for x, z in window], "glass")
        for x in (-1.7, 1.3):
            sketch.wheel((x, side * 1.45, 0.7), 0.7, 0.5, "paint")
    wrist_x, wrist_z = 2.9, 0.45 + 1.3 * lift
    for y in (-0.45, 0.45):
        arm = [(0.4, y, 1.6), (1.8, y, 1.25 + 0.6 * lift), (wrist_x, y, wrist_z)]
        sketch.tube(arm, 0.14, "paint", colour)
    bucket = [(0.0, 0.5), (-0.2, 0.0), (0.1, -0.4), (1.0, -0.4), (0.4, 0.0)]
    sketch.prism([(wrist_x + x, wrist_z + z) for x, z in bucket], (-1.3, 1.3), "steel_dark")
    return sketch.mesh()


def draw_roller(rng: np.random.Generator) -> Mesh:
    """Draws a road roller with one drum and a canopy."""
    size = float(rng.uniform(0.85, 1.1))
    sketch = Sketch("vehicle.construction")
    x, y, z = 1.5 * size, 0.95 * size, 0.65 * size
    sketch.tube([(x, -y, z), (x, y, z)], 0.65 * size, "metal", sides=14)
    hull = size * np.array([(-2.2, 0.6), (0.7, 0.6), (0.7, 1.3), (-2.0, 1.5)])
    sketch.prism(hull, (-0.8 * size, 0.8 * size), "paint", _ROLLER_YELLOW)
    for side in (-1, 1):
        fork = (1.4 * size, side * 1.02 * size, 0.8 * size)
        sketch.box(fork, (1.7 * size, 0.1, 0.3), "paint", _ROLLER_YELLOW)
        sketch.wheel((-1.3 * size, side * 0.75 * size, 0.65 * size), 0.65 * size, 0.45, "paint")
        for x in (-1.0, 0.5):
            post = (x * size, side * 0.65 * size, 2.0 * size)
            sketch.box(post, (0.07, 0.07, 1.4 * size), "steel_dark")
    canopy = (1.9 * size, 1.6 * size, 0.08)
    sketch.box((-0.25 * size, 0, 2.7 * size), canopy, "paint", _ROLLER_YELLOW)
    sketch.box((-0.3 * size, 0, 1.6 * size), (0.5, 0.6, 0.7), "plastic_dark")
    return sketch.mesh()
