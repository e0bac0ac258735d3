"""Makes a drive through a generated town."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np

from occ_core.taxonomy import REGIONS, WEATHERS
from training.world.places.districts import PLAIN, District, adapt_roads, draw_district
from training.world.places.ego import MANOEUVRES, ego_route, simulate_driver
from training.world.places.kerbside import use_kerb
from training.world.places.land_use import fill_plots
from training.world.places.oblique_streets import build_oblique_street, plan_oblique_streets
from training.world.places.pedestrians import add_pedestrians
from training.world.places.rare_actors import add_rare_actors
from training.world.places.road.ground import Ground
from training.world.places.road.ground_mesh import ground_mesh
from training.world.places.road.layout import RoadPlan, plan_roads
from training.world.places.road.looks import draw_levels, dress_ground, wear
from training.world.places.road.markings import draw_markings
from training.world.places.road.paving import pave
from training.world.places.roadside import (
    add_signals,
    furnish_cross_streets,
    furnish_median,
    furnish_roadside,
)
from training.world.places.stage import Stage
from training.world.places.traffic import add_traffic
from training.world.places.trajectories import RouteMotion
from training.world.scene import Drive
from training.world.style import TOWN, WorldStyle
from training.world.things.meshes import join

_EGO_LENGTH_M, _EGO_WIDTH_M, _EGO_CENTRE_M = 4.6, 2.0, 1.45
"""Size of the ego vehicle, and distance from the rear axle to its centre."""
_WHEELBASE_M = 2.6
_MAX_STREET_M = 240.0


def make_drive(
    seed: int,
    index: int,
    weather: str | None = None,
    region: str | None = None,
    duration_s: float = 20.0,
    style: WorldStyle = TOWN,
) -> Drive:
    """A drive through a town of its own; the same arguments give the same drive.

    Args:
        seed: seed of the whole data set.
        index: number of the drive in the data set.
        weather: one of ``taxonomy.WEATHERS`` except "unknown"; random if None.
        region: one of ``taxonomy.REGIONS`` except "unknown"; random if None.
        duration_s: duration of the drive in seconds.
        style: the kind of world.

    Raises:
        ValueError: the weather or the region is unknown, or the duration is not positive.
    """
    if weather is not None and weather not in WEATHERS[1:]:
        raise ValueError(f"weather must be one of {WEATHERS[1:]}, got {weather!r}")
    if region is not None and region not in REGIONS[1:]:
        raise ValueError(f"region must be one of {REGIONS[1:]}, got {region!r}")
    if duration_s <= 0:
        raise ValueError(f"duration_s must be positive, got {duration_s}")
    rng = np.random.default_rng([seed, index])
    # Drawn even when it is given, so that everything else stays the same.
    weathers, probabilities = list(style.weathers), list(style.weathers.values())
    random_weather = str(rng.choice(weathers, p=probabilities))
    random_region = str(rng.choice(REGIONS[1:], p=[0.4, 0.2, 0.2, 0.2]))
    weather, region = weather or random_weather, region or random_region
    manoeuvre = str(rng.choice(MANOEUVRES, p=[0.45, 0.12, 0.18, 0.14, 0.11]))
    district = draw_district(style.places, rng)
    roads = partial(adapt_roads, district=district, style=style.places, rng=rng)
    plan, ego, manoeuvre, notes = _plan_route(rng, region, manoeuvre, duration_s, roads)

    ground = Ground(plan, draw_levels(style.places, rng))
    pave(plan, ground)
    stage = Stage(rng, plan, ground, ego, manoeuvre, duration_s, district, style.places)
    stage.clearance.admit(ego, _EGO_LENGTH_M, _EGO_WIDTH_M + 0.5, _EGO_CENTRE_M)
    _furnish(stage)
    near_s = float(stage.ego_sd[:, 0].min()) - 20.0, float(stage.ego_sd[:, 0].max()) + 60.0
    dress_ground(ground, style.places, rng, near_s)
    marks = [wear(mesh, style.places, rng) for mesh in draw_markings(plan)]
    return Drive(
        name=f"town-{seed}-{index:04d}",
        static=join([ground_mesh(ground), *marks, *stage.scenery()]),
        actors=tuple(stage.actors),
        world_from_ego=ego,
        duration_s=duration_s,
        weather=weather,
        region=region,
        description=_description(
            weather, [*_place_notes(district), *notes, *_traffic_notes(stage)]
        ),
        lamps=stage.lamps(),
        style=style,
    )


def _furnish(stage: Stage) -> None:
    """Puts all scenery and actors onto the stage."""
    streets = plan_oblique_streets(stage)
    fill_plots(stage, streets)
    for street in streets:
        build_oblique_street(stage, street)
    add_signals(stage)
    for side in (-1, 1):
        use_kerb(stage, side)
        furnish_roadside(stage, side)
    if stage.plan.median_m:
        furnish_median(stage)
    furnish_cross_streets(stage)
    add_traffic(stage)
    add_pedestrians(stage)
    add_rare_actors(stage)


def _plan_route(
    rng: np.random.Generator,
    region: str,
    manoeuvre: str,
    duration_s: float,
    adapt: Callable[[RoadPlan], RoadPlan],
) -> tuple[RoadPlan, RouteMotion, str, list[str]]:
    """The streets, the motion of the ego vehicle, its manoeuvre, and notes for the description.

    ``adapt`` changes the streets as the district wants them; without a crossing the ego vehicle
    cannot turn or stop at one.
    """
    speed = float(rng.uniform(3.0, 11.5))
    first_crossing_s = float(rng.uniform(25.0, 55.0))
    length = {"through": speed * duration_s, "start": speed * max(duration_s - 6.0, 1.0)}.get(
        manoeuvre, first_crossing_s + 10.0
    )
    length = min(length, _MAX_STREET_M)
    crossings_s = [first_crossing_s]
    if rng.random() < 0.6:
        gap = float(rng.uniform(60.0, 95.0)) * (1 if length > 60 else rng.choice([-1, 1]))
        crossings_s.append(first_crossing_s + gap)
    turns = {"near turn": -1, "far turn": 1}
    side = turns.get(manoeuvre, 0) * (1 if region == "boston-seaport" else -1)
    reach = (-50.0 if side < 0 else 0.0, 50.0 if side > 0 else 0.0)
    plan = adapt(plan_roads(rng, region, length, crossings_s, reach))
    if not plan.crossings:
        manoeuvre = "start" if manoeuvre == "start" else "through"
        side = 0
    lane = {"near turn": plan.lanes - 1, "far turn": 0}.get(
        manoeuvre, int(rng.integers(plan.lanes))
    )
    crossing = plan.crossings[0] if plan.crossings else None
    route = ego_route(plan, lane, side, crossing)
    start = route.distance_at_s(0.0)
    slow, wait_s, stop_line_s = [], 0.0, 0.0
    notes = []
    if crossing:
        stop_line_s = crossing.s_m - crossing.half_m - crossing.corner_m - 4.0
        notes.append("intersection")
    if manoeuvre in turns:
        turn_start = route.distance_at_s(stop_line_s)
        slow.append((turn_start, turn_start + 26.0, float(rng.uniform(3.5, 5.0))))
        speed = min(speed, 8.0)
        notes.append("turn left" if side > 0 else "turn right")
    elif manoeuvre == "stop":
        cars_ahead = int(rng.integers(0, 3))
        slow.append((route.distance_at_s(stop_line_s - 5.0) - 8.0 * cars_ahead, 1e9, 0.0))
        notes.append("wait at traffic light")
    elif manoeuvre == "start":
        wait_s = float(rng.uniform(2.0, 6.0))
        notes.append("start from standing")
    times, distances = simulate_driver(route, start, speed, speed, wait_s, slow, duration_s)
    return plan, RouteMotion(plan, route, times, distances, (_WHEELBASE_M, 0.15)), manoeuvre, notes


def _place_notes(district: District) -> list[str]:
    return [] if district is PLAIN else [district.name]


def _traffic_notes(stage: Stage) -> list[str]:
    """Notes on the traffic, in the words of nuScenes' descriptions."""
    counts = Counter(f"{actor.category} {actor.attribute}" for actor in stage.actors)
    pedestrians = "human.pedestrian.adult pedestrian.moving"
    notes = {
        "vehicle.car vehicle.parked": "parked cars",
        "vehicle.bus.rigid vehicle.moving": "bus",
        "vehicle.truck vehicle.parked": "parked trucks",
        "vehicle.truck vehicle.moving": "moving truck",
        "vehicle.construction vehicle.parked": "construction zone",
        "vehicle.bicycle cycle.with_rider": "cyclist",
        "vehicle.motorcycle cycle.with_rider": "motorcycle",
        pedestrians: "many peds" if counts[pedestrians] > 12 else "peds",
    }
    return [note for actors, note in notes.items() if counts[actors]]


def _description(weather: str, notes: list[str]) -> str:
    weather_notes = {
        "clear": [],
        "rain": ["Rain"],
        "night": ["Night"],
        "rain at night": ["Night", "rain"],
    }
    text = ", ".join([*weather_notes[weather], *notes])
    return text[0].upper() + text[1:]
