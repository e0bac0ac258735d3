"""Streets that leave the main road at an angle, and what stands on pavements and at their edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from training.world.places.districts import DISTRICTS, PLAIN, District
from training.world.places.ego import ego_route
from training.world.places.kerbside import use_kerb
from training.world.places.land_use import fill_plots
from training.world.places.oblique_streets import (
    ObliqueStreet,
    build_oblique_street,
    plan_oblique_streets,
)
from training.world.places.pavement_edges import line_pavement
from training.world.places.plots import Plot
from training.world.places.road.ground import Ground
from training.world.places.road.layout import RoadSide, plan_roads
from training.world.places.road.paving import pave
from training.world.places.stage import Stage
from training.world.places.trajectories import RouteMotion, StaticPose
from training.world.style import HARD, TOWN
from training.world.things.meshes import CATEGORY_ID

OLD_TOWN = next(each for each in DISTRICTS if each.name == "old town")


def stage_of(seed: int, district: District = OLD_TOWN, side: RoadSide | None = None) -> Stage:
    """A street of 90 m along which the ego vehicle drives 60 m."""
    rng = np.random.default_rng(seed)
    plan = plan_roads(rng, "boston-seaport", 90.0, [140.0], (0.0, 0.0))
    if side is not None:
        plan = replace(plan, sides={-1: side, 1: side})
    ground = Ground(plan)
    pave(plan, ground)
    route = ego_route(plan, 0, 0, None)
    start = route.distance_at_s(0.0)
    ego = RouteMotion(plan, route, np.array([0.0, 11.0]), start + np.array([0.0, 66.0]), (2.6, 0.2))
    style = (TOWN if district is PLAIN else HARD).places
    return Stage(rng, plan, ground, ego, "through", 10.0, district, style)


def straight(side: int, degrees: float) -> ObliqueStreet:
    """From the middle of the road at s = 30."""
    heading = np.full(120, side * np.radians(degrees))
    step = 0.5 * np.array([np.cos(heading[0]), np.sin(heading[0])])
    points = np.array([30.0, 0.0]) + np.arange(120)[:, None] * step
    return ObliqueStreet(side, points, heading, half_m=3.0, pavement_m=2.0)


def test_the_plain_town_has_none_and_draws_nothing() -> None:
    stage, untouched = stage_of(0, PLAIN), stage_of(0, PLAIN)
    assert plan_oblique_streets(stage) == []
    assert stage.rng.random() == untouched.rng.random()


def test_they_leave_the_road_at_any_angle_but_a_right_one() -> None:
    streets = [street for seed in range(60) for street in plan_oblique_streets(stage_of(seed))]
    # One in two roadsides of the old town: 60 of 120, with a deviation of sqrt(120) / 2 = 5.5.
    assert 38 <= len(streets) <= 82
    angles = np.degrees([abs(street.heading[0]) for street in streets])
    from_road = np.minimum(angles, 180 - angles)
    assert from_road.min() >= 25 and from_road.max() <= 75
    assert (angles < 90).any() and (angles > 90).any()
    assert {street.side for street in streets} == {-1, 1}
    for street in streets:
        np.testing.assert_allclose(
            np.linalg.norm(np.diff(street.points_sd, axis=0), axis=1), 0.5, atol=1e-9
        )
        assert street.side * street.points_sd[-1, 1] > 20  # it leads away from the road


def test_left_of_a_street_and_the_plots_that_it_crosses() -> None:
    street = straight(1, 30.0)
    # 20 steps of 0.5 m along 30 degrees, and 4 m to the left of them.
    s, d = street.beside(20, 4.0)
    assert (s, d) == pytest.approx((30 + 10 * np.sqrt(0.75) - 2, 5 + 4 * np.sqrt(0.75)))
    # It passes (64.6, 20); its pavements end 5 m beside it, and 1 m more is kept free.
    assert street.crosses(Plot(1, 60.0, 70.0, 15.0, 25.0, True))
    assert street.crosses(Plot(1, 70.0, 80.0, 15.0, 25.0, True))
    assert not street.crosses(Plot(1, 30.0, 40.0, 25.0, 45.0, True))
    assert not street.crosses(Plot(-1, 60.0, 70.0, -15.0, -25.0, True))


@pytest.mark.parametrize("side", [-1, 1])
def test_a_street_is_paved_free_of_things_and_lined(side: int) -> None:
    stage, street = stage_of(3), straight(side, 50.0)
    fill_plots(stage, [street])
    build_oblique_street(stage, street)
    beyond = np.abs(street.points_sd[:, 1]) > stage.plan.plots_m(side)
    middle = street.points_sd[beyond][:-12]
    assert stage.ground.is_surface(middle[:, 0], middle[:, 1], "road").all()
    for sign in (-1, 1):
        edge = np.array([street.beside(n, sign * 4.0) for n in np.flatnonzero(beyond)[12:-12]])
        assert stage.ground.is_surface(edge[:, 0], edge[:, 1], "pavement", "road").mean() > 0.9
    # Whatever stands upright keeps off the carriageway: 1.5 m from its middle nothing is built.
    world = stage.plan.world(middle[:, 0], middle[:, 1])
    buildings = ("static.manmade",)
    for mesh in stage.scenery():
        for category in buildings:
            corners = mesh.vertices[mesh.triangles[mesh.category == CATEGORY_ID[category]]]
            flat = corners.reshape(-1, 3)[:, :2]
            near = np.linalg.norm(flat[:, None] - world[::4][None], axis=2).min(initial=99.0)
            assert near > 1.5
    assert any(actor.category == "vehicle.car" for actor in stage.actors)


def test_narrow_things_line_both_edges_of_the_pavement(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, put = stage_of(5), list[tuple[str, float]]()

    def record(name: str, draw: object, s: float, d: float, *_: object, **__: object) -> None:
        put.append((name.split()[0], d))

    monkeypatch.setattr(stage, "put", record)
    for _ in range(8):
        line_pavement(stage, -1)
    inner, outer = stage.plan.pavement_m(-1)
    assert {name for name, _ in put} == {"post", "sign", "pole", "tree", "shrub"}
    d = -np.array([each for _, each in put])
    at_inner = np.abs(d - inner - 0.25) < 1e-9
    assert ((d >= outer - 0.2) & (d <= outer + 0.4) | at_inner).all()
    # Two in five at the inner edge: of some 100, 40 with a deviation of sqrt(100 x 0.24) = 5.
    assert 0.2 < at_inner.mean() < 0.6


@pytest.mark.parametrize("pavement_m", [2.0, 4.0])
def test_cars_stand_on_pavements_where_there_is_no_bay(
    pavement_m: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a car's width, at most 2.2 m, at least three tenths are on the pavement: its middle is
    then 0.2 x 2.2 = 0.44 m before the kerb, and half its width behind it where all of it is. Places
    vary by 0.08 m: half a metre is beyond all of them. It is lifted by the same share of the
    pavement's level of 0.14 m.
    """
    side = RoadSide(bay_m=0.0, verge_m=0.0, pavement_m=pavement_m, forecourt_m=0.0)
    district = replace(OLD_TOWN, pavement_parking=1.0, parked=(1.0, 1.0))
    parked = list[tuple[float, float]]()

    def record(
        place: Callable[..., StaticPose],
        kerb_m: float,
        s: float,
        d: float,
        turn: float,
        level_m: float = 0.0,
    ) -> StaticPose:
        parked.append((d - kerb_m, level_m))
        return place(s, d, turn, level_m)

    for seed in range(6):
        stage = stage_of(seed, district, side)
        recording = partial(record, stage.on_road, stage.plan.kerb_m(1))
        monkeypatch.setattr(stage, "on_road", recording)
        use_kerb(stage, 1)
    middle_m, level_m = np.array(parked).T
    on_pavement = level_m > 0  # all but the machines of road works
    assert on_pavement.sum() > 30
    assert middle_m[on_pavement].min() > -0.44 - 0.5 and middle_m[on_pavement].max() < 1.1 + 0.5
    assert level_m.max() <= 0.14 + 1e-9
    # With all four wheels on the wide pavement alone.
    assert (level_m > 0.7 * 0.14 + 1e-9).any() == (pavement_m == 4.0)


def test_no_car_stands_on_a_pavement_of_the_plain_town() -> None:
    side = RoadSide(bay_m=0.0, verge_m=0.0, pavement_m=4.0, forecourt_m=0.0)
    stage = stage_of(0, PLAIN, side)
    use_kerb(stage, 1)
    assert not any(actor.category == "vehicle.car" for actor in stage.actors)
