"""Looks of the ground: patches of their own, at nearly equal levels, and none in the plain town."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.world.places.road.ground import SURFACE_ID, SURFACES, Ground, Look
from training.world.places.road.ground_mesh import ground_mesh
from training.world.places.road.layout import RoadPlan, plan_roads
from training.world.places.road.looks import draw_levels, dress_ground, wear
from training.world.places.road.markings import draw_markings
from training.world.places.road.paving import pave
from training.world.style import HARD, TOWN, PlaceStyle
from training.world.things.materials import MATERIAL_ID, MATERIALS
from training.world.things.meshes import CATEGORY_ID

NEAR_M = (-20.0, 110.0)


@pytest.fixture
def plan() -> RoadPlan:
    return plan_roads(np.random.default_rng(0), "boston-seaport", 90.0, [40.0], (0.0, 0.0))


def paved(plan: RoadPlan) -> Ground:
    ground = Ground(plan)
    pave(plan, ground)
    return ground


def test_a_covered_rectangle_looks_as_told(plan: RoadPlan) -> None:
    ground = paved(replace(plan, total_turn_rad=0.0))
    edge = plan.edge_m
    look = ground.add_look(Look("cobbles", np.array([0.5, 0.6, 0.7]), 2.0))
    # 4 x 1 m on the road; what lies beyond its edge keeps its look.
    ground.cover(look, (0.0, 4.0), (edge - 1.0, edge), "road")
    ground.cover(look, (0.0, 4.0), (-60.0, -59.0), "road")
    mesh = ground_mesh(ground)
    cobbled = mesh.material == MATERIAL_ID["cobbles"]
    corners = mesh.vertices[mesh.triangles[cobbled]].astype(float)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # The road slopes by 5 % at most, which adds 0.05^2 / 2.
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(4.0, rel=0.005)
    np.testing.assert_allclose(mesh.tint[cobbled], [[0.5, 0.6, 0.7]] * cobbled.sum())
    assert set(mesh.reflectance[cobbled]) == {2.0} and set(mesh.reflectance[~cobbled]) == {1.0}
    assert set(mesh.category[cobbled]) == {CATEGORY_ID["flat.driveable_surface"]}


def test_looks_leave_geometry_and_classes_alone(plan: RoadPlan) -> None:
    plain, dressed = paved(plan), paved(plan)
    dress_ground(dressed, HARD.places, np.random.default_rng(0), NEAR_M)
    np.testing.assert_array_equal(plain.surface, dressed.surface)
    areas = []
    for mesh in map(ground_mesh, (plain, dressed)):
        a, b, c = np.moveaxis(mesh.vertices[mesh.triangles].astype(float), 1, 0)
        size = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        areas.append(np.bincount(mesh.category, size, minlength=32))
    np.testing.assert_allclose(*areas, rtol=1e-3)


def test_pavements_return_more_light_than_roads(plan: RoadPlan) -> None:
    """Slabs and concrete return 0.10 x 1.5 and 0.12 x 1.3, asphalt 0.05 to 0.07; four pavements in
    five are made of the former. Over 40 drives the spreads of single looks do not matter.
    """
    light: dict[str, list[float]] = {"road": [], "pavement": []}
    for seed in range(40):
        ground = paved(plan)
        dress_ground(ground, HARD.places, np.random.default_rng(seed), NEAR_M)
        for name, values in light.items():
            look = ground.looks[
                np.bincount(ground.look[ground.surface == SURFACE_ID[name]]).argmax()
            ]
            values.append(MATERIALS[MATERIAL_ID[look.material]].reflectivity * look.reflectance)
    assert 1.6 < np.median(light["pavement"]) / np.median(light["road"]) < 3.0


def test_the_plain_town_is_not_dressed(plan: RoadPlan) -> None:
    ground, rng = paved(plan), np.random.default_rng(0)
    dress_ground(ground, TOWN.places, rng, NEAR_M)
    (marks,) = draw_markings(plan)
    assert wear(marks, TOWN.places, rng) is marks
    assert draw_levels(TOWN.places, rng) == {}
    assert not ground.look.any()
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn


def test_reflectivity_differs_from_drive_to_drive(plan: RoadPlan) -> None:
    """The usual asphalt of a drive has a reflectivity of its own, as has each of its patches."""
    logs = []
    for seed in range(24):
        ground = paved(plan)
        dress_ground(ground, HARD.places, np.random.default_rng(seed), NEAR_M)
        factor = np.array([look.reflectance for look in ground.looks])[ground.look]
        logs.append(np.log(factor[ground.surface == SURFACE_ID["road"]].mean()))
    # The mean of a drive keeps most of a region's spread, half of 0.34; 0.06 is far below it.
    assert np.std(logs) > 0.06


@pytest.mark.parametrize(("share", "highest"), [(1.0, 0.03), (0.0, 0.2576)])
def test_levels(share: float, highest: float) -> None:
    style = PlaceStyle(districts=True, flush_share=share)
    for seed in range(20):
        levels = draw_levels(style, np.random.default_rng(seed))
        # With kerbs: at most 0.16 m of grass x 1.15 x 1.4 = 0.2576.
        assert min(levels.values()) >= 0.0 and max(levels.values()) <= highest + 1e-9
        assert set(levels) <= set(SURFACES) and levels.get("road", 0.0) == 0.0
