"""The road plan, the ground and the ego vehicle's drive along it, on a plan of whole numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.world.places.ego import ego_route, simulate_driver
from training.world.places.road.ground import SURFACE_ID, Ground
from training.world.places.road.ground_mesh import ground_mesh
from training.world.places.road.layout import CrossStreet, RoadPlan, RoadSide, cut_out, plan_roads
from training.world.places.road.markings import draw_markings
from training.world.places.road.paving import pave
from training.world.places.routes import straight_route

SIDE = RoadSide(bay_m=2.5, verge_m=2.0, pavement_m=3.0, forecourt_m=1.0)
CROSS = CrossStreet(s_m=50.0, half_m=3.5, pavement_m=2.0, corner_m=5.0, sides=(-1, 1))
PLAN = RoadPlan(
    driving_side=-1,
    lane_m=3.5,
    lanes=2,
    median_m=2.0,
    sides={-1: SIDE, 1: SIDE},
    crossings=(CROSS,),
    s_range_m=(0.0, 100.0),
    d_range_m=(-40.0, 40.0),
    total_turn_rad=0.0,
    heading_rad=np.pi / 2,
    relief=np.zeros((0, 4)),
)


def paved(plan: RoadPlan) -> Ground:
    ground = Ground(plan)
    pave(plan, ground)
    return ground


def test_widths_add_up_from_the_middle() -> None:
    assert PLAN.edge_m == 8.0  # 2 / 2 + 2 x 3.5
    assert PLAN.kerb_m(1) == 10.5  # + 2.5
    assert PLAN.pavement_m(1) == (12.5, 15.5)  # + 2, + 3
    assert PLAN.plots_m(1) == 16.5  # + 1
    # Right-hand traffic: one drives at negative d, the others come at positive d.
    assert PLAN.lane_d(0) == -2.75 and PLAN.lane_d(1, forward=False) == 6.25


def test_a_straight_road_to_the_north() -> None:
    # 30 m to the north, 4 m to the left (west).
    np.testing.assert_allclose(PLAN.world(30.0, 4.0), (-4, 30), atol=1e-9)
    np.testing.assert_allclose(PLAN.world(130.0, 0.0), (0, 130), atol=1e-9)  # beyond the plan


def test_a_quarter_of_a_circle() -> None:
    plan = replace(PLAN, total_turn_rad=np.pi / 2, heading_rad=0.0)
    radius = 100 / (np.pi / 2)
    np.testing.assert_allclose(plan.world(100.0, 0.0), (radius, radius))
    np.testing.assert_allclose(plan.world(50.0, radius), (0, radius), atol=1e-9)  # its centre
    assert plan.heading(50.0) == pytest.approx(np.pi / 4)


def test_what_lies_between_two_values_is_cut_out() -> None:
    assert cut_out([(0, 100)], 40, 60, shortest=5) == [(0, 40), (60, 100)]
    assert cut_out([(0, 44), (50, 100)], 40, 97, shortest=5) == [(0, 40)]  # 3 m are too short
    # The crossing at 50 takes 3.5 + 5 + 1.5 m on both sides.
    stretches = PLAN.away_from_crossings(10, 90, margin_m=1.5, shortest_m=5)
    assert stretches == [(10, 40), (60, 90)]


def test_the_ground_across_the_road() -> None:
    ground = paved(PLAN)
    names = ("island", "road", "road", "grass", "pavement", "pavement", "grass")
    d = np.array([0.2, 4.0, 9.0, 11.5, 14.0, 16.0, 30.0])
    for sign in (-1, 1):
        expected = [SURFACE_ID[name] for name in names]
        np.testing.assert_array_equal(ground.surface_at(20.0, sign * d), expected)
    # The camber of 0.0012 d^2 goes on until the lanes' edge at 8 m; a pavement is 14 cm higher.
    np.testing.assert_allclose(ground.height(20.0, 4.0), -0.0192, atol=1e-6)
    np.testing.assert_allclose(ground.height(20.0, 14.0), -0.0768 + 0.14, atol=1e-6)
    assert ground.is_surface(50.0, 30.0, "road").all()  # the cross street


def test_corners_of_kerbs_are_round() -> None:
    ground = paved(PLAN)
    corner, centre = np.array([53.5, 10.5]), np.array([58.5, 15.5])
    assert ground.is_surface(*(corner + 0.6), "road")  # outside the arc of 5 m
    assert not ground.is_surface(
        *(corner + 2.0), "road"
    )  # inside: 3 sqrt(2) = 4.24 from the centre
    moved = ground.vertices_sd[ground.moved]
    near = moved[np.linalg.norm(moved - corner, axis=1) < 5.0]
    assert len(near) > 5
    np.testing.assert_allclose(np.linalg.norm(near - centre, axis=1), 5.0)


def oblique_line(start: tuple[float, float], degrees: float) -> np.ndarray:
    """Points every half metre over 40 m."""
    angle = np.radians(degrees)
    way = np.arange(0.0, 40.0, 0.5)[:, None]
    return np.array(start) + way * np.array([np.cos(angle), np.sin(angle)])


def test_a_band_at_an_angle_is_as_wide_as_told_and_spares_the_road() -> None:
    ground = paved(PLAN)
    line = oblique_line((5.0, 8.0), 45.0)
    ground.paint_band("pavement", line, 5.0, "road")
    ground.paint_band("road", line, 3.0, "road")
    middle = np.array([5.0, 8.0]) + 25 * np.sqrt(0.5)  # 25 m along the line
    across = np.array([-np.sqrt(0.5), np.sqrt(0.5)])
    for offset, name in ((0.0, "road"), (2.5, "road"), (3.5, "pavement"), (4.5, "pavement")):
        assert ground.is_surface(*(middle + offset * across), name)
        assert ground.is_surface(*(middle - offset * across), name)
    assert ground.is_surface(*(middle + 5.5 * across), "grass")
    assert ground.is_surface(15.0, 7.0, "road")  # the main road, 5 m from the line's start
    # Its edges are smooth: they lie 3 m and 5 m from the line, not on the raster.
    moved = ground.vertices_sd[ground.moved]
    beside = moved[(moved[:, 0] > 20) & (moved[:, 0] < 25) & (moved[:, 1] > 20)]
    offset = np.abs((beside - middle) @ across)
    assert len(beside) > 10
    np.testing.assert_allclose(np.minimum(np.abs(offset - 3), np.abs(offset - 5)), 0.0, atol=0.02)


def test_a_band_beyond_the_town_is_left_out() -> None:
    ground = paved(PLAN)
    before = ground.surface.copy()
    ground.paint_band("road", oblique_line((5.0, 60.0), 80.0), 3.0)
    np.testing.assert_array_equal(ground.surface, before)


@pytest.mark.parametrize("turn", [0.0, 0.5])
@pytest.mark.parametrize("oblique", [False, True])
def test_the_ground_mesh_has_no_holes(turn: float, oblique: bool) -> None:
    plan = replace(PLAN, total_turn_rad=turn)
    ground = paved(plan)
    if oblique:
        ground.paint_band("pavement", oblique_line((10.0, 8.0), 33.0), 5.0, "road")
        ground.paint_band("road", oblique_line((10.0, 8.0), 33.0), 3.0, "road")
    mesh = ground_mesh(ground)
    a, b, c = np.moveaxis(mesh.vertices[mesh.triangles][..., :2].astype(float), 1, 0)
    u, v = b - a, c - a
    area = float(np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).sum()) / 2
    # 100 x 80 m and 60 m of land around; left and right of the middle, a bend changes the area by
    # opposite amounts. Kerbs are upright and have none.
    assert area == pytest.approx(220 * 200, rel=1e-3)


def test_kerbs_are_painted_in_singapore_alone() -> None:
    for driving_side, shades in ((-1, 1), (1, 2)):
        mesh = ground_mesh(paved(replace(PLAN, driving_side=driving_side)))
        assert len(np.unique(mesh.tint)) == shades


def test_markings_lie_on_the_carriageway() -> None:
    (mesh,) = draw_markings(PLAN)
    s, d = mesh.vertices[:, 1], -mesh.vertices[:, 0]  # the road leads to the north
    ground = paved(PLAN)
    middles = mesh.vertices[mesh.triangles].mean(axis=1)
    inside = (middles[:, 1] > 0) & (middles[:, 1] < 100) & (np.abs(middles[:, 0]) < 40)
    assert ground.is_surface(middles[inside, 1], -middles[inside, 0], "road", "island").all()
    lift = mesh.vertices[:, 2] - PLAN.base_height(s, d)
    np.testing.assert_allclose(lift, 0.008, atol=1e-5)


def test_plans_repeat_with_their_seed_and_keep_to_the_raster() -> None:
    for seed in range(20):
        first, second = (
            plan_roads(np.random.default_rng(seed), "boston-seaport", 90.0, [40.0], (0.0, 50.0))
            for _ in range(2)
        )
        assert first.crossings == second.crossings and first.sides == second.sides
        widths = [first.kerb_m(1), *first.pavement_m(-1), first.plots_m(1), first.crossings[0].s_m]
        assert all((2 * width).is_integer() for width in widths)
        assert first.s_range_m == (-110.0, 200.0)  # 90 + 110
        assert first.d_range_m == (-80.0, 130.0)  # 50 + 80


def test_a_route_continues_beyond_its_ends() -> None:
    route = straight_route(PLAN, (10.0, -4.0), (30.0, -4.0))
    np.testing.assert_allclose(route.at(np.array([-5.0, 8.0, 26.0])), [(5, -4), (18, -4), (36, -4)])
    assert route.distance_at_s(10.0) == 0.0


def test_the_ego_vehicle_turns_into_the_near_lane_of_the_cross_street() -> None:
    route = ego_route(PLAN, lane=1, turn=-1, cross=CROSS)
    np.testing.assert_allclose(route.points_sd[0], (0, -6.25), atol=1e-9)
    # Right turn: to the lane before the middle of the cross street, 50 - (3.5 - 1.75).
    np.testing.assert_allclose(route.points_sd[-1, 0], 48.25, atol=1e-9)
    assert route.points_sd[-1, 1] < -60


def test_a_driver_waits_accelerates_and_stops_at_the_line() -> None:
    route = straight_route(PLAN, (0.0, -4.0), (100.0, -4.0))
    times, distances = simulate_driver(
        route, 10.0, 8.0, 8.0, wait_s=2.0, limits=[(60.0, 1e9, 0.0)], duration_s=20.0
    )
    speeds = np.diff(distances) / np.diff(times)
    np.testing.assert_allclose(distances[times < 2.0], 10.0)
    # 1 s of acceleration at 1.4 m/s^2: 0.7 m, or half a step of 0.05 s more or less at 1.4 m/s.
    assert np.interp(3.0, times, distances) == pytest.approx(10.7, abs=0.08)
    assert speeds.max() == pytest.approx(8.0)
    assert 59.0 < distances[-1] < 60.1 and speeds[-1] < 0.1
    assert np.diff(speeds).max() < 1.4 * 0.05 + 1e-9
