"""Trees, bushes and hedges as triangle meshes, ``static.vegetation``.

A crown consists of square leaf cards around low-poly cores, so that some LiDAR beams pass.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

TEMPERATE = ("round", "young", "columnar")
TROPICAL = ("round", "umbrella", "palm", "young", "columnar")
LEAFY = ("broad", "broad", "old", "low", "round", "young", "columnar")
"""Forms of gardens and old streets: crowns that hang over the road, or reach to the ground."""

# Height in metres, fraction of it below the crown, radius of the trunk and of the crown in metres;
# trunks of street trees are long enough for vehicles to pass beneath the crown.
_FORMS = {
    "round": (8.0, 0.42, 0.19, 3.1),
    "umbrella": (10.5, 0.48, 0.30, 5.0),
    "columnar": (8.5, 0.28, 0.16, 1.3),
    "young": (5.8, 0.58, 0.08, 1.4),
    "broad": (9.0, 0.31, 0.28, 4.3),
    "old": (12.0, 0.36, 0.45, 4.8),
    "low": (4.5, 0.14, 0.11, 2.1),
    "sapling": (3.4, 0.5, 0.03, 0.7),
}


def draw_leaf_cards(
    sketch: Sketch,
    rng: np.random.Generator,
    centres: np.ndarray,
    size: tuple[float, float],
    tint: np.ndarray,
) -> None:
    """Square cards of random orientation and shade at ``centres`` ``[N, 3]``.

    ``size`` is the range of their edges in metres.
    """
    count = len(centres)
    normal = rng.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    first = np.cross(normal, rng.normal(size=(count, 3)))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    half = rng.uniform(size[0] / 2, size[1] / 2, (count, 1))
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = np.stack([centres + half * (a * first + b * second) for a, b in signs], axis=1)
    start = np.arange(count)[:, None] * 4
    triangles = np.concatenate([start + (0, 1, 2), start + (0, 2, 3)])
    shades = np.tile(tint * rng.uniform(0.7, 1.3, (count, 1)), (2, 1))
    sketch.add(corners.reshape(-1, 3), triangles, "foliage", shades)


def draw_clump(
    sketch: Sketch,
    rng: np.random.Generator,
    centre: np.ndarray,
    radii: np.ndarray,
    cards: int,
    size: tuple[float, float],
    tint: np.ndarray,
) -> None:
    """An ellipsoid of leaves: a core that stops beams, and ``cards`` cards in its outer half."""
    sketch.ellipsoid(centre, radii * 0.6, "foliage", tint * 0.75)
    direction = rng.normal(size=(cards, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    centres = centre + direction * radii * rng.uniform(0.5, 1.0, (cards, 1))
    draw_leaf_cards(sketch, rng, centres, size, tint)


def _green(rng: np.random.Generator, tropical: bool) -> np.ndarray:
    base = np.array([0.85, 1.05, 0.85]) if tropical else np.array([1.05, 1.0, 0.9])
    return base * rng.uniform(0.75, 1.25) + rng.normal(0, 0.05, 3)


def draw_tree(
    rng: np.random.Generator, form: str, tropical: bool, tint: np.ndarray | None = None
) -> Mesh:
    """Draws a tree with its trunk at the origin.

    Args:
        form: of ``TEMPERATE`` or ``TROPICAL``, or of ``LEAFY``.
        tint: factor on the colour of its leaves; a random green if None.
    """
    sketch = Sketch("static.vegetation")
    tint = _green(rng, tropical) if tint is None else tint
    if form == "palm":
        return _palm(sketch, rng, tint)
    height, bare, trunk, reach = _FORMS[form]
    height *= float(rng.uniform(0.85, 1.2))
    fork = np.array([*rng.normal(0, 0.25, 2), height * bare])
    bend = np.array([*rng.normal(0, 0.12, 2), height * bare * 0.5])
    sketch.tube([(0, 0, -0.2), bend, fork], [trunk * 1.25, trunk, trunk * 0.85], "bark", sides=7)
    crown_height = height - fork[2]
    columnar = form == "columnar"
    clumps = 4 if form in ("young", "columnar", "sapling") else 8
    for index in range(clumps):
        # 2.4 rad is nearly the golden angle: no two clumps stand one above the other.
        angle = index * 2.4 + rng.uniform(-0.4, 0.4)
        out = reach * (0.0 if columnar else rng.uniform(0.35, 0.72)) * (index > 0)
        up = crown_height * ((index + 0.5) / clumps if columnar else rng.uniform(0.35, 0.75))
        if form == "umbrella":
            up = crown_height * rng.uniform(0.55, 0.75)
        centre = fork + (out * np.cos(angle), out * np.sin(angle), up)
        size = reach * (rng.uniform(0.6, 0.85) if columnar else rng.uniform(0.45, 0.62))
        radii = np.array([size, size, size * (0.55 if form == "umbrella" else 0.85)])
        branch = [fork - (0, 0, 0.1), fork * 0.5 + centre * 0.5 - (0, 0, 0.2), centre]
        sketch.tube(branch, [trunk * 0.6, trunk * 0.42, 0.03], "bark", sides=5)
        draw_clump(sketch, rng, centre, radii, int(24 + 20 * size), (0.35, 0.95), tint)
    return sketch.mesh()


def _palm(sketch: Sketch, rng: np.random.Generator, tint: np.ndarray) -> Mesh:
    height = float(rng.uniform(5.0, 8.5))
    top = np.array([*rng.normal(0, 0.3, 2), height])
    sketch.tube([(0, 0, -0.2), top * (0.4, 0.4, 0.5), top], [0.2, 0.15, 0.12], "bark", sides=7)
    triangles = np.array([(0, 1, 3), (0, 3, 2), (2, 3, 5), (2, 5, 4)])
    for index in range(13):
        angle, rise, reach = index * 2.4, rng.uniform(0.0, 0.9), rng.uniform(1.8, 2.5)
        out = np.array([np.cos(angle), np.sin(angle), 0])
        side = np.array([-np.sin(angle), np.cos(angle), 0]) * 0.28
        # A frond rises and then hangs down, widest in its middle.
        spine = [
            top,
            top + out * reach * 0.5 + (0, 0, rise),
            top + out * reach + (0, 0, rise - 1.1),
        ]
        corners = [
            point + sign * side * width
            for point, width in zip(spine, (0.3, 1.3, 0.4), strict=True)
            for sign in (-1, 1)
        ]
        sketch.add(np.array(corners), triangles, "foliage", tint * rng.uniform(0.8, 1.2))
    return sketch.mesh()


def draw_bush(rng: np.random.Generator, tropical: bool, tint: np.ndarray | None = None) -> Mesh:
    """Draws a bush about 1.4 m wide and 1 m high; ``tint`` as for a tree."""
    sketch = Sketch("static.vegetation")
    tint = _green(rng, tropical) if tint is None else tint
    for _ in range(3):
        centre = np.array([*rng.uniform(-0.35, 0.35, 2), rng.uniform(0.35, 0.55)])
        radii = rng.uniform((0.4, 0.4, 0.4), (0.6, 0.6, 0.6))
        draw_clump(sketch, rng, centre, radii, 22, (0.16, 0.36), tint)
    return sketch.mesh()


def draw_hedge(rng: np.random.Generator, tropical: bool) -> Mesh:
    """Draws two metres of hedge along x, 0.8 m thick and 1 m high."""
    sketch = Sketch("static.vegetation")
    tint = _green(rng, tropical)
    sketch.box((0, 0, 0.45), (2.0, 0.6, 0.8), "foliage", tint * 0.8)
    count = 56
    centres = rng.uniform((-1.0, -0.4, 0.15), (1.0, 0.4, 1.0), (count, 3))
    # Every card lies at one of three faces: top, left or right.
    face = rng.integers(0, 3, count)
    centres[face == 0, 2] = rng.uniform(0.85, 1.0, (face == 0).sum())
    centres[face == 1, 1] = rng.uniform(0.28, 0.4, (face == 1).sum())
    centres[face == 2, 1] = -rng.uniform(0.28, 0.4, (face == 2).sum())
    draw_leaf_cards(sketch, rng, centres, (0.16, 0.34), tint)
    return sketch.mesh()
