"""One scene on disk: complete nuScenes tables, all files, and the same bytes every time."""

from __future__ import annotations

import dataclasses
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
from training.world.box_world import CAR_WLH_M, SPEED_MPS, box_drive, pose_at
from training.world.nuscenes import tables
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.tables import Records
from training.world.nuscenes.visibility import count_points_in_box
from training.world.nuscenes.writer import SceneWriter
from training.world.scene import Drive
from training.world.sensors.rig import CAMERAS

OPTIONS = SceneOptions(keyframes=2, image_size=(36, 64))

DEVKIT_SCRIPT = """
import sys
import matplotlib; matplotlib.use("Agg")
from nuscenes.nuscenes import NuScenes
version, root, out = sys.argv[1:]
nusc = NuScenes(version, root, verbose=False)
sample = nusc.get("sample", nusc.scene[0]["last_sample_token"])
lidar, camera = sample["data"]["LIDAR_TOP"], sample["data"]["CAM_FRONT_LEFT"]
nusc.render_sample_data(lidar, nsweeps=5, out_path=out + "/lidar.png", verbose=False)
nusc.render_sample_data(lidar, show_lidarseg=True, out_path=out + "/segments.png", verbose=False)
nusc.render_sample_data(camera, out_path=out + "/camera.png", verbose=False)
nusc.render_pointcloud_in_image(sample["token"], out_path=out + "/points.png", verbose=False)
print(*nusc.box_velocity(sample["anns"][0]), nusc.get_sample_lidarseg_stats(sample["token"]))
"""


def moving_box_drive() -> Drive:
    """The car drives along x at 2 m/s, 4 m to the left of the ego vehicle's way."""
    drive = box_drive(duration_s=OPTIONS.end_s)
    car = dataclasses.replace(
        drive.actors[0], world_from_actor=lambda time_s: pose_at(12.0 + 2.0 * time_s, 4.0)
    )
    return dataclasses.replace(drive, actors=(car,))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    """Root and records of a scene of two keyframes."""
    root = tmp_path_factory.mktemp("box")
    records = SceneWriter(root, moving_box_drive(), 7, 0, OPTIONS).write()
    part = root / "part.json"
    tables.write_json(part, records)
    tables.assemble(root, OPTIONS.version, [part])
    part.unlink()
    return root, records


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def lidar_records(records: Records) -> list[tables.Record]:
    return [record for record in records["sample_data"] if "LIDAR_TOP" in record["filename"]]


def test_all_thirteen_tables_and_lidarseg_exist_and_link_up(written: tuple[Path, Records]) -> None:
    root, _ = written
    expected = "attribute calibrated_sensor category ego_pose instance lidarseg log map"
    expected += " sample sample_annotation sample_data scene sensor visibility"
    paths = (root / OPTIONS.version).glob("*.json")
    loaded = {path.stem: json.loads(path.read_text()) for path in paths}
    assert " ".join(sorted(loaded)) == expected
    tokens = {name: {record["token"] for record in records} for name, records in loaded.items()}
    assert all(len(tokens[name]) == len(records) for name, records in loaded.items())
    for table, records in loaded.items():
        for record in records:
            for field, value in record.items():
                target = table if field in ("prev", "next") else field.removesuffix("_token")
                is_link = field.endswith("_token") or field in ("prev", "next")
                if is_link and value and target in tokens:
                    assert value in tokens[target], f"{table}.{field}"
    assert [category["name"] for category in loaded["category"]] == list(LIDARSEG_CATEGORIES)
    assert [category["index"] for category in loaded["category"]] == list(range(32))


def test_sensor_files_exist_with_their_stamps(written: tuple[Path, Records]) -> None:
    root, records = written
    lidar = lidar_records(records)
    # Ten sweeps before the first keyframe, its own, and ten until the second. Six images each.
    assert len(lidar) == 10 + 1 + 10 and len(records["sample_data"]) == len(lidar) + 2 * 6
    assert all((root / record["filename"]).exists() for record in records["sample_data"])
    assert set(np.diff(sorted(record["timestamp"] for record in lidar))) == {50_000}
    first = records["sample"][0]
    images = [
        record
        for record in records["sample_data"]
        if record["sample_token"] == first["token"] and record["fileformat"] == "jpg"
    ]
    delays = {image["filename"].split("/")[1]: image["timestamp"] for image in images}
    assert delays == {camera.channel: first["timestamp"] + camera.delay_us for camera in CAMERAS}
    assert cv2.imread(str(root / images[0]["filename"])).shape == (36, 64, 3)
    for record in records["sample_data"]:
        channel = record["filename"].split("/")[1]
        assert f"__{channel}__{record['timestamp']}." in record["filename"]


def test_keyframes_have_points_segmentation_labels_and_masks(written: tuple[Path, Records]) -> None:
    root, records = written
    keyframes = {
        record["token"]: root / record["filename"]
        for record in lidar_records(records)
        if record["is_key_frame"]
    }
    assert len(keyframes) == len(records["lidarseg"]) == 2
    for record in records["lidarseg"]:
        sweep = keyframes[record["sample_data_token"]]
        points = np.fromfile(sweep, np.float32).reshape(-1, 5)
        assert np.fromfile(root / record["filename"], np.uint8).shape == (len(points),)
        labels = np.load(root / "nuscenes_occ/samples" / f"{sweep.name}.npy")
        assert labels.dtype == np.int64 and labels.shape[1] == 4
        masks = np.load(root / "nuscenes_occ/masks" / f"{sweep.name}.npz")
        for mask in (masks["mask_lidar"], masks["mask_camera"]):
            assert mask.shape == (200, 200, 16) and mask.dtype == np.uint8 and 0 < mask.mean() < 1


def test_annotations_follow_the_moving_car(written: tuple[Path, Records]) -> None:
    _, records = written
    first, second = records["sample_annotation"]
    assert (first["next"], second["prev"]) == (second["token"], first["token"])
    # Half a second at 2 m/s; the translation is the centre of the box, half its height up.
    moved = np.subtract(second["translation"], first["translation"])
    assert moved == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)
    assert first["translation"][2] == pytest.approx(CAR_WLH_M[2] / 2)
    assert first["size"] == list(CAR_WLH_M) and first["num_lidar_pts"] > 50
    assert records["instance"][0]["nbr_annotations"] == 2


def test_odometry_is_the_motion_of_the_car(written: tuple[Path, Records]) -> None:
    root, records = written
    messages = json.loads((root / "can_bus" / "scene-box_pose.json").read_text())
    assert set(np.diff([message["utime"] for message in messages])) == {20_000}
    message = messages[10]
    assert message["vel"] == pytest.approx([5.0, 0.0, 0.0], abs=1e-4)
    assert message["accel"] == pytest.approx([0.0, 0.0, 9.81], abs=1e-4)
    assert message["rotation_rate"] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    # The frame is that of the ego_pose table: 5 m/s * 0.05 s between the message at 10 / 50 Hz =
    # 0.20 s and the sweep stamped 0.25 s.
    pose = next(p for p in records["ego_pose"] if p["timestamp"] == message["utime"] + 50_000)
    assert pose["translation"][0] - message["pos"][0] == pytest.approx(5.0 * 0.05, abs=1e-5)


def test_map_is_white_where_the_car_drives(written: tuple[Path, Records]) -> None:
    root, records = written
    image = cv2.imread(str(root / records["map"][0]["filename"]), cv2.IMREAD_UNCHANGED)
    x, y, _ = records["ego_pose"][0]["translation"]
    # 10 pixels a metre; the last row is the southernmost one.
    assert image[image.shape[0] - 1 - round(y * 10), round(x * 10)] == 255


def test_the_same_drive_gives_the_same_bytes(written: tuple[Path, Records], tmp_path: Path) -> None:
    root, _ = written
    SceneWriter(tmp_path, moving_box_drive(), 7, 0, OPTIONS).write()
    names = files(tmp_path)
    assert names == {name for name in files(root) if not name.startswith(OPTIONS.version)}
    for name in names:
        assert (tmp_path / name).read_bytes() == (root / name).read_bytes(), name


def test_a_drive_goes_from_one_weather_into_the_next(tmp_path: Path) -> None:
    """Two scenes of one keyframe: times and coordinates of the second continue the first."""
    drive = box_drive(duration_s=2 * OPTIONS.end_s)
    parts = []
    for number, weather in enumerate(("clear", "rain at night")):
        options = dataclasses.replace(OPTIONS, keyframes=1, first=number)
        scene = dataclasses.replace(
            drive, name=weather, weather=weather, description=f"A car, {weather}"
        )
        parts.append(tmp_path / f"part{number}.json")
        tables.write_json(parts[-1], SceneWriter(tmp_path, scene, 7, 0, options).write())
    tables.assemble(tmp_path, OPTIONS.version, parts)
    nuscenes = NuScenes(tmp_path)
    (day,), (night,) = (nuscenes.keyframes([name]) for name in ("clear", "rain at night"))
    assert night.stamp_ns - day.stamp_ns == 500_000_000
    sweeps = [*nuscenes.lidar_sweeps("clear"), *nuscenes.lidar_sweeps("rain at night")]
    assert np.diff([sweep.stamp_ns for sweep in sweeps]).tolist() == [50_000_000] * 20
    day_x, night_x = (keyframe.lidar.world_from_ego[0, 3] for keyframe in (day, night))
    assert night_x - day_x == pytest.approx(SPEED_MPS * 0.5)
    day_mean, night_mean = (
        keyframe.cameras["CAM_FRONT"].read()[0].mean() for keyframe in (day, night)
    )
    assert night_mean < 0.6 * day_mean
    assert (day.context.weather, night.context.weather) == ("clear", "rain at night")


def test_points_in_a_box_are_counted() -> None:
    # Sorted by x; the box reaches from -1 to 1, -0.5 to 0.5 and 0 to 1: points 2 and 3 are inside.
    points = np.array([[-1.1, 0, 0.5], [-0.9, 0, 0.5], [0, 0, 0.5], [0, 0.6, 0.5], [0.9, 0, 1.1]])
    assert count_points_in_box(points, np.eye(4), (1.0, 2.0, 1.0)) == 2


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, "1"), (0.4, "1"), (0.41, "2"), (0.75, "3"), (1.0, "4")]
)
def test_visibility_tokens(fraction: float, expected: str) -> None:
    assert tables.visibility_token(fraction) == expected


def test_scenes_must_not_share_a_name(tmp_path: Path) -> None:
    parts = [tmp_path / "0.json", tmp_path / "1.json"]
    for part in parts:
        tables.write_json(part, {"scene": [{"token": "a", "name": "scene-box"}]})
    with pytest.raises(ValueError, match="drives share a name"):
        tables.assemble(tmp_path, OPTIONS.version, parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keyframes": 0}, "keyframes must be at least 1, got 0"),
        ({"first": -1}, "first must not be negative, got -1"),
        ({"image_size": (4, 64)}, "image_size must be at least 8 8"),
    ],
)
def test_nonsense_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(OPTIONS, **changes)


def test_nuscenes_devkit_loads_and_renders(written: tuple[Path, Records], tmp_path: Path) -> None:
    """With nuscenes-devkit in this Python, or in the one that OCC_DEVKIT_PYTHON names.

    The devkit needs numpy < 2.
    """
    this_python = sys.executable if importlib.util.find_spec("nuscenes") else ""
    python = os.environ.get("OCC_DEVKIT_PYTHON", this_python)
    if not python:
        pytest.skip("nuscenes-devkit is not installed, nor named by OCC_DEVKIT_PYTHON")
    command = [python, "-c", DEVKIT_SCRIPT, OPTIONS.version, str(written[0]), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("*.png"))) == 4
    velocity = [float(value) for value in result.stdout.strip().splitlines()[-1].split()[:3]]
    assert velocity == pytest.approx([2.0, 0.0, 0.0], abs=1e-3)
