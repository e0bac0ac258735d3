"""Traffic cones and barriers as triangle meshes.

All props of this folder stand on z = 0, in metres; what has a face looks towards +x, what forms
rows lies along x.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch, Vector


def draw_cone(rng: np.random.Generator) -> Mesh:
    """Draws a ``movable_object.trafficcone``; one in five is a delineator post."""
    sketch = Sketch("movable_object.trafficcone")
    height = float(rng.uniform(0.55, 0.95))
    foot = 0.19 + 0.12 * (height - 0.55)
    if rng.random() < 0.2:
        height, foot = float(rng.uniform(0.9, 1.1)), 0.2
        sketch.tube([(0, 0, 0.03), (0, 0, height)], 0.055, "cone_orange", sides=8)
        bands = ((0.6, 0.06), (0.8, 0.06))  # fraction of the height, radius
    else:
        radius = foot * 0.78
        sketch.tube([(0, 0, 0.03), (0, 0, height)], [radius, 0.035], "cone_orange", sides=10)
        bands = ((0.45, radius * 0.55 + 0.025), (0.72, radius * 0.28 + 0.03))
    for fraction, radius in bands:
        z = fraction * height
        path, radii = [(0, 0, z - 0.06), (0, 0, z + 0.06)], [radius + 0.012, radius - 0.004]
        sketch.tube(path, radii, "retro_white", sides=10)
    sketch.box((0, 0, 0.02), (2 * foot, 2 * foot, 0.04), "plastic_dark")
    return sketch.mesh()


def draw_jersey_barrier(rng: np.random.Generator, colour: Vector, material: str) -> Mesh:
    """Draws a ``movable_object.barrier``: an element of about 2 m, of plastic or concrete."""
    sketch = Sketch("movable_object.barrier")
    length = float(rng.uniform(1.85, 2.05))
    height = float(rng.uniform(0.88, 1.12))
    half, neck = float(rng.uniform(0.54, 0.72)) / 2, 0.12
    section = [
        (-half, 0.0),
        (half, 0.0),
        (half, 0.16),
        (neck + 0.05, 0.42),
        (neck, height),
        (-neck, height),
        (-neck - 0.05, 0.42),
        (-half, 0.16),
    ]
    foot = ((-half, 0.0), (half, 0.0), (half, 0.16), (-half, 0.16))
    body = ((-half, 0.16), (half, 0.16), (neck, height), (-neck, height))
    for start, end in ((-length / 2, -0.1), (0.1, length / 2)):
        rings = np.array([[(x, y, z) for y, z in section] for x in (start, end)])
        # The section is not convex, so that its ends are closed by two convex faces each.
        sketch.loft(rings, material, colour, capped=False)
        for x in (start, end):
            for face in (foot, body):
                sketch.polygon([(x, y, z) for y, z in face], material, colour)
    sketch.box((0, 0, height * 0.55), (0.2, neck * 1.6, height * 0.8), material, colour)
    return sketch.mesh()


def draw_works_barrier(rng: np.random.Generator) -> Mesh:
    """Draws a ``movable_object.barrier``: red and white boards on A-shaped feet."""
    sketch = Sketch("movable_object.barrier")
    length, height = float(rng.uniform(1.5, 2.4)), float(rng.uniform(0.95, 1.15))
    for x in (-0.42 * length, 0.42 * length):
        for side in (-1, 1):
            sketch.tube([(x, side * 0.30, 0.0), (x, side * 0.03, height)], 0.03, "metal", sides=4)
    pieces = 6
    for z in (height - 0.12, height * 0.5):
        for piece in range(pieces):
            x = (piece + 0.5) / pieces * length - length / 2
            tint = (0.95, 0.30, 0.10) if piece % 2 else (1.0, 1.0, 1.0)
            sketch.box((x, 0.0, z), (length / pieces, 0.03, 0.20), "retro_white", tint)
    return sketch.mesh()
