"""People as triangle meshes: pedestrians in several poses, and riders drawn onto their cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import Sketch

_CLOTHES = np.array([
    [0.12, 0.13, 0.17], [0.20, 0.24, 0.38], [0.85, 0.85, 0.84], [0.50, 0.50, 0.52],
    [0.60, 0.14, 0.14], [0.22, 0.40, 0.30], [0.78, 0.66, 0.40], [0.45, 0.62, 0.78],
    [0.35, 0.25, 0.20], [0.75, 0.45, 0.55],
])  # fmt: skip
_SKINS = np.array([(1.1, 1.1, 1.1), (1.0, 0.95, 0.9), (0.75, 0.7, 0.65), (0.5, 0.45, 0.42)])
_SEAT_Z_M = 0.52
"""Height of a sitting person's hips; the seat itself is 0.45 m high."""


@dataclass(frozen=True)
class _Build:
    """Measures of one pedestrian, which faces +x and stands on z = 0."""

    unit: float
    """Height relative to an adult of 1.75 m; scales all lengths."""
    girth: float
    """The same for all widths."""
    lean: float
    """How far the shoulders are ahead of the hips, in metres."""
    lowered: float
    """How much lower the upper body is than in a standing person, in metres."""

    @property
    def hip_z(self) -> float:
        """Height of a standing person's hips in metres."""
        return 0.92 * self.unit

    @property
    def shoulder_z(self) -> float:
        """Height of a standing person's shoulders in metres."""
        return 1.43 * self.unit


def draw_pedestrian(rng: np.random.Generator, kind: str, pose: str) -> Mesh:
    """Draws a person facing +x, ``human.pedestrian.<kind>``.

    Args:
        kind: adult, child or construction_worker.
        pose: walking, standing or sitting (on a seat 0.45 m high).
    """
    sketch = Sketch(f"human.pedestrian.{kind}")
    child = kind == "child"
    height = rng.uniform(1.05, 1.4) if child else np.clip(rng.normal(1.70, 0.09), 1.5, 1.92)
    unit = float(height) / 1.75
    girth = unit * float(rng.uniform(0.92, 1.22))
    skin = rng.choice(_SKINS)
    shirt, trousers = rng.choice(_CLOTHES, 2)
    worker, walking = kind == "construction_worker", pose == "walking"
    material, tint = "cloth", shirt
    if worker:
        material, tint = "vest", np.array(rng.choice([(1.0, 1.0, 1.0), (1.1, 0.55, 0.3)]))
    lowered = 0.92 * unit - _SEAT_Z_M if pose == "sitting" else 0.0
    build = _Build(unit, girth, 0.05 * unit if walking else 0.0, lowered)
    stride = float(rng.uniform(0.18, 0.34)) * unit if walking else 0.03
    skirt = not worker and pose != "sitting" and rng.random() < 0.2
    for side in (-1, 1):
        _draw_leg(sketch, build, side, pose, stride, trousers)
        raised = not worker and rng.random() < 0.12
        # Arms swing against the legs.
        swing = -side * stride * 0.8 if walking else 0.04
        _draw_arm(sketch, build, side, swing, raised, (material, tint), skin)
    _draw_torso(sketch, build, material, tint)
    if skirt:
        hem = (0.5 * unit, 0.2 * girth, 0.22 * girth, 0.0)
        waist = (build.hip_z + 0.05, 0.11 * girth, 0.16 * girth, 0.0)
        _draw_elliptic_tube(sketch, [hem, waist], "cloth", trousers)
    _draw_head(sketch, rng, build, skin, worker)
    if not worker:
        _draw_bag(sketch, rng, build)
    return sketch.mesh()


def _draw_leg(
    sketch: Sketch, build: _Build, side: int, pose: str, stride: float, trousers: np.ndarray
) -> None:
    """One leg with its shoe; ``side`` is +1 for the left one, which is ahead by ``stride``."""
    unit, girth = build.unit, build.girth
    y, foot = side * 0.09 * girth, side * stride
    if pose == "sitting":
        path = [(0.0, y, _SEAT_Z_M), (0.42 * unit, y, _SEAT_Z_M), (0.42 * unit, y, 0.06)]
    else:
        # The knee of the rear leg is bent more.
        bend = 0.10 * unit if foot < 0 and pose == "walking" else 0.03 * unit
        path = [(0.0, y, build.hip_z), (foot * 0.45 + bend, y, 0.50 * unit), (foot, y, 0.07)]
    sketch.tube(path, [0.085 * girth, 0.065 * girth, 0.045 * girth], "cloth", trousers)
    shoe = (0.26 * unit, 0.095 * unit, 0.09)
    sketch.box((path[-1][0] + 0.05 * unit, y, 0.045), shoe, "plastic_dark")


def _draw_arm(
    sketch: Sketch,
    build: _Build,
    side: int,
    swing: float,
    raised: bool,
    sleeve: tuple[str, np.ndarray],
    skin: np.ndarray,
) -> None:
    """One arm with its hand; ``raised`` holds the hand up before the chest, as with a telephone."""
    unit, girth, lowered = build.unit, build.girth, build.lowered
    shoulder = (build.lean, side * 0.20 * girth, build.shoulder_z - 0.04 - lowered)
    elbow = (0.10 if raised else swing * 0.4, side * 0.24 * girth, 1.14 * unit - lowered)
    if raised:
        hand = (0.27, side * 0.14, 1.30 * unit - lowered)
    else:
        hand = (swing + 0.06, side * 0.25 * girth, 0.88 * unit - lowered)
    radii = [0.055 * girth, 0.045 * girth, 0.035 * girth]
    sketch.tube([shoulder, elbow, hand], radii, *sleeve)
    sketch.ellipsoid(hand, (0.045, 0.045, 0.05), "skin", skin)


def _draw_torso(sketch: Sketch, build: _Build, material: str, tint: np.ndarray) -> None:
    unit, girth, lowered = build.unit, build.girth, build.lowered
    levels = [
        (build.hip_z - 0.06 - lowered, 0.10, 0.155, 0.0),
        (1.08 * unit - lowered, 0.095, 0.14, 0.4),
        (1.33 * unit - lowered, 0.115, 0.18, 0.9),
        (build.shoulder_z + 0.02 - lowered, 0.07, 0.15, 1.0),
    ]
    levels = [(z, depth * girth, width * girth, lean) for z, depth, width, lean in levels]
    _draw_elliptic_tube(sketch, levels, material, tint, build.lean)


def _draw_elliptic_tube(
    sketch: Sketch,
    levels: list[tuple[float, float, float, float]],
    material: str,
    tint: np.ndarray,
    lean_m: float = 0.0,
) -> None:
    """A skin over ellipses ``(z, half depth along x, half width along y, fraction of lean_m)``."""
    angle = np.arange(8) * (np.pi / 4)
    rings = [
        np.stack([lean_m * lean + depth * np.cos(angle), width * np.sin(angle), np.full(8, z)], 1)
        for z, depth, width, lean in levels
    ]
    sketch.loft(np.stack(rings), material, tint)


def _draw_head(
    sketch: Sketch, rng: np.random.Generator, build: _Build, skin: np.ndarray, worker: bool
) -> None:
    """Neck and head, with a safety helmet for a worker, else with hair."""
    unit, lean = build.unit, build.lean
    z = 1.64 * unit - build.lowered
    neck = [(lean, 0, build.shoulder_z - build.lowered), (lean, 0, z)]
    sketch.tube(neck, 0.055 * unit, "skin", skin)
    radii = (0.095 * unit, 0.078 * unit, 0.12 * unit)
    sketch.ellipsoid((lean + 0.01, 0, z), radii, "skin", skin, fine=True)
    if worker:
        radii = (0.135 * unit, 0.12 * unit, 0.10 * unit)
        colour = rng.choice([(1, 1, 1), (1, 0.8, 0.1), (0.2, 0.4, 0.8)])
        sketch.ellipsoid((lean, 0, z + 0.05), radii, "barrier_plastic", colour, fine=True)
    else:
        radii = (0.10 * unit, 0.09 * unit, 0.105 * unit)
        sketch.ellipsoid((lean - 0.015, 0, z + 0.03), radii, "hair")


def _draw_bag(sketch: Sketch, rng: np.random.Generator, build: _Build) -> None:
    """A backpack, a shopping bag or nothing."""
    unit, lowered = build.unit, build.lowered
    draw = rng.random()
    tint = rng.choice(_CLOTHES)
    if draw < 0.25:
        sketch.box((-0.20 * unit, 0, 1.22 * unit - lowered), (0.17, 0.30, 0.44), "cloth", tint)
    elif draw < 0.4:
        bag = (0.05, 0.30 * unit, 0.70 * unit - 0.5 * lowered)
        sketch.box(bag, (0.32, 0.12, 0.28), "cloth", tint)


def draw_rider(
    sketch: Sketch,
    rng: np.random.Generator,
    hip: tuple[float, float, float],
    left_hand: tuple[float, float, float],
    left_foot: tuple[float, float, float],
    helmet: bool,
) -> None:
    """Adds a seated rider, who faces +x, to the sketch of a cycle; the right side is mirrored."""
    skin = rng.choice(_SKINS)
    shirt, trousers = rng.choice(_CLOTHES, 2)
    neck = (hip[0] + 0.26, 0.0, hip[2] + 0.50)
    middle = ((hip[0] + neck[0]) / 2, 0.0, (hip[2] + neck[2]) / 2)
    sketch.tube([hip, middle, neck], [0.16, 0.165, 0.12], "cloth", shirt, sides=8)
    for side in (-1, 1):
        hand = (left_hand[0], side * left_hand[1], left_hand[2])
        shoulder = (neck[0] - 0.03, side * 0.19, neck[2] - 0.05)
        elbow_x, elbow_z = (shoulder[0] + hand[0]) / 2 - 0.02, (shoulder[2] + hand[2]) / 2 - 0.09
        arm = [shoulder, (elbow_x, side * 0.27, elbow_z), hand]
        sketch.tube(arm, [0.06, 0.045, 0.04], "cloth", shirt)
        # One pedal is up, the other down.
        foot = (left_foot[0], side * left_foot[1], left_foot[2] + (0.16 if side > 0 else 0.0))
        knee = (max(hip[0], foot[0]) + 0.26, side * 0.16, (hip[2] + foot[2]) / 2 + 0.12)
        leg = [(hip[0], side * 0.09, hip[2]), knee, foot]
        sketch.tube(leg, [0.09, 0.07, 0.05], "cloth", trousers)
        sketch.box((foot[0] + 0.05, foot[1], foot[2] - 0.03), (0.26, 0.09, 0.09), "plastic_dark")
    head = (neck[0] + 0.04, 0.0, neck[2] + 0.20)
    sketch.tube([neck, head], 0.055, "skin", skin)
    sketch.ellipsoid(head, (0.10, 0.08, 0.12), "skin", skin, fine=True)
    if helmet:
        shell = (head[0] - 0.01, 0.0, head[2] + 0.03)
        sketch.ellipsoid(shell, (0.14, 0.12, 0.13), "paint", rng.choice(_CLOTHES), fine=True)
    else:
        sketch.ellipsoid((head[0] - 0.02, 0.0, head[2] + 0.03), (0.105, 0.09, 0.11), "hair")
