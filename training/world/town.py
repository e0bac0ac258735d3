"""Makes a drive through a generated town: ``make_drive`` is all that others need."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from occ_core.taxonomy import REGIONS, WEATHERS
from training.world.places.ground import Ground, pave
from training.world.places.kerbside import line_kerbs
from training.world.places.layout import RoadPlan, plan_roads
from training.world.places.markings import draw_markings
from training.world.places.plots import fill_plots
from training.world.places.population import populate
from training.world.places.stage import Stage
from training.world.places.traffic import MANOEUVRES, Moving, driven_lengths, ego_route
from training.world.scene import Drive
from training.world.things.meshes import join

_WEATHER_SHARE = {"clear": 0.4, "rain": 0.22, "night": 0.22, "rain at night": 0.16}
_EGO_LENGTH_M, _EGO_WIDTH_M, _EGO_CENTRE_M = 4.6, 2.0, 1.45
"""The ego vehicle's body, and its middle ahead of the rear axle."""
_WHEELBASE_M = 2.6


def make_drive(
    seed: int,
    index: int,
    weather: str | None = None,
    region: str | None = None,
    duration_s: float = 20.0,
) -> Drive:
    """A drive through a town of its own, the same for the same arguments.

    Args:
        seed: of the whole data set.
        index: of the drive in it.
        weather: one of ``taxonomy.WEATHERS`` but "unknown"; drawn where None.
        region: one of ``taxonomy.REGIONS`` but "unknown"; drawn where None.
        duration_s: how long it lasts.

    Raises:
        ValueError: an unknown weather or region, or a duration that is not positive.
    """
    if weather is not None and weather not in _WEATHER_SHARE:
        raise ValueError(f"weather {weather!r} is none of {WEATHERS[1:]}")
    if region is not None and region not in REGIONS[1:]:
        raise ValueError(f"region {region!r} is none of {REGIONS[1:]}")
    if duration_s <= 0:
        raise ValueError(f"duration_s must be positive, got {duration_s}")
    rng = np.random.default_rng([seed, index])
    drawn_weather = str(rng.choice(list(_WEATHER_SHARE), p=list(_WEATHER_SHARE.values())))
    drawn_region = str(rng.choice(REGIONS[1:], p=[0.4, 0.2, 0.2, 0.2]))
    weather, region = weather or drawn_weather, region or drawn_region
    manoeuvre = str(rng.choice(MANOEUVRES, p=[0.45, 0.12, 0.18, 0.14, 0.11]))
    plan, ego, notes = _plan_way(rng, region, manoeuvre, duration_s)

    ground = Ground(plan)
    pave(plan, ground)
    stage = Stage(rng, plan, ground, ego, manoeuvre, duration_s)
    stage.clearance.admit(ego, _EGO_LENGTH_M, _EGO_WIDTH_M + 0.5, _EGO_CENTRE_M)
    fill_plots(stage)
    line_kerbs(stage)
    populate(stage)
    static = join([ground.mesh(), draw_markings(plan), *stage.scenery()])
    return Drive(
        name=f"town-{seed}-{index:04d}",
        static=static,
        actors=tuple(stage.actors),
        world_from_ego=ego,
        duration_s=duration_s,
        weather=weather,
        region=region,
        description=_describe(weather, [*notes, *_seen(stage)]),
        lamps=stage.lamps(),
    )


def _plan_way(
    rng: np.random.Generator, region: str, manoeuvre: str, duration_s: float
) -> tuple[RoadPlan, Moving, list[str]]:
    """Streets, the ego vehicle's motion, and words about them."""
    speed = float(rng.uniform(3.0, 11.5))
    first = float(rng.uniform(25.0, 55.0))
    length = {"through": speed * duration_s, "start": speed * max(duration_s - 6.0, 1.0)}.get(
        manoeuvre, first + 10.0
    )
    length = min(length, 240.0)
    crossing_s = [first]
    if rng.random() < 0.6:
        crossing_s.append(
            first + float(rng.uniform(60.0, 95.0)) * (1 if length > 60 else rng.choice([-1, 1]))
        )
    turns = {"near turn": -1, "far turn": 1}
    side = turns.get(manoeuvre, 0) * (1 if region == "boston-seaport" else -1)
    reach = (-50.0 if side < 0 else 0.0, 50.0 if side > 0 else 0.0)
    plan = plan_roads(rng, region, length, crossing_s, reach)
    lane = {"near turn": plan.lanes - 1, "far turn": 0}.get(
        manoeuvre, int(rng.integers(plan.lanes))
    )
    cross = plan.crossings[0]
    route = ego_route(plan, lane, side, cross)
    start = route.length_at_s(0.0)
    slow, wait = [], 0.0
    notes = ["intersection"]
    if manoeuvre in turns:
        turning = route.length_at_s(cross.s_m - cross.half_m - cross.corner_m - 4.0)
        slow.append((turning, turning + 26.0, float(rng.uniform(3.5, 5.0))))
        speed = min(speed, 8.0)
        notes.append("turn left" if side > 0 else "turn right")
    elif manoeuvre == "stop":
        line = cross.s_m - cross.half_m - cross.corner_m - 4.0
        slow.append((route.length_at_s(line - 5.0) - 8.0 * int(rng.integers(0, 3)), 1e9, 0.0))
        notes.append("wait at traffic light")
    elif manoeuvre == "start":
        wait = float(rng.uniform(2.0, 6.0))
        notes.append("start from standing")
    times, lengths = driven_lengths(route, start, speed, speed, wait, slow, duration_s)
    return plan, Moving(plan, route, times, lengths, (_WHEELBASE_M, 0.15)), notes


def _seen(stage: Stage) -> list[str]:
    """Words for what is to be seen, in the way of nuScenes' descriptions."""
    counts: dict[str, int] = defaultdict(int)
    for actor in stage.actors:
        counts[f"{actor.category} {actor.attribute}"] += 1
    words = {
        "vehicle.car vehicle.parked": "parked cars",
        "vehicle.bus.rigid vehicle.moving": "bus",
        "vehicle.truck vehicle.parked": "parked trucks",
        "vehicle.truck vehicle.moving": "moving truck",
        "vehicle.construction vehicle.parked": "construction zone",
        "vehicle.bicycle cycle.with_rider": "cyclist",
        "vehicle.motorcycle cycle.with_rider": "motorcycle",
        "human.pedestrian.adult pedestrian.moving": "many peds"
        if counts["human.pedestrian.adult pedestrian.moving"] > 12
        else "peds",
    }
    return [word for key, word in words.items() if counts[key]]


def _describe(weather: str, notes: list[str]) -> str:
    lead = {"clear": [], "rain": ["Rain"], "night": ["Night"], "rain at night": ["Night", "rain"]}[
        weather
    ]
    text = ", ".join([*lead, *notes])
    return text[0].upper() + text[1:]
