"""Street furniture, fences, cones and barriers: standing on z = 0, facing +x unless said otherwise."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.meshes import Sketch, Vector

MANMADE = "static.manmade"


def draw_cone(rng: np.random.Generator) -> Mesh:
    """A traffic cone or, now and then, a delineator post, ``movable_object.trafficcone``."""
    sketch = Sketch("movable_object.trafficcone")
    height = float(rng.uniform(0.55, 0.95))
    foot = 0.19 + 0.12 * (height - 0.55)
    if rng.random() < 0.2:
        height, foot = float(rng.uniform(0.9, 1.1)), 0.2
        sketch.tube([(0, 0, 0.03), (0, 0, height)], 0.055, "cone_orange", sides=8)
        bands = (0.6, 0.8)
        radii = (0.06, 0.06)
    else:
        sketch.tube([(0, 0, 0.03), (0, 0, height)], [foot * 0.78, 0.035], "cone_orange", sides=10)
        bands = (0.45, 0.72)
        radii = (foot * 0.78 * 0.55 + 0.025, foot * 0.78 * 0.28 + 0.03)
    for share, radius in zip(bands, radii, strict=True):
        sketch.tube(
            [(0, 0, share * height - 0.06), (0, 0, share * height + 0.06)],
            [radius + 0.012, radius - 0.004],
            "retro_white",
            sides=10,
        )
    sketch.box((0, 0, 0.02), (2 * foot, 2 * foot, 0.04), "plastic_dark")
    return sketch.mesh()


def draw_jersey_barrier(rng: np.random.Generator, colour: Vector, material: str) -> Mesh:
    """One element of a barrier of plastic or concrete, about 2 m along x,
    ``movable_object.barrier``.
    """
    sketch = Sketch("movable_object.barrier")
    length, height, foot = (
        float(rng.uniform(1.85, 2.05)),
        float(rng.uniform(0.88, 1.12)),
        float(rng.uniform(0.54, 0.72)),
    )
    half, neck = foot / 2, 0.12
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
    for start, end in ((-length / 2, -0.1), (0.1, length / 2)):
        rings = np.array([[(x, y, z) for y, z in section] for x in (start, end)])
        sketch.loft(rings, material, colour, capped=False)
        for x in (start, end):
            sketch.polygon(
                [(x, -half, 0.0), (x, half, 0.0), (x, half, 0.16), (x, -half, 0.16)],
                material,
                colour,
            )
            sketch.polygon(
                [(x, -half, 0.16), (x, half, 0.16), (x, neck, height), (x, -neck, height)],
                material,
                colour,
            )
    sketch.box((0, 0, height * 0.55), (0.2, neck * 1.6, height * 0.8), material, colour)
    return sketch.mesh()


def draw_works_barrier(rng: np.random.Generator) -> Mesh:
    """A works barrier on A-shaped feet, boards along x, ``movable_object.barrier``."""
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


def draw_street_lamp(height: float, arm: float) -> Mesh:
    """A lamp with its arm along +x; the lamp itself hangs at ``(arm, 0, height - 0.1)``."""
    sketch = Sketch(MANMADE)
    sketch.tube([(0, 0, 0), (0, 0, 1.1)], 0.12, "metal", sides=8)
    sketch.tube(
        [(0, 0, 1.0), (0, 0, height * 0.85), (arm * 0.25, 0, height), (arm, 0, height + 0.05)],
        [0.085, 0.07, 0.055, 0.045],
        "metal",
        sides=7,
    )
    sketch.box((arm, 0, height), (0.65, 0.26, 0.12), "metal")
    sketch.box((arm, 0, height - 0.075), (0.5, 0.2, 0.04), "lamp_head")
    return sketch.mesh()


def draw_traffic_light(arm: float, red: bool) -> Mesh:
    """Traffic lights that face +x, one on the pole and, where ``arm`` is not 0, one out along +y."""
    sketch = Sketch(MANMADE)
    sketch.tube([(0, 0, 0), (0, 0, 3.4 if not arm else 5.9)], 0.09, "steel_dark", sides=8)
    heads = [(0.14, 0.0, 2.9)]
    if arm:
        sketch.tube([(0, 0, 5.7), (0, arm, 5.9)], 0.07, "steel_dark")
        heads += [(0.1, arm, 5.5), (0.1, arm * 0.55, 5.4)]
    for x, y, z in heads:
        sketch.box((x, y, z), (0.18, 0.36, 1.05), "plastic_dark")
        sketch.box((x - 0.1, y, z), (0.02, 0.6, 1.3), "plastic_dark")
        for offset, name in (
            (0.33, "signal_red" if red else "plastic_dark"),
            (0.0, "plastic_dark"),
            (-0.33, "plastic_dark" if red else "signal_green"),
        ):
            sketch.tube([(x + 0.08, y, z + offset), (x + 0.12, y, z + offset)], 0.12, name, sides=8)
    return sketch.mesh()


def draw_sign(rng: np.random.Generator) -> Mesh:
    """A pole with one or two signs that face +x."""
    sketch = Sketch(MANMADE)
    height = float(rng.uniform(2.3, 3.2))
    sketch.tube([(0, 0, 0), (0, 0, height)], 0.04, "metal")
    for level in range(int(rng.integers(1, 3))):
        z = height - 0.35 - 0.75 * level
        tint = rng.choice(
            [(1, 1, 1), (0.9, 0.15, 0.15), (0.2, 0.35, 0.8), (0.15, 0.5, 0.3), (0.95, 0.8, 0.15)]
        )
        if rng.random() < 0.5:
            size = rng.uniform((0.5, 0.5), (0.9, 0.7))
            sketch.box((0.06, 0, z), (0.02, *size), "sign_face", tint)
            sketch.box((0.045, 0, z), (0.01, *size), "sign_back")
        else:
            sketch.tube([(0.045, 0, z), (0.07, 0, z)], 0.33, "sign_face", tint, sides=12)
    return sketch.mesh()


def draw_gantry_sign() -> Mesh:
    """A large direction sign on two posts, facing +x."""
    sketch = Sketch(MANMADE)
    for y in (-1.0, 1.0):
        sketch.tube([(0, y, 0), (0, y, 4.2)], 0.08, "metal")
    sketch.box((0.12, 0, 3.3), (0.05, 2.8, 1.8), "sign_face", (0.15, 0.45, 0.28))
    return sketch.mesh()


def draw_bus_stop(length: float) -> Mesh:
    """A shelter open towards +x, bench within."""
    sketch = Sketch(MANMADE)
    for y in (-length / 2 + 0.1, 0.0, length / 2 - 0.1):
        sketch.box((-0.7, y, 1.25), (0.1, 0.1, 2.5), "metal")
    sketch.box((0.0, 0, 2.55), (1.9, length, 0.12), "metal")
    for y in (-length / 4, length / 4):
        sketch.polygon(
            [
                (-0.75, y - length * 0.22, 0.3),
                (-0.75, y + length * 0.22, 0.3),
                (-0.75, y + length * 0.22, 2.2),
                (-0.75, y - length * 0.22, 2.2),
            ],
            "shop_window",
        )
    sketch.box((-0.4, 0, 0.45), (0.4, length * 0.7, 0.06), "wood")
    for y in (-length * 0.3, length * 0.3):
        sketch.box((-0.4, y, 0.21), (0.3, 0.06, 0.42), "metal")
    sketch.box((0.1, length / 2 - 0.05, 1.3), (1.2, 0.12, 2.0), "paint", (0.4, 0.55, 0.7))
    return sketch.mesh()


def draw_bench() -> Mesh:
    sketch = Sketch(MANMADE)
    sketch.box((0.0, 0, 0.43), (0.42, 1.6, 0.05), "wood")
    sketch.box((-0.22, 0, 0.68), (0.05, 1.6, 0.35), "wood", pitch=-0.2)
    for y in (-0.65, 0.65):
        sketch.box((0, y, 0.21), (0.4, 0.06, 0.42), "steel_dark")
    return sketch.mesh()


def draw_bin(rng: np.random.Generator) -> Mesh:
    sketch = Sketch(MANMADE)
    height = float(rng.uniform(0.85, 1.15))
    tint = rng.choice([(0.25, 0.45, 0.3), (0.4, 0.4, 0.42), (0.2, 0.3, 0.5)])
    sketch.tube([(0, 0, 0), (0, 0, height)], [0.24, 0.28], "paint", tint, sides=8)
    sketch.tube([(0, 0, height), (0, 0, height + 0.1)], [0.29, 0.12], "plastic_dark", sides=8)
    return sketch.mesh()


def draw_hydrant() -> Mesh:
    sketch = Sketch(MANMADE)
    red = (0.85, 0.15, 0.1)
    sketch.tube(
        [(0, 0, 0), (0, 0, 0.08), (0, 0, 0.6), (0, 0, 0.75)],
        [0.15, 0.11, 0.11, 0.04],
        "paint",
        red,
        sides=8,
    )
    sketch.tube([(0, -0.2, 0.5), (0, 0.2, 0.5)], 0.06, "paint", red)
    return sketch.mesh()


def draw_cabinet(rng: np.random.Generator) -> Mesh:
    """An electrical box at the roadside."""
    sketch = Sketch(MANMADE)
    width, height = float(rng.uniform(0.7, 1.6)), float(rng.uniform(0.9, 1.6))
    tint = rng.choice([(0.75, 0.78, 0.75), (0.45, 0.55, 0.45), (0.6, 0.6, 0.62)])
    sketch.box((0, 0, height / 2), (0.45, width, height), "paint", tint)
    sketch.box((0, 0, 0.06), (0.55, width + 0.1, 0.12), "concrete")
    sketch.box((0, 0, height + 0.02), (0.52, width + 0.06, 0.04), "paint", tint)
    return sketch.mesh()


def draw_bollard() -> Mesh:
    sketch = Sketch(MANMADE)
    sketch.tube([(0, 0, 0), (0, 0, 0.85), (0, 0, 0.93)], [0.08, 0.08, 0.02], "metal", sides=8)
    return sketch.mesh()


def draw_planter() -> Mesh:
    sketch = Sketch(MANMADE)
    sketch.box((0, 0, 0.28), (1.0, 2.0, 0.56), "concrete")
    return sketch.mesh()


def draw_column(height: float) -> Mesh:
    sketch = Sketch(MANMADE)
    sketch.box((0, 0, height / 2), (0.6, 0.6, height), "plaster")
    return sketch.mesh()


def draw_fence(kind: str) -> Mesh:
    """Two metres of fence along x: railing, wall, hoarding, mesh or guard (a crash rail)."""
    sketch = Sketch(MANMADE)
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
            raise ValueError(f"fence kind {kind!r} is none of railing, wall, hoarding, mesh, guard")
    return sketch.mesh()


def draw_material_pile(rng: np.random.Generator) -> Mesh:
    """Pipes, pallets or a heap at a building site."""
    sketch = Sketch(MANMADE)
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
