"""Vegetation in masses as triangle meshes, ``static.vegetation``: woods, thickets, tall hedges.

All of it stands on z = 0, in metres, and is drawn from few large leaf cards around cores that stop
beams, since there is much of it.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.plants import draw_clump, draw_leaf_cards
from training.world.things.sketch import Sketch

_CARDS_PER_M2 = 8.0


def draw_wood_tree(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws a tree of a wood: a bare, thin or thick trunk below a narrow crown."""
    sketch = Sketch("static.vegetation")
    height, trunk = float(rng.uniform(6.0, 14.0)), float(rng.uniform(0.06, 0.26))
    bare = float(rng.uniform(0.12, 0.45))
    lean = rng.normal(0, 0.35, 2)
    fork, top = np.array([*lean, height * bare]), np.array([*(2 * lean), height * 0.8])
    sketch.tube([(0, 0, -0.3), fork, top], [trunk * 1.2, trunk, 0.04], "bark", sides=5)
    for up in np.linspace(0.12, 0.92, 5):
        centre = fork + (top - fork) * up + (*rng.normal(0, 0.9, 2), 0.6)
        size = float(rng.uniform(1.0, 1.9))
        draw_clump(sketch, rng, centre, np.array([size, size, size]), 34, (0.35, 0.95), tint)
    return sketch.mesh()


def draw_conifer(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws a fir whose branches reach nearly to the ground."""
    sketch = Sketch("static.vegetation")
    height, reach = float(rng.uniform(5.0, 13.0)), float(rng.uniform(1.2, 2.4))
    low = float(rng.uniform(0.1, 1.2))
    sketch.tube([(0, 0, -0.3), (0, 0, height * 0.9)], [0.16, 0.03], "bark", sides=5)
    core = [(0, 0, low + 0.2), (0, 0, height)]
    sketch.tube(core, [reach * 0.62, 0.02], "foliage", tint * 0.6, sides=8)
    count = int(28 * height)
    up = 1.0 - np.sqrt(rng.uniform(0.0, 1.0, count))  # as the cone's surface is spread
    angle, out = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.6, 1.0, count)
    radius = reach * (1.0 - up) * out
    z = low + up * (height - low)
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
    draw_leaf_cards(sketch, rng, centres, (0.3, 0.8), tint)
    return sketch.mesh()


def draw_thicket(
    rng: np.random.Generator, size: tuple[float, float, float], tint: np.ndarray
) -> Mesh:
    """Draws shrubs that fill a box of ``size`` (along x, along y, height), ragged outside."""
    sketch = Sketch("static.vegetation")
    length, width, height = size
    core = (0.86 * length, 0.8 * width, 0.86 * height)
    sketch.box((0, 0, 0.4 * height), core, "foliage", tint * 0.7)
    area = length * width + 2 * height * (length + width)
    count = int(np.clip(_CARDS_PER_M2 * area, 30, 900))
    # Every card lies near one of the five faces, as often as the face is large.
    faces = np.array([length * width, height * width, height * width, *[height * length] * 2])
    face = rng.choice(5, count, p=faces / faces.sum())
    centres = rng.uniform((-0.5, -0.5, 0.05), (0.5, 0.5, 0.92), (count, 3))
    depth = rng.normal(0.0, 0.035, count)
    for number, (axis, at) in enumerate(((2, 0.92), (0, -0.46), (0, 0.46), (1, -0.44), (1, 0.44))):
        centres[face == number, axis] = at + depth[face == number]
    card = float(np.clip(0.28 * height, 0.16, 0.45))
    draw_leaf_cards(sketch, rng, centres * size, (0.6 * card, 1.4 * card), tint)
    return sketch.mesh()


def draw_shrub(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws one round bush about 2 m wide and 1.7 m high."""
    sketch = Sketch("static.vegetation")
    for _ in range(4):
        centre = np.array([*rng.uniform(-0.45, 0.45, 2), rng.uniform(0.5, 1.0)])
        draw_clump(sketch, rng, centre, rng.uniform(0.55, 0.85, 3), 26, (0.2, 0.48), tint)
    return sketch.mesh()


def draw_tall_grass(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws a tuft of grass and weeds, about 2 m by 1.2 m and half a metre high."""
    sketch = Sketch("static.vegetation")
    count = 54
    foot = rng.uniform((-1.0, -0.6), (1.0, 0.6), (count, 2))
    angle, half = rng.uniform(0, np.pi, count), rng.uniform(0.02, 0.14, count)
    side = np.stack([half * np.cos(angle), half * np.sin(angle), 0 * half], axis=1)
    lean = np.column_stack([rng.normal(0, 0.12, (count, 2)), rng.uniform(0.25, 0.75, count)])
    low = np.column_stack([foot, np.full(count, -0.05)])
    corners = np.stack(
        [low - side, low + side, low + lean + 0.6 * side, low + lean - 0.6 * side], 1
    )
    start = np.arange(count)[:, None] * 4
    triangles = np.concatenate([start + (0, 1, 2), start + (0, 2, 3)])
    shades = np.tile(tint * rng.uniform(0.7, 1.3, (count, 1)), (2, 1))
    sketch.add(corners.reshape(-1, 3), triangles, "tall_grass", shades)
    return sketch.mesh()


def draw_tall_hedge(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws two metres of hedge along x, 1.1 m thick and 2 m high."""
    return draw_thicket(rng, (2.15, 1.1, 2.0), tint)


def draw_ivy(rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    """Draws two metres of ivy along x on both sides of a wall 1.7 m high and 0.3 m thick."""
    sketch = Sketch("static.vegetation")
    count = 90
    centres = rng.uniform((-1.0, 0.0, 0.1), (1.0, 0.1, 1.8), (count, 3))
    centres[:, 1] = (0.17 + centres[:, 1]) * rng.choice([-1, 1], count)
    draw_leaf_cards(sketch, rng, centres, (0.2, 0.5), tint)
    return sketch.mesh()


def draw_treeline(rng: np.random.Generator, length: float, tint: np.ndarray) -> Mesh:
    """Draws the edge of a far wood along x, 8 to 16 m high and 8 m deep."""
    sketch = Sketch("static.vegetation")
    height = float(rng.uniform(7.0, 13.0))
    for x in np.arange(-length / 2, length / 2, 4.5):
        size = float(rng.uniform(0.7, 1.25)) * height / 2
        centre = (x + rng.normal(0, 0.8), rng.normal(4.0, 1.0), size * 0.9)
        shade = tint * rng.uniform(0.6, 1.2)
        sketch.ellipsoid(centre, (3.4, 3.4, size), "foliage", shade, fine=True)
    return sketch.mesh()
