"""Generated worlds: an interrupted run continues, and every drive goes through its weathers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tyro

from training.make_world import WorldConfig, _check_settings, make_scene, make_world, part_path
from training.world.box_world import box_drive
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.tables import Records
from training.world.scene import Drive, Mesh
from training.world.style import HARD, STREETS, TOWN


@dataclass(frozen=True)
class Scene:
    """Arguments that ``make_scene`` passes to the writer."""

    index: int
    drive: Drive
    options: SceneOptions


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> list[Scene]:
    """The scenes made so far; nothing is written."""
    made: list[Scene] = []

    class NullWriter:
        def __init__(
            self, root: Path, drive: Drive, seed: int, index: int, options: SceneOptions
        ) -> None:
            made.append(Scene(index, drive, options))

        def write(self) -> Records:
            return {}

    monkeypatch.setattr("training.make_world.SceneWriter", NullWriter)
    return made


def world_config(out: Path, **changes: object) -> WorldConfig:
    config = WorldConfig(out, scenes=2, seed=3, keyframes=1, image_size=(36, 64), workers=2)
    return dataclasses.replace(config, **changes)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.timeout(900)  # makes three town drives, and the workers import Open3D
def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    whole, interrupted = world_config(tmp_path / "a"), world_config(tmp_path / "b", workers=1)
    make_world(whole)
    assert len(json.loads((whole.out / "v1.0-town" / "scene.json").read_text())) == 2
    # A run that stopped within its second scene: no tables, no records of the second scene; one of
    # its files is missing and another one is incomplete.
    shutil.copytree(whole.out, interrupted.out)
    shutil.rmtree(interrupted.out / "v1.0-town")
    second = json.loads(part_path(whole.out, 1).read_text())
    part_path(interrupted.out, 1).unlink()
    (interrupted.out / second["sample_data"][0]["filename"]).unlink()
    (interrupted.out / second["sample_data"][1]["filename"]).write_bytes(b"incomplete")
    first_written_ns = part_path(interrupted.out, 0).stat().st_mtime_ns
    make_world(interrupted)
    assert digests(interrupted.out) == digests(whole.out)
    assert part_path(interrupted.out, 0).stat().st_mtime_ns == first_written_ns  # not made again
    with pytest.raises(ValueError, match=r"other settings.*seed.*choose another folder"):
        make_world(world_config(whole.out, seed=4))


def test_settings_of_older_versions_are_understood(tmp_path: Path) -> None:
    config = WorldConfig(tmp_path, scenes=1, seed=3, keyframes=2)
    _check_settings(config)
    path = tmp_path / ".parts" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["weathers"], settings["consecutive"], settings["world"]
    path.write_text(json.dumps(settings | {"weather": None}))
    _check_settings(config)
    path.write_text(json.dumps(settings | {"weather": "rain"}))
    with pytest.raises(ValueError, match="other settings"):
        _check_settings(config)


def test_every_drive_is_repeated_in_every_weather(tmp_path: Path, scenes: list[Scene]) -> None:
    config = world_config(tmp_path, weathers=("rain", "rain at night"))
    assert config.total_scenes == 4
    for index in range(config.total_scenes):
        make_scene(config, index)
    assert [scene.index for scene in scenes] == [0, 1, 2, 3]
    assert [scene.drive.name for scene in scenes] == [
        "town-3-0000-rain",
        "town-3-0000-rain-at-night",
        "town-3-0001-rain",
        "town-3-0001-rain-at-night",
    ]
    day, night, other_town = (scene.drive for scene in scenes[:3])
    assert (day.weather, night.weather) == ("rain", "rain at night")
    assert day.region == night.region
    assert np.array_equal(day.static.vertices, night.static.vertices)
    assert not np.array_equal(day.static.vertices[:100], other_town.static.vertices[:100])


def test_the_town_is_the_default_world(tmp_path: Path, scenes: list[Scene]) -> None:
    town = tyro.cli(WorldConfig, args=[str(tmp_path), "--scenes=1", "--seed=3", "--keyframes=1"])
    for config in (
        town,
        dataclasses.replace(town, world="town"),
        dataclasses.replace(town, world="hard"),
    ):
        make_scene(config, 0)
    default, explicit, hard = (scene.drive for scene in scenes)
    for field in dataclasses.fields(Mesh):
        np.testing.assert_array_equal(
            getattr(default.static, field.name), getattr(explicit.static, field.name)
        )
    time_s = 0.5
    for one, other in zip(default.actors, explicit.actors, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
        np.testing.assert_array_equal(one.world_from_actor(time_s), other.world_from_actor(time_s))
    np.testing.assert_array_equal(default.world_from_ego(time_s), explicit.world_from_ego(time_s))
    # Nothing of the hard world's materials is in the town, and both know their kind.
    assert set(default.static.reflectance) == {1.0} != set(hard.static.reflectance)
    assert default.style == explicit.style == TOWN and hard.style == HARD


def test_the_shares_of_the_weathers_add_up() -> None:
    for style in (TOWN, HARD, STREETS):
        assert sum(style.weathers.values()) == pytest.approx(1.0)
    assert STREETS.weathers["clear"] > HARD.weathers["clear"]


def test_of_three_mixed_towns_one_is_plain_and_two_are_hard_on_usual_days(
    tmp_path: Path, scenes: list[Scene]
) -> None:
    config = world_config(tmp_path, scenes=6, world="mixed")
    for index in range(config.total_scenes):
        make_scene(config, index)
    # Plain towns get labels as complete as the hard ones'.
    plain = dataclasses.replace(TOWN, label_span_s=HARD.label_span_s)
    assert [scene.drive.style for scene in scenes] == [STREETS, STREETS, plain] * 2
    assert all(scene.drive.duration_s > HARD.label_span_s for scene in scenes)


def test_consecutive_scenes_share_one_drive_and_time_line(
    tmp_path: Path, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.make_world.make_drive",
        lambda seed, town, weather, region, duration_s, style: box_drive(
            weather, duration_s=duration_s
        ),
    )
    config = world_config(tmp_path, keyframes=2, weathers=("clear", "rain"), consecutive=True)
    for index in range(config.total_scenes):
        make_scene(config, index)
    # The index sets the date: both scenes of a drive have that of the first.
    assert [scene.index for scene in scenes] == [0, 0, 2, 2]
    assert [scene.options.first for scene in scenes] == [0, 2, 0, 2]
    # 2 x 2 keyframes of ten sweeps, and the sweep before them, of 50 ms each.
    assert [scene.drive.duration_s for scene in scenes] == pytest.approx([41 * 0.05] * 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenes": 0}, "scenes must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"weathers": ("rain", "rain")}, "contains a weather twice"),
        ({"weathers": ("rain",), "consecutive": True}, "needs two weathers or more"),
    ],
)
def test_nonsense_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world_config(Path("x"), **changes)
