"""Road markings: lane lines, stop lines and zebra crossings."""

from __future__ import annotations

import numpy as np

from training.world.places.road.layout import CrossStreet, RoadPlan
from training.world.scene import Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID

_LIFT_M = 0.008
"""Height above the carriageway, which keeps rays from hitting both at once."""
_LINE_M = 0.14
_ZEBRA_M = 0.5
"""Width of a zebra crossing's stripes, and of the gaps between them."""

_Rectangle = tuple[float, float, float, float, str]
"""Two values of s, two of d, and a material."""


def draw_markings(plan: RoadPlan) -> list[Mesh]:
    """Draws all markings as meshes of driveable surface, in the world frame; one at most."""
    marks = _main_road(plan) if plan.is_marked else []
    for cross in plan.crossings if plan.is_marked or plan.has_signals else ():
        marks += _crossing(plan, cross)
    return [_flat_mesh(plan, marks)] if marks else []


def _flat_mesh(plan: RoadPlan, marks: list[_Rectangle]) -> Mesh:
    bounds = np.array([[min(a, b), max(a, b), min(c, d), max(c, d)] for a, b, c, d, _ in marks])
    corner_s, corner_d = bounds[:, [0, 1, 1, 0]], bounds[:, [2, 2, 3, 3]]
    z = plan.base_height(corner_s, corner_d) + _LIFT_M
    vertices = np.concatenate([plan.world(corner_s, corner_d), z[..., None]], -1).reshape(-1, 3)
    quads = np.arange(len(vertices)).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    material = np.array([MATERIAL_ID[name] for *_, name in marks], np.uint8)
    return Mesh(
        vertices=vertices.astype(np.float32),
        triangles=triangles.astype(np.int32),
        material=np.tile(material, 2),
        category=np.full(len(triangles), CATEGORY_ID["flat.driveable_surface"], np.uint8),
        tint=np.ones((len(triangles), 3), np.float32),
        reflectance=np.ones(len(triangles), np.float32),
    )


def _line(plan: RoadPlan, d: float, material: str, dash: float, gap: float) -> list[_Rectangle]:
    """A dashed line along the main road, interrupted at crossings; solid where ``gap`` is 0."""
    return [
        (s, min(s + dash, end), d - _LINE_M / 2, d + _LINE_M / 2, material)
        for start, end in plan.away_from_crossings(*plan.s_range_m, margin_m=5.0, shortest_m=1.0)
        for s in np.arange(start, end, dash + gap)
    ]


def _main_road(plan: RoadPlan) -> list[_Rectangle]:
    boston = plan.driving_side < 0
    middle = "marking_yellow" if boston else "marking_white"
    marks: list[_Rectangle] = []
    for side, parts in sorted(plan.sides.items()):
        for lane in range(1, plan.lanes):
            d = side * (plan.median_m / 2 + lane * plan.lane_m)
            marks += _line(plan, d, "marking_white", 2.5, 4.0)
        if plan.median_m:
            marks += _line(plan, side * (plan.median_m / 2 + 0.25), middle, 4.0, 0.0)
        elif boston or plan.lanes > 1:
            marks += _line(plan, side * 0.13, middle, 4.0, 0.0)
        if parts.bay_m:
            marks += _line(plan, side * plan.edge_m, "marking_white", 1.0, 1.0)
        elif not boston:  # Singapore: double yellow lines where one must not park
            marks += _line(plan, side * (plan.edge_m - 0.25), "marking_yellow", 4.0, 0.0)
            marks += _line(plan, side * (plan.edge_m - 0.55), "marking_yellow", 4.0, 0.0)
    if not plan.median_m and not boston and plan.lanes == 1:
        marks += _line(plan, 0.0, middle, 2.0, 3.0)
    return marks


def _crossing(plan: RoadPlan, cross: CrossStreet) -> list[_Rectangle]:
    """Zebra crossings and stop lines of all approaches, and the cross street's middle line."""
    marks: list[_Rectangle] = []
    edge, half = plan.edge_m, cross.half_m
    for along in (-1, 1):
        zebra = cross.s_m + along * (half + cross.corner_m + 1.5)
        for d in np.arange(-edge + 0.25, edge - 0.25, 2 * _ZEBRA_M):
            marks.append((zebra - 1.4, zebra + 1.4, d, d + _ZEBRA_M, "marking_white"))
        stop = cross.s_m + along * (half + cross.corner_m + 4.0)
        side = -along * plan.driving_side  # on which traffic approaches
        near, far = side * plan.median_m / 2, side * edge
        marks.append((stop - 0.2, stop + 0.2, near, far, "marking_white"))
    for side in cross.sides:
        kerb = plan.kerb_m(side) + cross.corner_m
        zebra_d = (side * (kerb + 0.2), side * (kerb + 2.6))
        for s in np.arange(cross.s_m - half + 0.25, cross.s_m + half - 0.25, 2 * _ZEBRA_M):
            marks.append((s, s + _ZEBRA_M, *zebra_d, "marking_white"))
        stop_s = (cross.s_m, cross.s_m + side * plan.driving_side * half)
        marks.append((*stop_s, side * (kerb + 3.6), side * (kerb + 4.0), "marking_white"))
        middle = "marking_yellow" if plan.driving_side < 0 else "marking_white"
        for d in np.arange(kerb + 5.0, plan.reach_m, 5.0):
            marks.append((cross.s_m - 0.07, cross.s_m + 0.07, side * d, side * (d + 3.0), middle))
    return marks
