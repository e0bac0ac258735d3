"""Drives on disk: complete nuScenes tables, the same bytes every time, and a killed run that
continues.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from occ_core.datasets.nuscenes import NuScenes
from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.make_world import WorldConfig, _check_same_world, make_scene, make_world, part_path
from training.world.box_world import CAR_WLH_M, SPEED_MPS, at, box_drive
from training.world.nuscenes import tables
from training.world.nuscenes.tables import Records
from training.world.nuscenes.writer import SceneOptions, SceneWriter, points_in_box
from training.world.scene import Drive
from training.world.sensors.rig import CAMERAS

OPTIONS = SceneOptions(keyframes=2, image_size=(36, 64))


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def moving_box_drive() -> Drive:
    """The car drives along x at 2 m/s, 4 m left of the ego."""
    drive = box_drive(duration_s=OPTIONS.end_s)
    return dataclasses.replace(
        drive,
        actors=(
            dataclasses.replace(
                drive.actors[0], world_from_actor=lambda time_s: at(12.0 + 2.0 * time_s, 4.0)
            ),
        ),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    root = tmp_path_factory.mktemp("box")
    records = SceneWriter(root, moving_box_drive(), 7, 0, OPTIONS).write()
    part = root / "part.json"
    tables.write_json(part, records)
    tables.assemble(root, OPTIONS.version, [part])
    part.unlink()
    return root, records


def test_all_thirteen_tables_and_lidarseg_are_there_and_link_up(
    written: tuple[Path, Records],
) -> None:
    root, _ = written
    expected = "attribute calibrated_sensor category ego_pose instance lidarseg log map"
    expected += " sample sample_annotation sample_data scene sensor visibility"
    loaded = {
        path.stem: json.loads(path.read_text()) for path in (root / OPTIONS.version).glob("*.json")
    }
    assert " ".join(sorted(loaded)) == expected
    known = {name: {record["token"] for record in records} for name, records in loaded.items()}
    assert all(len(known[name]) == len(records) for name, records in loaded.items())
    for table, records in loaded.items():
        for record in records:
            for field, value in record.items():
                target = {"prev": table, "next": table}.get(field, field.removesuffix("_token"))
                if (
                    (field.endswith("_token") or field in ("prev", "next"))
                    and value
                    and target in known
                ):
                    assert value in known[target], f"{table}.{field}"
    assert [category["name"] for category in loaded["category"]] == list(LIDARSEG_CATEGORIES)
    assert [category["index"] for category in loaded["category"]] == list(range(32))


def test_sensor_files_exist_with_their_stamps(written: tuple[Path, Records]) -> None:
    root, records = written
    # Ten sweeps before the first keyframe, then a keyframe's own and nine before the next: 10 + 1 +
    # 10. Six images each.
    lidar = [r for r in records["sample_data"] if "LIDAR_TOP" in r["filename"]]
    assert len(lidar) == 10 + 1 + 10 and len(records["sample_data"]) == len(lidar) + 2 * 6
    assert all((root / record["filename"]).exists() for record in records["sample_data"])
    stamps = sorted(record["timestamp"] for record in lidar)
    assert set(np.diff(stamps)) == {50_000}
    first = records["sample"][0]
    images = [
        r
        for r in records["sample_data"]
        if r["sample_token"] == first["token"] and r["fileformat"] == "jpg"
    ]
    delays = {r["filename"].split("/")[1]: r["timestamp"] - first["timestamp"] for r in images}
    assert delays == {camera.channel: camera.delay_us for camera in CAMERAS}
    assert cv2.imread(str(root / images[0]["filename"])).shape == (36, 64, 3)
    assert all(
        f"__{r['filename'].split('/')[1]}__{r['timestamp']}." in r["filename"]
        for r in records["sample_data"]
    )


def test_keyframes_have_points_segmentation_labels_and_masks(written: tuple[Path, Records]) -> None:
    root, records = written
    keys = {
        r["token"]: r
        for r in records["sample_data"]
        if r["is_key_frame"] and "LIDAR_TOP" in r["filename"]
    }
    assert len(keys) == len(records["lidarseg"]) == 2
    for record in records["lidarseg"]:
        points = np.fromfile(
            root / keys[record["sample_data_token"]]["filename"], np.float32
        ).reshape(-1, 5)
        assert np.fromfile(root / record["filename"], np.uint8).shape == (len(points),)
        name = Path(keys[record["sample_data_token"]]["filename"]).name
        labels = np.load(root / "nuscenes_occ/samples" / f"{name}.npy")
        assert labels.dtype == np.int64 and labels.shape[1] == 4
        masks = np.load(root / "nuscenes_occ/masks" / f"{name}.npz")
        for mask in (masks["mask_lidar"], masks["mask_camera"]):
            assert mask.shape == (200, 200, 16) and mask.dtype == np.uint8 and 0 < mask.mean() < 1


def test_annotations_follow_the_moving_car(written: tuple[Path, Records]) -> None:
    root, records = written
    first, second = records["sample_annotation"]
    assert (first["next"], second["prev"]) == (second["token"], first["token"])
    # Half a second at 2 m/s; boxes are given by their centres, half the height above the ground.
    assert np.subtract(second["translation"], first["translation"]) == pytest.approx(
        [1.0, 0.0, 0.0], abs=1e-5
    )
    assert first["translation"][2] == pytest.approx(CAR_WLH_M[2] / 2)
    assert first["size"] == list(CAR_WLH_M) and first["num_lidar_pts"] > 50
    assert records["instance"][0]["nbr_annotations"] == 2


def test_odometry_is_the_cars_own_motion(written: tuple[Path, Records]) -> None:
    root, records = written
    messages = json.loads((root / "can_bus" / "scene-box_pose.json").read_text())
    assert set(np.diff([message["utime"] for message in messages])) == {20_000}
    message = messages[10]
    assert message["vel"] == pytest.approx([5.0, 0.0, 0.0], abs=1e-4)
    assert message["accel"] == pytest.approx([0.0, 0.0, 9.81], abs=1e-4)
    assert message["rotation_rate"] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    # Positions are those of the ego_pose table: 5 m/s * 0.05 s between a 50 Hz message and the
    # stamp 0.25 s.
    pose = next(p for p in records["ego_pose"] if p["timestamp"] == message["utime"] + 50_000)
    assert pose["translation"][0] - message["pos"][0] == pytest.approx(5.0 * 0.05, abs=1e-5)


def test_map_mask_is_white_where_the_car_drives(written: tuple[Path, Records]) -> None:
    root, records = written
    mask = cv2.imread(str(root / records["map"][0]["filename"]), cv2.IMREAD_UNCHANGED)
    x, y, _ = records["ego_pose"][0]["translation"]
    assert mask[mask.shape[0] - 1 - round(y * 10), round(x * 10)] == 255


def test_the_same_drive_gives_the_same_bytes(written: tuple[Path, Records], tmp_path: Path) -> None:
    SceneWriter(tmp_path, moving_box_drive(), 7, 0, OPTIONS).write()
    first = {
        name: digest
        for name, digest in digests(written[0]).items()
        if not name.startswith(OPTIONS.version)
    }
    assert digests(tmp_path) == first


def test_points_in_box_counts_the_inside() -> None:
    points = np.array(
        [[-1.1, 0, 0.5], [-0.9, 0, 0.5], [0, 0, 0.5], [0, 0.6, 0.5], [0.9, 0, 1.1]]
    )  # sorted by x
    assert points_in_box(points, np.eye(4), (1.0, 2.0, 1.0)) == 2


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, "1"), (0.4, "1"), (0.41, "2"), (0.75, "3"), (1.0, "4")]
)
def test_visibility_tokens(share: float, expected: str) -> None:
    assert tables.visibility_token(share) == expected


def config(out: Path, **changes: object) -> WorldConfig:
    return dataclasses.replace(
        WorldConfig(out, scenes=2, seed=3, keyframes=1, image_size=(36, 64), workers=2), **changes
    )


@pytest.mark.timeout(900)  # makes four town drives, and workers import torch and Open3D
def test_a_killed_run_continues_to_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    whole, killed = config(tmp_path / "whole"), config(tmp_path / "killed", workers=1)
    make_world(whole)
    names = [
        scene["name"] for scene in json.loads((whole.out / "v1.0-town" / "scene.json").read_text())
    ]
    assert len(names) == 2
    # What a run leaves that is killed inside its second drive: the first drive whole, some files of
    # the second, no tables.
    make_scene(killed, 0)
    second = json.loads(part_path(whole.out, 1).read_text())
    torn = killed.out / second["sample_data"][0]["filename"]
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_bytes(b"torn")
    stamp = part_path(killed.out, 0).stat().st_mtime_ns
    make_world(killed)
    assert part_path(killed.out, 0).stat().st_mtime_ns == stamp  # not made again
    assert digests(killed.out) == digests(whole.out)
    with pytest.raises(ValueError, match=r"other settings.*seed.*choose another folder"):
        make_world(config(whole.out, seed=4))


def test_a_world_made_before_weathers_can_go_on(tmp_path: Path) -> None:
    today = WorldConfig(tmp_path, scenes=1, seed=3, keyframes=2)
    _check_same_world(today)
    path = tmp_path / ".parts" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["weathers"]
    path.write_text(json.dumps(settings | {"weather": None}))
    _check_same_world(today)
    path.write_text(json.dumps(settings | {"weather": "rain"}))
    with pytest.raises(ValueError, match="other settings"):
        _check_same_world(today)


def test_every_town_is_driven_in_every_weather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, Drive]] = []

    class Noted:
        def __init__(
            self, root: Path, drive: Drive, seed: int, index: int, options: SceneOptions
        ) -> None:
            made.append((index, drive))

        def write(self, on_keyframe: object) -> Records:
            return {}

    monkeypatch.setattr("training.make_world.SceneWriter", Noted)
    config = WorldConfig(
        tmp_path, scenes=2, seed=3, keyframes=2, weathers=("rain", "rain at night")
    )
    assert config.drives == 4
    for index in range(config.drives):
        make_scene(config, index)
    assert [index for index, _ in made] == [0, 1, 2, 3]
    assert [drive.name for _, drive in made] == [
        "town-3-0000-rain",
        "town-3-0000-rain-at-night",
        "town-3-0001-rain",
        "town-3-0001-rain-at-night",
    ]
    wet, dark, other = made[0][1], made[1][1], made[2][1]
    assert (wet.weather, dark.weather) == ("rain", "rain at night") and wet.region == dark.region
    assert np.array_equal(wet.static.vertices, dark.static.vertices)
    assert not np.array_equal(wet.static.vertices[:100], other.static.vertices[:100])


def test_a_drive_goes_from_one_weather_into_the_next(tmp_path: Path) -> None:
    """Two keyframes in each: the second scene's sweeps and stamps go on where the first's end, in
    the same coordinates.
    """
    drive = dataclasses.replace(moving_box_drive(), duration_s=2 * OPTIONS.end_s)
    parts = []
    for number, weather in enumerate(("clear", "rain at night")):
        options = dataclasses.replace(OPTIONS, first=2 * number)
        scene = dataclasses.replace(
            drive, name=weather, weather=weather, description=f"A car, {weather}"
        )
        records = SceneWriter(tmp_path, scene, 7, 0, options).write()
        parts.append(tmp_path / f"part{number}.json")
        tables.write_json(parts[-1], records)
    tables.assemble(tmp_path, OPTIONS.version, parts)
    nuscenes = NuScenes(tmp_path)
    day, night = (nuscenes.keyframes([name]) for name in ("clear", "rain at night"))
    stamps = [keyframe.stamp_ns for keyframe in (*day, *night)]
    assert np.diff(stamps).tolist() == [500_000_000] * 3
    sweeps = [
        sweep.stamp_ns
        for name in ("clear", "rain at night")
        for sweep in nuscenes.lidar_sweeps(name)
    ]
    assert np.diff(sweeps).tolist() == [50_000_000] * 40 and len(sweeps) == 41
    metres = [keyframe.lidar.world_from_ego[0, 3] for keyframe in (*day, *night)]
    np.testing.assert_allclose(np.diff(metres), SPEED_MPS * 0.5)
    image = [
        keyframe.cameras["CAM_FRONT"].read()[0].astype(float).mean()
        for keyframe in (day[1], night[0])
    ]
    assert image[1] < 0.6 * image[0]  # dark
    assert [keyframe.context.weather for keyframe in (day[1], night[0])] == [
        "clear",
        "rain at night",
    ]


def test_scenes_of_a_drive_lie_on_one_time_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, float, SceneOptions]] = []

    class Noted:
        def __init__(
            self, root: Path, drive: Drive, seed: int, index: int, options: SceneOptions
        ) -> None:
            made.append((index, drive.duration_s, options))

        def write(self, on_keyframe: object) -> Records:
            return {}

    monkeypatch.setattr("training.make_world.SceneWriter", Noted)
    config = WorldConfig(
        tmp_path, scenes=2, seed=3, keyframes=2, weathers=("clear", "rain"), consecutive=True
    )
    for index in range(config.drives):
        make_scene(config, index)
    assert [(index, options.first) for index, _, options in made] == [
        (0, 0),
        (0, 2),
        (2, 0),
        (2, 2),
    ]
    assert [seconds for _, seconds, _ in made] == pytest.approx(
        [41 * 0.05] * 4
    )  # 2 x 2 keyframes of ten sweeps, and one


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="two weathers"):
        WorldConfig(Path("x"), scenes=1, seed=0, weathers=("rain",), consecutive=True)
    with pytest.raises(ValueError, match="first must not be negative"):
        SceneOptions(first=-1)
    with pytest.raises(ValueError, match="names a weather twice"):
        WorldConfig(Path("x"), scenes=1, seed=0, weathers=("rain", "rain"))
    with pytest.raises(ValueError, match=r"scenes must be at least 1, got 0"):
        config(Path("x"), scenes=0)
    with pytest.raises(ValueError, match=r"keyframes must be at least 1, got 0"):
        SceneOptions(keyframes=0)


def test_nuscenes_devkit_loads_and_renders(written: tuple[Path, Records], tmp_path: Path) -> None:
    """With nuscenes-devkit in this Python, or in the one that OCC_DEVKIT_PYTHON names (it asks for
    numpy < 2).
    """
    python = os.environ.get(
        "OCC_DEVKIT_PYTHON", sys.executable if importlib.util.find_spec("nuscenes") else ""
    )
    if not python:
        pytest.skip(
            "nuscenes-devkit is not installed; OCC_DEVKIT_PYTHON may name a Python that has it"
        )
    script = f"""
import matplotlib; matplotlib.use("Agg")
from nuscenes.nuscenes import NuScenes
nusc = NuScenes("{OPTIONS.version}", {str(written[0])!r}, verbose=False)
sample = nusc.get("sample", nusc.scene[0]["last_sample_token"])
lidar, out = sample["data"]["LIDAR_TOP"], {str(tmp_path)!r}
nusc.render_sample_data(lidar, nsweeps=5, out_path=out + "/lidar.png", verbose=False)
nusc.render_sample_data(lidar, show_lidarseg=True, out_path=out + "/segments.png", verbose=False)
nusc.render_sample_data(sample["data"]["CAM_FRONT_LEFT"], out_path=out + "/camera.png", verbose=False)
nusc.render_pointcloud_in_image(sample["token"], out_path=out + "/points.png", verbose=False)
print(*nusc.box_velocity(sample["anns"][0]), nusc.get_sample_lidarseg_stats(sample["token"]))
"""
    result = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("*.png"))) == 4
    velocity = [float(value) for value in result.stdout.strip().splitlines()[-1].split()[:3]]
    assert velocity == pytest.approx([2.0, 0.0, 0.0], abs=1e-3)
