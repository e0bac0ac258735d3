"""Pedestrians on pavements and zebra crossings."""

from __future__ import annotations

import numpy as np

from training.world.places.road.layout import CrossStreet
from training.world.places.routes import straight_route
from training.world.places.stage import Stage
from training.world.places.trajectories import RouteMotion

_KINDS, _FREQUENCIES = ("adult", "child", "construction_worker"), (0.88, 0.07, 0.05)


def add_pedestrians(stage: Stage) -> None:
    """Adds people who walk or stand; those who would touch another actor are left out."""
    _pavements_of_main_road(stage)
    for cross in stage.plan.crossings:
        _pavements_of_cross_street(stage, cross)
        if stage.manoeuvre in ("stop", "far turn", "start", "near turn"):
            _zebra_crossings(stage, cross)


def _pavements_of_main_road(stage: Stage) -> None:
    """Single walkers, and one in four times a group that stands together."""
    rng, plan = stage.rng, stage.plan
    s_min, s_max = stage.ego_sd[:, 0].min() - 40, stage.ego_sd[:, 0].max() + 60
    for _ in range(int(rng.integers(60, 120) * stage.district.people)):
        side = int(rng.choice([-1, 1]))
        inner, outer = plan.pavement_m(side)
        outer += min(plan.sides[side].forecourt_m, 1.0)
        d = side * float(rng.uniform(inner + 0.3, outer - 0.3))
        s = float(rng.uniform(s_min, s_max))
        kind = str(rng.choice(_KINDS, p=_FREQUENCIES))
        if rng.random() < 0.25:
            for _ in range(int(rng.integers(1, 4))):
                stage.person(s + rng.normal(0, 0.8), d + rng.normal(0, 0.4), kind)
            continue
        step = int(rng.choice([-1, 1])) * 20
        _walk(stage, kind, (s - step, d), (s + step, d), 20.0)


def _pavements_of_cross_street(stage: Stage, cross: CrossStreet) -> None:
    rng = stage.rng
    for _ in range(stage.district.fewer(8)):
        side = int(rng.choice(cross.sides))
        along = int(rng.choice([-1, 1]))
        s = cross.s_m + along * (cross.half_m + cross.pavement_m * rng.uniform(0.3, 0.8))
        middle = stage.plan.pavement_m(side)[1] + float(rng.uniform(3, 45))
        step = int(rng.choice([-1, 1])) * 20
        _walk(stage, "adult", (s, side * (middle - step)), (s, side * (middle + step)), 20.0)


def _zebra_crossings(stage: Stage, cross: CrossStreet) -> None:
    """People who cross the main road while its traffic waits."""
    rng, plan = stage.rng, stage.plan
    for _ in range(stage.district.fewer(12)):
        along, direction = int(rng.choice([-1, 1])), int(rng.choice([-1, 1]))
        s = cross.s_m + along * (cross.half_m + cross.corner_m + 1.5 + rng.uniform(-1.1, 1.1))
        start_d, end_d = (
            side * (plan.pavement_m(side)[0] + 1.0) for side in (-direction, direction)
        )
        _walk(stage, "adult", (s, start_d), (s, end_d), float(rng.uniform(5.0, 25.0)))


def _walk(
    stage: Stage, kind: str, start: tuple[float, float], end: tuple[float, float], middle_m: float
) -> None:
    """Adds a walker from one point (s, d) towards another, at ``middle_m`` halfway the drive."""
    route = straight_route(stage.plan, start, end)
    speed = float(np.clip(stage.rng.normal(1.3, 0.2), 0.7, 1.9))
    distance = middle_m + speed * (stage.ends_s - stage.duration_s * 0.5)
    mesh = stage.catalogue.pedestrian(kind, "walking")
    motion = RouteMotion(stage.plan, route, stage.ends_s, distance, (0.2, 0.2), stage.ground)
    stage.add_actor(mesh, motion, "pedestrian.moving")
