"""Vegetation in masses, walls, look-alikes and houses: sizes, classes, and that they vary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from training.world.scene import Mesh
from training.world.things.greenery import (
    draw_conifer,
    draw_ivy,
    draw_shrub,
    draw_tall_grass,
    draw_tall_hedge,
    draw_thicket,
    draw_treeline,
    draw_wood_tree,
)
from training.world.things.houses import draw_house
from training.world.things.leaves import Season
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID
from training.world.things.people import draw_pedestrian
from training.world.things.props.boxes import (
    as_statue,
    draw_advertising_column,
    draw_container,
    draw_kiosk,
    draw_post,
    draw_shed,
    draw_utility_pole,
)
from training.world.things.props.walls import (
    WALLS,
    draw_noise_barrier,
    draw_picket_fence,
    draw_wall,
)

Draw = Callable[[np.random.Generator], Mesh]
GREEN = np.ones(3)
PLANTS: dict[str, tuple[Draw, float, float]] = {
    # name: drawing, least and largest height in metres
    "wood tree": (lambda rng: draw_wood_tree(rng, GREEN), 4.0, 18.0),
    "conifer": (lambda rng: draw_conifer(rng, GREEN), 4.5, 14.0),
    "shrub": (lambda rng: draw_shrub(rng, GREEN), 0.8, 2.5),
    "tall grass": (lambda rng: draw_tall_grass(rng, GREEN), 0.4, 0.8),
    "tall hedge": (lambda rng: draw_tall_hedge(rng, GREEN), 1.6, 2.6),
    "ivy": (lambda rng: draw_ivy(rng, GREEN), 1.5, 2.4),
    "treeline": (lambda rng: draw_treeline(rng, 32.0, GREEN), 5.0, 16.5),
}
MADE: dict[str, Draw] = {
    "container": draw_container,
    "shed": draw_shed,
    "kiosk": draw_kiosk,
    "column": draw_advertising_column,
    "post": draw_post,
    "utility pole": draw_utility_pole,
    "picket fence": draw_picket_fence,
    "noise barrier": draw_noise_barrier,
    "house": lambda rng: draw_house(rng, 10.0, 8.0),
    "statue": lambda rng: as_statue(draw_pedestrian(rng, "adult", "standing"), rng),
    **{kind: lambda rng, kind=kind: draw_wall(rng, kind) for kind in WALLS},
}


def check(mesh: Mesh, category: str) -> None:
    count = len(mesh.triangles)
    assert set(mesh.category) == {CATEGORY_ID[category]}
    assert len(mesh.material) == len(mesh.tint) == len(mesh.reflectance) == count
    assert mesh.triangles.min() == 0 and mesh.triangles.max() == len(mesh.vertices) - 1
    assert np.isfinite(mesh.vertices).all() and mesh.tint.min() >= 0
    assert mesh.vertices[:, 2].min() < 0.1  # it stands on the ground


@pytest.mark.parametrize("name", PLANTS)
def test_plants_are_vegetation_of_their_height(name: str) -> None:
    draw, least, largest = PLANTS[name]
    for seed in range(5):
        mesh = draw(np.random.default_rng(seed))
        check(mesh, "static.vegetation")
        assert least <= mesh.vertices[:, 2].max() <= largest


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_is_manmade_and_varies(name: str) -> None:
    first, second = (MADE[name](np.random.default_rng(seed)) for seed in (0, 1))
    check(first, "static.manmade")
    check(second, "static.manmade")
    same = first.vertices.shape == second.vertices.shape
    assert not (same and np.array_equal(first.vertices, second.vertices)
                and np.array_equal(first.tint, second.tint))  # fmt: skip


def test_a_thicket_fills_its_box() -> None:
    size = (8.0, 2.0, 2.5)
    mesh = draw_thicket(np.random.default_rng(0), size, GREEN)
    check(mesh, "static.vegetation")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # Cards of 0.45 x 1.4 = 0.63 m reach 0.63 / sqrt(2) = 0.45 m beyond their centres, which lie
    # within 46 % of the size on either side, give or take 4 x 3.5 %.
    reach = 0.45 + 0.14 * np.array(size)
    assert (low[:2] < -0.35 * np.array(size[:2])).all()
    assert (high[:2] > 0.35 * np.array(size[:2])).all()
    assert (np.abs(np.stack([low, high])[:, :2]) < np.array(size[:2]) / 2 + reach[:2]).all()
    assert 2.0 < high[2] < 2.5 + reach[2]


def test_statues_are_people_in_other_materials() -> None:
    person = draw_pedestrian(np.random.default_rng(0), "adult", "standing")
    statue = as_statue(person, np.random.default_rng(0))
    count = len(person.triangles)
    stone = {MATERIAL_ID[name] for name in ("concrete", "steel_dark", "rubble")}
    assert set(statue.material[-count:]) <= stone
    lift = statue.vertices[-len(person.vertices) :] - person.vertices
    np.testing.assert_allclose(lift[:, :2], 0.0, atol=1e-6)
    assert 0.15 <= lift[0, 2] <= 1.2


def test_leaves_vary_within_a_season() -> None:
    season = Season(np.random.default_rng(0), spread=0.2)
    tints = np.array([season.tint() for _ in range(40)])
    assert tints.min() > 0 and (tints.std(axis=0) > 0.05).all()
