"""Fences, and what lies behind them on building sites, as triangle meshes, ``static.manmade``."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch


def draw_fence(kind: str) -> Mesh:
    """Draws two metres of fence along x.

    Args:
        kind: railing, wall, hoarding, mesh or guard (a crash rail).

    Raises:
        ValueError: the kind is unknown.
    """
    sketch = Sketch("static.manmade")
    match kind:
        case "railing":
            for z in (0.15, 1.0):
                sketch.box((0, 0, z), (2.0, 0.05, 0.05), "metal")
            for x in np.arange(-0.875, 1.0, 0.25):
                sketch.box((x, 0, 0.55), (0.025, 0.025, 0.95), "metal")
            sketch.box((-1.0, 0, 0.55), (0.07, 0.07, 1.1), "metal")
        case "wall":
            sketch.box((0, 0, 0.65), (2.0, 0.2, 1.5), "brick")
            sketch.box((0, 0, 1.43), (2.0, 0.28, 0.08), "concrete")
        case "hoarding":
            sketch.box((0, 0, 1.15), (2.0, 0.05, 2.3), "hoarding")
            sketch.box((-0.98, -0.1, 1.1), (0.08, 0.12, 2.2), "steel_dark")
        case "mesh":
            for x in (-1.0, 0.0):
                sketch.box((x, 0, 0.95), (0.06, 0.06, 1.9), "metal")
            for z in (0.1, 0.5, 0.95, 1.4, 1.85):
                sketch.box((0, 0, z), (2.0, 0.025, 0.035), "metal")
            for x in np.arange(-0.9, 1.0, 0.2):
                sketch.box((x, 0, 0.95), (0.02, 0.02, 1.8), "metal")
        case "guard":
            sketch.box((0, 0, 0.62), (2.0, 0.08, 0.32), "metal")
            sketch.box((-0.9, 0, 0.35), (0.1, 0.16, 0.75), "metal")
        case _:
            raise ValueError(f"fence kind {kind!r} is not railing, wall, hoarding, mesh or guard")
    return sketch.mesh()


def draw_material_pile(rng: np.random.Generator) -> Mesh:
    """Draws a stack of concrete pipes along x, or crates."""
    sketch = Sketch("static.manmade")
    if rng.random() < 0.5:
        for row in range(3):
            for column in range(3 - row):
                y, z = (column - (2 - row) / 2) * 0.5, 0.25 + row * 0.43
                sketch.tube([(-1.5, y, z), (1.5, y, z)], 0.24, "concrete", sides=8)
    else:
        for x in (-0.8, 0.5):
            height = float(rng.uniform(0.6, 1.4))
            sketch.box((x, 0, height / 2), (1.1, 1.1, height), "wood", rng.uniform(0.7, 1.3, 3))
    return sketch.mesh()
