"""Generated drives: repeatable, complete, nothing in anybody's way, and true to their region and
weather.
"""

from __future__ import annotations

import numpy as np
import pytest

from occ_core.taxonomy import (
    CLASS_NAMES,
    LIDARSEG_CATEGORIES,
    region_from_location,
    weather_from_description,
)
from training.world.scene import Drive
from training.world.things.materials import MATERIALS
from training.world.town import make_drive

CLASS_OF_INDEX = np.array(list(LIDARSEG_CATEGORIES.values()))
TIMES = np.arange(0.0, 20.01, 0.5)


SETTINGS = [
    ("clear", "boston-seaport"),
    ("rain", "singapore-onenorth"),
    ("night", "boston-seaport"),
    ("rain at night", "singapore-queenstown"),
]


@pytest.fixture(scope="module")
def drives() -> list[Drive]:
    return [
        make_drive(7, index, weather, region) for index, (weather, region) in enumerate(SETTINGS)
    ]


def _footprint(drive: Drive, number: int, t: float) -> np.ndarray:
    """Corners ``[4, 2]`` of an actor's box on the ground."""
    actor = drive.actors[number]
    width, length, _ = actor.size_wlh
    corners = np.array(
        [(x * length / 2, y * width / 2, 0.0, 1.0) for x, y in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    )
    return (corners @ actor.world_from_actor(t).T)[:, :2]


def _in_ego(drive: Drive, t: float, points_xy: np.ndarray) -> np.ndarray:
    """Points ``[N, 2]`` in the ego vehicle's frame."""
    pose = drive.world_from_ego(t)
    return (points_xy - pose[:2, 3]) @ pose[:2, :2]


def test_the_same_arguments_make_the_same_drive(drives: list[Drive]) -> None:
    first, second = drives[0], make_drive(7, 0, *SETTINGS[0])
    for name in ("vertices", "triangles", "material", "category", "tint"):
        np.testing.assert_array_equal(getattr(first.static, name), getattr(second.static, name))
    assert [actor.name for actor in first.actors] == [actor.name for actor in second.actors]
    for one, other in zip(first.actors, second.actors, strict=True):
        np.testing.assert_array_equal(one.world_from_actor(7.3), other.world_from_actor(7.3))
    assert first.description == second.description
    assert not np.array_equal(first.static.vertices[:100], drives[2].static.vertices[:100])


def test_every_class_occurs_near_the_way(drives: list[Drive]) -> None:
    seen = []
    for drive in drives:
        ego = np.array([drive.world_from_ego(t)[:2, 3] for t in TIMES])
        found = set(CLASS_OF_INDEX[drive.static.category])
        for actor in drive.actors:
            way = np.array([actor.world_from_actor(t)[:2, 3] for t in TIMES])
            if np.linalg.norm(way - ego, axis=1).min() < 45:
                found |= set(CLASS_OF_INDEX[actor.mesh.category])
        seen.append(found)
    for label in range(1, 17):
        count = sum(label in found for found in seen)
        assert count >= 3, f"{CLASS_NAMES[label]} is near the way of {count} of 4 drives only"


def test_meshes_are_well_formed(drives: list[Drive]) -> None:
    for drive in drives:
        for mesh in (drive.static, *(actor.mesh for actor in drive.actors)):
            count = len(mesh.triangles)
            assert mesh.vertices.dtype == np.float32 and mesh.triangles.dtype == np.int32
            assert len(mesh.material) == len(mesh.category) == len(mesh.tint) == count
            assert np.isfinite(mesh.vertices).all()
            assert mesh.triangles.min() >= 0 and mesh.triangles.max() < len(mesh.vertices)
            assert mesh.material.max() < len(MATERIALS)
        assert len(drive.static.triangles) < 600_000
        assert drive.lamps.dtype == np.float32 and drive.lamps.shape[1] == 3


def test_boxes_hold_their_meshes(drives: list[Drive]) -> None:
    for actor in (actor for drive in drives for actor in drive.actors):
        width, length, height = actor.size_wlh
        low, high = (
            np.array([-length / 2, -width / 2, 0.0]),
            np.array([length / 2, width / 2, height]),
        )
        np.testing.assert_allclose(actor.mesh.vertices.min(axis=0), low, atol=0.02)
        np.testing.assert_allclose(actor.mesh.vertices.max(axis=0), high, atol=0.02)
        pose = actor.world_from_actor(3.0)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


def test_categories_of_meshes_are_those_of_their_actors(drives: list[Drive]) -> None:
    index = {name: number for number, name in enumerate(LIDARSEG_CATEGORIES)}
    for actor in (actor for drive in drives for actor in drive.actors):
        assert set(actor.mesh.category) == {index[actor.category]}


def test_no_scenery_on_the_ego_way(drives: list[Drive]) -> None:
    upright = [
        list(LIDARSEG_CATEGORIES).index(name) for name in ("static.manmade", "static.vegetation")
    ]
    for drive in drives:
        triangles = drive.static.triangles[np.isin(drive.static.category, upright)]
        middles = drive.static.vertices[triangles].mean(axis=1)
        for t in TIMES:
            pose = drive.world_from_ego(t)
            x, y, z = ((middles - pose[:3, 3]) @ pose[:3, :3]).T
            hit = (x > -1.0) & (x < 3.8) & (np.abs(y) < 1.0) & (z > -0.3) & (z < 2.2)
            assert not hit.any(), (
                f"{drive.name} at {t} s: scenery {middles[hit][0]} in the ego vehicle's way"
            )


def test_actors_keep_clear_of_the_ego_vehicle_and_of_each_other(drives: list[Drive]) -> None:
    for drive in drives:
        radius = np.array(
            [min(actor.size_wlh[:2]) / 2 for actor in drive.actors]
        )  # a disc within each box
        cycles = np.array(
            ["cycle" in actor.category for actor in drive.actors]
        )  # parked cycles lean into each other
        for t in TIMES[::2]:
            for number in range(len(drive.actors)):
                x, y = _in_ego(drive, t, _footprint(drive, number, t)).T
                inside = (x > -0.9) & (x < 3.7) & (np.abs(y) < 0.95)
                assert not inside.any(), (
                    f"{drive.name} at {t} s: {drive.actors[number].name} in the ego vehicle"
                )
            places = np.array([actor.world_from_actor(t)[:2, 3] for actor in drive.actors])
            gap = (
                np.linalg.norm(places[:, None] - places[None], axis=-1)
                - radius[:, None]
                - radius[None]
            )
            touching = (gap < -0.15) & ~(cycles[:, None] & cycles[None])
            np.fill_diagonal(touching, False)
            assert not touching.any(), [
                (drive.actors[i].name, drive.actors[j].name) for i, j in np.argwhere(touching)
            ]


def test_the_ego_vehicle_moves_smoothly_on_the_road(drives: list[Drive]) -> None:
    for drive in drives:
        poses = np.array([drive.world_from_ego(t) for t in np.arange(0.0, 20.0, 0.05)])
        speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) / 0.05
        yaw = np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))
        assert speed.max() < 12.5
        assert np.abs(np.diff(yaw)).max() < 0.05  # at most 1 rad/s
        assert np.abs(np.diff(poses[:, 2, 3])).max() < 0.05


@pytest.mark.parametrize(("location", "side"), [("boston", 1.0), ("singapore", -1.0)])
def test_oncoming_traffic_keeps_to_its_side(
    drives: list[Drive], location: str, side: float
) -> None:
    """Where one drives on the right, oncoming vehicles pass on the left, at positive y of the ego
    frame.
    """
    passed = []
    for drive in drives:
        for actor in drive.actors:
            if location not in drive.region or actor.attribute != "vehicle.moving":
                continue
            for t in TIMES:
                ego, pose = drive.world_from_ego(t), actor.world_from_actor(t)
                x, y = _in_ego(drive, t, pose[None, :2, 3])[0]
                if abs(x) < 20 and abs(y) < 25 and ego[:2, 0] @ pose[:2, 0] < -0.98:
                    passed.append(np.sign(y))
    assert len(passed) > 5
    assert np.mean(np.array(passed) == side) > 0.95


def test_descriptions_tell_the_weather(drives: list[Drive]) -> None:
    for drive, (weather, region) in zip(drives, SETTINGS, strict=True):
        assert drive.weather == weather
        assert weather_from_description(drive.description) == weather
        assert drive.region == region_from_location(drive.region) == region


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="weather 'snow'"):
        make_drive(0, 0, weather="snow")
    with pytest.raises(ValueError, match="region 'atlantis'"):
        make_drive(0, 0, region="atlantis")
    with pytest.raises(ValueError, match="duration_s"):
        make_drive(0, 0, duration_s=0.0)
