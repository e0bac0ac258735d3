"""Districts: every name that they mention is known, and the plain town stays as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from inspect import getsource

import numpy as np
import pytest

from training.world.places.catalogue import Catalogue
from training.world.places.districts import DISTRICTS, PLAIN, District, adapt_roads, draw_district
from training.world.places.land_parts import put_border
from training.world.places.land_use import USES
from training.world.places.road.ground import SURFACE_ID
from training.world.places.road.layout import Bank, RoadPlan, plan_roads
from training.world.style import HARD, TOWN
from training.world.things.meshes import category_name

EACH = pytest.mark.parametrize("district", DISTRICTS, ids=lambda district: district.name)


def plan_of(seed: int) -> RoadPlan:
    return plan_roads(np.random.default_rng(seed), "boston-seaport", 90.0, [40.0], (0.0, 0.0))


@EACH
def test_every_name_of_a_district_is_known(district: District) -> None:
    assert set(district.land) <= set(USES)
    borders = set(re.findall(r'case "([a-z ]+)":', getsource(put_border)))
    assert set(district.borders) <= borders
    assert set(district.verges) | set(district.pavements) <= set(SURFACE_ID)


@EACH
def test_traffic_of_a_district_can_be_drawn(district: District) -> None:
    kinds = {"car": "vehicle.car", "lorry": "vehicle.truck", "semi": "vehicle.truck"}
    kinds |= {"pickup": "vehicle.truck", "motorcycle": "vehicle.motorcycle"}
    for kind in district.traffic:
        mesh = Catalogue(np.random.default_rng(0), False, {kind: 1.0}).traffic()
        assert category_name(mesh).startswith(kinds.get(kind, "vehicle.bus"))


def test_the_plain_town_draws_nothing() -> None:
    rng, untouched = np.random.default_rng(3), np.random.default_rng(3)
    plan = plan_of(0)
    assert draw_district(TOWN.places, rng) is PLAIN
    assert adapt_roads(plan, PLAIN, TOWN.places, rng) is plan
    assert rng.random() == untouched.random()


def test_all_districts_occur_and_none_twice_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_district(HARD.places, rng) for _ in range(150)]
    # The rarest has a share of 0.07: with probability 1 - 0.93^150 > 0.9999 it is among them.
    assert {district.name for district in drawn} == {district.name for district in DISTRICTS}
    suburbs = [tuple(each.land.values()) for each in drawn if each.name == "suburb"]
    assert len(set(suburbs)) == len(suburbs)


@EACH
def test_roads_of_a_district_keep_to_the_raster_and_the_steepest_grade(district: District) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        plan = adapt_roads(plan_of(seed), district, HARD.places, rng)
        widths = [plan.edge_m, plan.kerb_m(1), *plan.pavement_m(-1), plan.plots_m(1)]
        assert all((2 * width).is_integer() for width in widths)
        s = np.arange(-100.0, 200.0, 1.0)
        slope = np.diff(plan.base_height(s, np.zeros_like(s)))
        # Of the plain town's swells, at most 0.25 x 2 pi / 81 + 0.1 x 2 pi / 49.5
        # + 0.04 x 2 pi / 29.7 = 0.019 + 0.013 + 0.008.
        assert np.abs(slope).max() < 0.06 + 0.041


def test_a_bank_rises_behind_the_pavement_and_runs_out_at_a_crossing() -> None:
    plan = plan_of(1)
    side = replace(plan.sides[1], bank=Bank(rise_m=2.0, width_m=4.0))
    bank = replace(plan, sides={**plan.sides, 1: side})
    begin, cross = plan.pavement_m(1)[1], plan.crossings[0]

    def added(s: float, d: float) -> float:
        return float(bank.base_height(s, d) - plan.base_height(s, d))

    far = cross.s_m - 40.0
    assert added(far, begin) == 0.0 and added(far, -begin - 9.0) == 0.0
    assert added(far, begin + 2.0) == pytest.approx(1.0)  # halfway up
    assert added(far, begin + 30.0) == pytest.approx(2.0)
    assert added(cross.s_m, begin + 30.0) == 0.0
