"""Bodies at rest and on routes: their poses, and that no two are in the same place."""

from __future__ import annotations

import numpy as np
import pytest

from training.world.places.clearance import Clearance
from training.world.places.road.ground import Ground
from training.world.places.road.layout import RoadPlan, RoadSide
from training.world.places.routes import straight_route
from training.world.places.trajectories import RouteMotion, StaticPose

SIDE = RoadSide(bay_m=0.0, verge_m=0.0, pavement_m=2.0, forecourt_m=0.0)
PLAN = RoadPlan(
    driving_side=-1,
    lane_m=3.5,
    lanes=1,
    median_m=0.0,
    sides={-1: SIDE, 1: SIDE},
    crossings=(),
    s_range_m=(0.0, 100.0),
    d_range_m=(-20.0, 20.0),
    total_turn_rad=0.0,
    heading_rad=0.0,  # s is x, d is y
    relief=np.zeros((0, 4)),
)
TIMES = np.array([0.0, 11.0])


def moving(start: tuple[float, float], end: tuple[float, float], speed: float) -> RouteMotion:
    return RouteMotion(PLAN, straight_route(PLAN, start, end), TIMES, speed * TIMES, (1.0, 1.0))


def parked(s: float, d: float) -> StaticPose:
    return StaticPose.on_road(PLAN, s, d, turn=0.0)


def test_a_body_follows_its_route() -> None:
    motion = moving((10.0, 0.0), (90.0, 0.0), speed=4.0)
    pose = motion(5.0)
    np.testing.assert_allclose(pose[:2, 3], (30, 0), atol=1e-9)  # 10 + 4 x 5
    np.testing.assert_allclose(pose[:3, 0], (1, 0, 0), atol=1e-9)
    xy, yaw = motion.xy_yaw(np.array([0.0, 5.0]))
    np.testing.assert_allclose(xy, [(10, 0), (30, 0)], atol=1e-9)
    np.testing.assert_allclose(yaw, 0.0, atol=1e-9)


def test_a_parked_body_leans_with_the_camber_and_a_person_does_not() -> None:
    car = parked(50.0, 2.0)(0.0)
    # Height -0.0012 d^2: its slope to the left at d = 2 is -0.0024 x 2 = -0.0048.
    assert car[2, 1] / car[1, 1] == pytest.approx(-0.0048)
    assert car[2, 3] == pytest.approx(-0.0048)
    person = StaticPose.upright(PLAN, Ground(PLAN), 50.0, 2.0, turn=np.pi / 2)(0.0)
    np.testing.assert_allclose(person[:3, 2], (0, 0, 1))
    np.testing.assert_allclose(person[:3, 0], (0, 1, 0), atol=1e-9)
    assert person[2, 3] == pytest.approx(-0.0048 + 0.16)  # grass everywhere


def test_bodies_at_rest_keep_apart() -> None:
    clearance = Clearance(10.0)
    assert clearance.admit(parked(50.0, 0.0), 4.0, 2.0)
    assert not clearance.admit(parked(53.0, 0.0), 4.0, 2.0)  # overlaps by a metre
    assert not clearance.admit(parked(50.0, 1.5), 4.0, 2.0)
    assert clearance.admit(parked(56.0, 0.0), 4.0, 2.0)
    clearance.block(np.array([[70.0, 0.0]]), 1.0)
    assert not clearance.admit(parked(70.0, 1.0), 4.0, 2.0)


def test_moving_bodies_may_pass_the_same_place_at_other_times() -> None:
    clearance = Clearance(10.0)
    assert clearance.admit(moving((10.0, 0.0), (90.0, 0.0), speed=5.0), 4.0, 2.0)
    # Across its path at s = 40, which the first body passes after 6 s.
    assert not clearance.admit(moving((40.0, -18.0), (40.0, 18.0), speed=3.0), 4.0, 2.0)
    assert clearance.admit(moving((40.0, -6.0), (40.0, 30.0), speed=3.0), 4.0, 2.0)
    # On its path at rest, and just behind its start.
    assert not clearance.admit(parked(30.0, 0.0), 4.0, 2.0)
    assert clearance.admit(parked(4.0, 0.0), 4.0, 2.0)


def test_the_middle_of_a_body_may_be_ahead_of_its_origin() -> None:
    clearance = Clearance(1.0)
    clearance.block(np.array([[53.5, 0.0]]), 0.2)
    assert not clearance.admit(parked(50.0, 0.0), 4.0, 2.0, centre_m=2.0)  # from 50 to 54
    assert clearance.admit(parked(50.0, 0.0), 4.0, 2.0)  # from 48 to 52


def test_a_circle_is_clear_of_what_is_at_rest() -> None:
    clearance = Clearance(1.0)
    clearance.block(np.array([[10.0, 0.0]]), 1.0)
    assert clearance.admit(moving((40.0, 0.0), (90.0, 0.0), speed=1.0), 4.0, 2.0)
    assert not clearance.is_clear(np.array([10.0, 3.0]), 2.0)  # 3 m away, and 1 + 2 wide
    assert clearance.is_clear(np.array([10.0, 3.1]), 2.0)
    assert clearance.is_clear(np.array([40.0, 0.0]), 2.0)  # what moves is elsewhere later
