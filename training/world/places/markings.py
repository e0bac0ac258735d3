"""Lane lines, stop lines, zebra crossings and bay marks: thin sheets a few millimetres above the
carriageway.
"""

from __future__ import annotations

import numpy as np

from training.world.places.layout import RoadPlan
from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID

_LIFT_M = 0.008
_LINE_M = 0.14
Rectangle = tuple[float, float, float, float, str]
"""s from, s to, d from, d to, material."""


def _clear_of(
    plan: RoadPlan, start: float, end: float, margin_m: float
) -> list[tuple[float, float]]:
    """What of a stretch of the main road is left between crossings."""
    pieces = [(start, end)]
    for cross in plan.crossings:
        low, high = (
            cross.s_m - cross.half_m - cross.corner_m - margin_m,
            cross.s_m + cross.half_m + cross.corner_m + margin_m,
        )
        pieces = [
            part
            for a, b in pieces
            for part in ((a, min(b, low)), (max(a, high), b))
            if part[1] - part[0] > 1.0
        ]
    return pieces


def _along(plan: RoadPlan, d: float, material: str, dash: float, gap: float) -> list[Rectangle]:
    return [
        (s, min(s + dash, end), d - _LINE_M / 2, d + _LINE_M / 2, material)
        for start, end in _clear_of(plan, *plan.s_range_m, 5.0)
        for s in np.arange(start, end, dash + gap)
    ]


def _main_road(plan: RoadPlan) -> list[Rectangle]:
    boston = plan.traffic > 0
    middle = "marking_yellow" if boston else "marking_white"
    lines: list[Rectangle] = []
    for direction in (-1, 1):
        for lane in range(1, plan.lanes):
            lines += _along(
                plan,
                direction * (plan.median_m / 2 + lane * plan.lane_m),
                "marking_white",
                2.5,
                4.0,
            )
        if plan.median_m:
            lines += _along(plan, direction * (plan.median_m / 2 + 0.25), middle, 4.0, 0.0)
        elif boston or plan.lanes > 1:
            lines += _along(plan, direction * 0.13, middle, 4.0, 0.0)
        side = plan.sides[direction]
        if side.bay_m:
            lines += _along(plan, direction * plan.edge_m, "marking_white", 1.0, 1.0)
        elif not boston:
            lines += _along(plan, direction * (plan.edge_m - 0.25), "marking_yellow", 4.0, 0.0)
            lines += _along(plan, direction * (plan.edge_m - 0.55), "marking_yellow", 4.0, 0.0)
    if not plan.median_m and not boston and plan.lanes == 1:
        lines += _along(plan, 0.0, middle, 2.0, 3.0)
    return lines


def _crossing(plan: RoadPlan, index: int) -> list[Rectangle]:
    cross = plan.crossings[index]
    lines: list[Rectangle] = []
    stripe, gap = (0.5, 0.5)
    for along in (-1, 1):
        zebra = cross.s_m + along * (cross.half_m + cross.corner_m + 1.5)
        for d in np.arange(-plan.edge_m + 0.25, plan.edge_m - 0.25, stripe + gap):
            lines.append((zebra - 1.4, zebra + 1.4, d, d + stripe, "marking_white"))
        stop = cross.s_m + along * (cross.half_m + cross.corner_m + 4.0)
        near, far = (
            -along * -1 * plan.traffic * plan.median_m / 2,
            along * plan.traffic * plan.edge_m,
        )
        lines.append((stop - 0.2, stop + 0.2, near, far, "marking_white"))
    for side in cross.arms:
        kerb = plan.kerb_m(side) + cross.corner_m
        for s in np.arange(
            cross.s_m - cross.half_m + 0.25, cross.s_m + cross.half_m - 0.25, stripe + gap
        ):
            lines.append((s, s + stripe, side * (kerb + 0.2), side * (kerb + 2.6), "marking_white"))
        stop_s = (cross.s_m, cross.s_m - side * plan.traffic * cross.half_m)
        lines.append((*stop_s, side * (kerb + 3.6), side * (kerb + 4.0), "marking_white"))
        middle = "marking_yellow" if plan.traffic > 0 else "marking_white"
        for d in np.arange(kerb + 5.0, max(map(abs, plan.d_range_m)), 5.0):
            lines.append((cross.s_m - 0.07, cross.s_m + 0.07, side * d, side * (d + 3.0), middle))
    return lines


def draw_markings(plan: RoadPlan) -> Mesh:
    """All markings as one mesh of driveable surface."""
    lines = _main_road(plan) + [
        line for index in range(len(plan.crossings)) for line in _crossing(plan, index)
    ]
    bounds = np.array([[min(a, b), max(a, b), min(c, d), max(c, d)] for a, b, c, d, _ in lines])
    corner_s = bounds[:, [0, 1, 1, 0]]
    corner_d = bounds[:, [2, 2, 3, 3]]
    z = plan.base_height(corner_s, corner_d) + _LIFT_M
    vertices = np.concatenate([plan.world(corner_s, corner_d), z[..., None]], axis=-1).reshape(
        -1, 3
    )
    quads = np.arange(len(vertices)).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    material = np.array([MATERIAL_ID[name] for *_, name in lines], np.uint8)
    return Mesh(
        vertices=vertices.astype(np.float32),
        triangles=triangles.astype(np.int32),
        material=np.tile(material, 2),
        category=np.full(len(triangles), CATEGORY_ID["flat.driveable_surface"], np.uint8),
        tint=np.ones((len(triangles), 3), np.float32),
    )
