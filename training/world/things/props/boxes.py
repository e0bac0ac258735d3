"""Look-alikes of vehicles, cones and people as triangle meshes, ``static.manmade``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID
from training.world.things.sketch import Sketch


def draw_container(rng: np.random.Generator) -> Mesh:
    """Draws a container that stands on the ground, along x, as large as a lorry's box."""
    sketch = Sketch("static.manmade")
    length, height = float(rng.choice([6.06, 6.06, 12.2])), 2.6
    colour = rng.uniform(0.1, 0.9, 3)
    sketch.box((0, 0, height / 2), (length, 2.44, height), "paint", colour)
    for x in np.arange(-length / 2 + 0.3, length / 2, 0.6):
        for side in (-1, 1):
            sketch.box((x, side * 1.24, height / 2), (0.25, 0.05, height - 0.3), "paint", colour)
    for y in (-0.6, 0.6):
        sketch.box((length / 2 + 0.03, y, height / 2), (0.05, 1.1, height - 0.2), "metal")
    return sketch.mesh()


def draw_shed(rng: np.random.Generator) -> Mesh:
    """Draws a garden shed or small garage with a slanting roof, open towards nothing."""
    sketch = Sketch("static.manmade")
    length, width, height = rng.uniform((2.0, 1.8, 1.9), (6.0, 3.2, 2.8))
    material = str(rng.choice(["planks", "plaster", "hoarding", "brick"]))
    tint = np.exp(rng.normal(0.0, 0.3)) * np.exp(rng.normal(0.0, 0.12, 3))
    low, half = height - 0.4, length / 2
    side = [(-half, -0.3), (half, -0.3), (half, low), (-half, height)]
    sketch.prism(side, (-width / 2, width / 2), material, tint)
    roof = [(-half - 0.2, height), (half + 0.2, low - 0.03), (half + 0.2, low + 0.07)]
    roof.append((-half - 0.2, height + 0.1))
    sketch.prism(roof, (-width / 2 - 0.2, width / 2 + 0.2), "roof_tile", tint * 0.7)
    door = (half + 0.02, 0, 0.95)
    sketch.box(door, (0.05, min(width - 0.4, 2.2), 1.9), "paint", rng.uniform(0.2, 0.9, 3))
    return sketch.mesh()


def draw_kiosk(rng: np.random.Generator) -> Mesh:
    """Draws a kiosk with a counter towards +x, about as large as a van."""
    sketch = Sketch("static.manmade")
    width, depth, height = rng.uniform((2.4, 1.8, 2.3), (5.0, 2.6, 3.0))
    colour = rng.uniform(0.15, 0.95, 3)
    sketch.box((0, 0, 0.55), (depth, width, 1.1), "paint", colour)
    sketch.box((-0.2, 0, height / 2), (depth - 0.4, width, height), "paint", colour)
    sketch.box((0.1, 0, height + 0.06), (depth + 0.6, width + 0.3, 0.12), "metal")
    pane = (depth / 2 - 0.19, width / 2 - 0.2)
    sketch.pane((pane[0], -pane[1], 1.1), (pane[0], pane[1], height - 0.3), "shop_window")
    return sketch.mesh()


def draw_advertising_column(rng: np.random.Generator) -> Mesh:
    """Draws a round column for posters, 2.6 to 3.4 m high."""
    sketch = Sketch("static.manmade")
    height, radius = float(rng.uniform(2.6, 3.4)), float(rng.uniform(0.45, 0.7))
    colour = np.exp(rng.normal(0.0, 0.2, 3))
    sketch.tube([(0, 0, -0.1), (0, 0, height)], radius, "plaster", colour, sides=12)
    cap = [(0, 0, height), (0, 0, height + 0.3)]
    sketch.tube(cap, [radius + 0.1, 0.2], "steel_dark", sides=12)
    return sketch.mesh()


def draw_post(rng: np.random.Generator) -> Mesh:
    """Draws a post as high as a cone or a child: round or square, grey, white, red or orange."""
    sketch = Sketch("static.manmade")
    height, radius = float(rng.uniform(0.45, 1.3)), float(rng.uniform(0.05, 0.16))
    tints = ((0.9, 0.9, 0.9), (0.5, 0.5, 0.52), (0.8, 0.15, 0.1), (0.95, 0.4, 0.1), (0.1, 0.1, 0.1))
    tint = tints[int(rng.integers(len(tints)))]
    if rng.random() < 0.7:
        top = radius * float(rng.choice([1.0, 1.0, 0.4]))
        sketch.tube([(0, 0, -0.1), (0, 0, height)], [radius, top], "paint", tint, sides=8)
        band = [(0, 0, 0.7 * height), (0, 0, 0.8 * height)]
        sketch.tube(band, radius * 1.05, "retro_white", sides=8)
    else:
        sketch.box((0, 0, height / 2), (2 * radius, 2 * radius, height), "concrete", tint)
    return sketch.mesh()


def draw_utility_pole(rng: np.random.Generator) -> Mesh:
    """Draws a wooden or concrete pole without wires, as thick as a thin trunk."""
    sketch = Sketch("static.manmade")
    height, radius = float(rng.uniform(6.0, 10.0)), float(rng.uniform(0.08, 0.18))
    material = str(rng.choice(["wood", "concrete", "metal", "bark"]))
    sketch.tube([(0, 0, -0.3), (0, 0, height)], [radius, 0.7 * radius], material, sides=7)
    for z in (height - 0.3, height - 1.0)[: int(rng.integers(0, 3))]:
        sketch.box((0, 0, z), (0.1, 1.8, 0.1), "wood")
    return sketch.mesh()


def as_statue(person: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh of a person in stone or bronze, on a plinth."""
    material = MATERIAL_ID[str(rng.choice(["concrete", "steel_dark", "rubble"]))]
    count = len(person.triangles)
    plinth = Sketch("static.manmade")
    height = float(rng.uniform(0.15, 1.2))
    plinth.box((0, 0, height / 2 - 0.1), (0.7, 0.7, height + 0.2), "concrete")
    base = plinth.mesh()
    lifted = person.vertices + np.array([0, 0, height], np.float32)
    return replace(
        base,
        vertices=np.concatenate([base.vertices, lifted]),
        triangles=np.concatenate([base.triangles, person.triangles + len(base.vertices)]),
        material=np.concatenate([base.material, np.full(count, material, np.uint8)]),
        category=np.full(len(base.triangles) + count, CATEGORY_ID["static.manmade"], np.uint8),
        tint=np.concatenate([base.tint, np.ones((count, 3), np.float32)]),
        reflectance=np.concatenate([base.reflectance, np.ones(count, np.float32)]),
    )
