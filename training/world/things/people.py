"""People as triangle meshes: pedestrians in several poses, and riders drawn onto their cycles."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.meshes import Sketch

_CLOTHS = np.array(
    [
        (0.12, 0.13, 0.17),
        (0.20, 0.24, 0.38),
        (0.85, 0.85, 0.84),
        (0.50, 0.50, 0.52),
        (0.60, 0.14, 0.14),
        (0.22, 0.40, 0.30),
        (0.78, 0.66, 0.40),
        (0.45, 0.62, 0.78),
        (0.35, 0.25, 0.2),
        (0.75, 0.45, 0.55),
    ]
)
_SKINS = np.array([(1.1, 1.1, 1.1), (1.0, 0.95, 0.9), (0.75, 0.7, 0.65), (0.5, 0.45, 0.42)])


def _ellipse_tube(
    sketch: Sketch,
    levels: list[tuple[float, float, float, float]],
    material: str,
    tint: np.ndarray,
    x_top: float = 0.0,
) -> None:
    """A body of elliptic levels ``(z, half depth along x, half width along y, lean share)``."""
    angle = np.arange(8) * (np.pi / 4)
    rings = [
        np.stack(
            [x_top * lean + depth * np.cos(angle), width * np.sin(angle), np.full(8, z)], axis=1
        )
        for z, depth, width, lean in levels
    ]
    sketch.loft(np.stack(rings), material, tint)


def draw_pedestrian(rng: np.random.Generator, kind: str, pose: str) -> Mesh:
    """A person; ``kind`` is adult, child or construction_worker, ``pose`` walking, standing or
    sitting (seat at 0.45 m).
    """
    sketch = Sketch(f"human.pedestrian.{kind}")
    height = float(
        rng.uniform(1.05, 1.4) if kind == "child" else np.clip(rng.normal(1.70, 0.09), 1.5, 1.92)
    )
    unit = height / 1.75
    girth = unit * float(rng.uniform(0.92, 1.22))
    skin = rng.choice(_SKINS)
    shirt, trousers = rng.choice(_CLOTHS, 2)
    worker = kind == "construction_worker"
    top = "vest" if worker else "cloth"
    tint = np.array(rng.choice([(1.0, 1.0, 1.0), (1.1, 0.55, 0.3)])) if worker else shirt
    hip_z, shoulder_z, drop = 0.92 * unit, 1.43 * unit, 0.0
    stride = float(rng.uniform(0.18, 0.34)) * unit if pose == "walking" else 0.03
    lean = 0.05 * unit if pose == "walking" else 0.0
    skirt = not worker and pose != "sitting" and rng.random() < 0.2
    if pose == "sitting":
        drop = hip_z - 0.52
    for side in (-1, 1):
        y = side * 0.09 * girth
        foot = side * stride
        if pose == "sitting":
            path = [(0.0, y, 0.52), (0.42 * unit, y, 0.52), (0.42 * unit, y, 0.06)]
        else:
            bend = 0.10 * unit if side * stride < 0 and pose == "walking" else 0.03 * unit
            path = [(0.0, y, hip_z), (foot * 0.45 + bend, y, 0.50 * unit), (foot, y, 0.07)]
        sketch.tube(path, [0.085 * girth, 0.065 * girth, 0.045 * girth], "cloth", trousers)
        sketch.box(
            (path[-1][0] + 0.05 * unit, y, 0.045), (0.26 * unit, 0.095 * unit, 0.09), "plastic_dark"
        )
        swing = -foot * 0.8 if pose == "walking" else 0.04
        raised = not worker and rng.random() < 0.12
        elbow = (0.10 if raised else swing * 0.4, side * 0.24 * girth, 1.14 * unit - drop)
        hand = (
            (0.27, side * 0.14, 1.30 * unit - drop)
            if raised
            else (swing + 0.06, side * 0.25 * girth, 0.88 * unit - drop)
        )
        sketch.tube(
            [(lean, side * 0.20 * girth, shoulder_z - 0.04 - drop), elbow, hand],
            [0.055 * girth, 0.045 * girth, 0.035 * girth],
            top,
            tint,
        )
        sketch.blob(hand, (0.045, 0.045, 0.05), "skin", skin)
    levels = [
        (hip_z - 0.06 - drop, 0.10, 0.155, 0.0),
        (1.08 * unit - drop, 0.095, 0.14, 0.4),
        (1.33 * unit - drop, 0.115, 0.18, 0.9),
    ]
    levels.append((shoulder_z + 0.02 - drop, 0.07, 0.15, 1.0))
    _ellipse_tube(
        sketch,
        [(z, depth * girth, width * girth, share) for z, depth, width, share in levels],
        top,
        tint,
        lean,
    )
    if skirt:
        _ellipse_tube(
            sketch,
            [
                (0.5 * unit, 0.2 * girth, 0.22 * girth, 0.0),
                (hip_z + 0.05, 0.11 * girth, 0.16 * girth, 0.0),
            ],
            "cloth",
            trousers,
        )
    head_z = 1.64 * unit - drop
    sketch.tube([(lean, 0, shoulder_z - drop), (lean, 0, head_z)], 0.055 * unit, "skin", skin)
    sketch.blob(
        (lean + 0.01, 0, head_z),
        (0.095 * unit, 0.078 * unit, 0.12 * unit),
        "skin",
        skin,
        finer=True,
    )
    if worker:
        sketch.blob(
            (lean, 0, head_z + 0.05),
            (0.135 * unit, 0.12 * unit, 0.10 * unit),
            "barrier_plastic",
            rng.choice([(1, 1, 1), (1, 0.8, 0.1), (0.2, 0.4, 0.8)]),
            finer=True,
        )
    else:
        sketch.blob(
            (lean - 0.015, 0, head_z + 0.03), (0.10 * unit, 0.09 * unit, 0.105 * unit), "hair"
        )
        _carried(sketch, rng, unit, drop)
    return sketch.mesh()


def _carried(sketch: Sketch, rng: np.random.Generator, unit: float, drop: float) -> None:
    draw = rng.random()
    tint = rng.choice(_CLOTHS)
    if draw < 0.25:
        sketch.box((-0.20 * unit, 0, 1.22 * unit - drop), (0.17, 0.30, 0.44), "cloth", tint)
    elif draw < 0.4:
        sketch.box((0.05, 0.30 * unit, 0.70 * unit - 0.5 * drop), (0.32, 0.12, 0.28), "cloth", tint)


def draw_rider(
    sketch: Sketch,
    rng: np.random.Generator,
    hip: tuple[float, float, float],
    hands: tuple[float, float, float],
    feet: tuple[float, float, float],
    helmet: bool,
) -> None:
    """A seated rider added to a cycle; ``hands`` and ``feet`` are those of the left side."""
    skin = rng.choice(_SKINS)
    shirt, trousers = rng.choice(_CLOTHS, 2)
    neck = (hip[0] + 0.26, 0.0, hip[2] + 0.50)
    sketch.tube(
        [hip, ((hip[0] + neck[0]) / 2, 0.0, (hip[2] + neck[2]) / 2), neck],
        [0.16, 0.165, 0.12],
        "cloth",
        shirt,
        sides=8,
    )
    for side in (-1, 1):
        grip = (hands[0], side * hands[1], hands[2])
        shoulder = (neck[0] - 0.03, side * 0.19, neck[2] - 0.05)
        elbow = (
            (shoulder[0] + grip[0]) / 2 - 0.02,
            side * 0.27,
            (shoulder[2] + grip[2]) / 2 - 0.09,
        )
        sketch.tube([shoulder, elbow, grip], [0.06, 0.045, 0.04], "cloth", shirt)
        foot = (feet[0], side * feet[1], feet[2] + (0.16 if side > 0 else 0.0))
        knee = (max(hip[0], foot[0]) + 0.26, side * 0.16, (hip[2] + foot[2]) / 2 + 0.12)
        sketch.tube(
            [(hip[0], side * 0.09, hip[2]), knee, foot], [0.09, 0.07, 0.05], "cloth", trousers
        )
        sketch.box((foot[0] + 0.05, foot[1], foot[2] - 0.03), (0.26, 0.09, 0.09), "plastic_dark")
    head = (neck[0] + 0.04, 0.0, neck[2] + 0.20)
    sketch.tube([neck, head], 0.055, "skin", skin)
    sketch.blob(head, (0.10, 0.08, 0.12), "skin", skin, finer=True)
    if helmet:
        sketch.blob(
            (head[0] - 0.01, 0.0, head[2] + 0.03),
            (0.14, 0.12, 0.13),
            "paint",
            rng.choice(_CLOTHS),
            finer=True,
        )
    else:
        sketch.blob((head[0] - 0.02, 0.0, head[2] + 0.03), (0.105, 0.09, 0.11), "hair")
