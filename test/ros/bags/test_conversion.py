"""Conversions of nuScenes that skip files, that fail, and of several scenes; the command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from occ_core.datasets.nuscenes import NuScenes
from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene, convert_scenes, main

ReadTopic = Callable[[Path, str], list[tuple[int, Any]]]

NS = 10**9


def test_missing_and_damaged_files_are_skipped_with_a_warning(
    small_nuscenes: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    read_topic: ReadTopic,
) -> None:
    drive = small_nuscenes()
    first, second, *_ = sorted((drive.root / "samples" / "CAM_FRONT").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-200])
    cloud = sorted((drive.root / "sweeps" / "LIDAR_TOP").iterdir())[0]
    cloud.write_bytes(cloud.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        report = convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")
    assert {channel: len(reasons) for channel, reasons in report.skipped.items()} == {
        "CAM_FRONT": 2,
        "LIDAR_TOP": 1,
    }
    missing, damaged = report.skipped["CAM_FRONT"]
    assert first.name in missing and second.name in damaged and "truncated" in damaged
    assert "CAM_FRONT: 2 messages skipped" in caplog.text
    assert "LIDAR_TOP: 1 messages skipped" in caplog.text
    for topic in ("/cam_front/camera_info", "/cam_front/image_rect_compressed"):
        assert len(read_topic(tmp_path / "bag", topic)) == 3
    assert report.messages["/lidar_top"] == 20
    assert report.messages["/tf"] == report.messages["/odom"]


def test_nothing_is_left_of_a_conversion_that_fails(
    small_nuscenes: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = small_nuscenes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("occ_perception_ros.bags.nuscenes_messages.box_markers", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="No space left"):
        convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "out" / "bag")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_bag_is_not_overwritten(small_drive: Path, small_bag: Path) -> None:
    with pytest.raises(FileExistsError, match="remove it or choose another path"):
        convert_scene(NuScenes(small_drive), "scene-0001", small_bag)


def test_two_calibrations_in_one_scene_are_refused(
    small_nuscenes: Callable[..., Any], tmp_path: Path
) -> None:
    drive = small_nuscenes()
    other = {
        **drive.tables["calibrated_sensor"][0],
        "token": "moved",
        "translation": [2.0, 0.0, 1.8],
    }
    drive.tables["calibrated_sensor"].append(other)
    next(r for r in drive.tables["sample_data"] if r["token"].startswith("LIDAR"))[
        "calibrated_sensor_token"
    ] = "moved"
    drive.save()
    with pytest.raises(ValueError, match="LIDAR_TOP has two calibrations"):
        convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")


def test_a_bad_can_bus_file_is_named(small_nuscenes: Callable[..., Any], tmp_path: Path) -> None:
    drive = small_nuscenes(can_bus=True)
    (drive.root / "can_bus" / "scene-0001_pose.json").write_text('[{"utime": 1}]')
    with pytest.raises(ValueError, match="scene-0001_pose.json is not a pose file"):
        convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")


def test_the_command_writes_one_bag_per_scene(
    small_nuscenes: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = small_nuscenes(("scene-0001", "scene-0002"), keyframes=1).root
    arguments = ["nuscenes_to_bag", str(root), str(tmp_path / "bags"), "--storage", "sqlite3"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    assert sorted(path.name for path in (tmp_path / "bags").iterdir()) == [
        "scene-0001",
        "scene-0002",
    ]
    assert "scene-0002: " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--scene", "scene-0009"])
    with pytest.raises(SystemExit, match="scene-0009"):
        main()


def test_consecutive_scenes_fit_in_one_bag(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    drive = small_nuscenes(("scene-0001", "scene-0002"), keyframes=2)
    for scene, description in zip(
        drive.tables["scene"], ("Sunny, town", "Night, rain, town"), strict=True
    ):
        scene["description"] = description
    drive.save()
    nuscenes, bag = NuScenes(drive.root), tmp_path / "bag"
    report = convert_scenes(nuscenes, ["scene-0002", "scene-0001"], bag)
    first, second = (
        convert_scene(nuscenes, name, tmp_path / name).messages
        for name in ("scene-0001", "scene-0002")
    )
    both = {topic: first[topic] + second[topic] for topic in first}
    assert report.messages == both | {"/tf_static": 1}
    stamps = [stamp for stamp, _ in read_topic(bag, "/lidar_top")]
    # The second scene begins 100 s after the first.
    assert stamps == sorted(stamps) and stamps[-1] - stamps[0] > 90 * NS
    weathers = [message.data for _, message in read_topic(bag, "/can/weather")]
    assert set(weathers) == {"clear", "rain at night"} and weathers == sorted(weathers)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["custom_data"]["scene"] == "scene-0001, scene-0002"
    assert check_bag(bag) == []


def test_overlapping_scenes_are_refused(small_drive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scene-0001 and scene-0001 overlap in time"):
        convert_scenes(NuScenes(small_drive), ["scene-0001", "scene-0001"], tmp_path / "bag")


def test_scenes_of_two_logs_are_refused(small_nuscenes: Callable[..., Any], tmp_path: Path) -> None:
    drive = small_nuscenes(("scene-0001", "scene-0002"), keyframes=1)
    drive.tables["log"].append({**drive.tables["log"][0], "token": "other", "logfile": "n015-2018"})
    drive.tables["scene"][1]["log_token"] = "other"
    drive.save()
    with pytest.raises(
        ValueError, match="scene-0001 belongs to log log, but scene-0002 to log n015"
    ):
        convert_scenes(NuScenes(drive.root), ["scene-0001", "scene-0002"], tmp_path / "bag")
    with pytest.raises(ValueError, match="got none"):
        convert_scenes(NuScenes(drive.root), [], tmp_path / "bag")


def test_the_command_writes_one_bag_of_all_scenes(
    small_nuscenes: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_topic: ReadTopic,
) -> None:
    root = small_nuscenes(("scene-0001", "scene-0002"), keyframes=1).root
    monkeypatch.setattr(
        sys, "argv", ["nuscenes_to_bag", str(root), str(tmp_path / "bag"), "--one-bag"]
    )
    main()
    assert len(read_topic(tmp_path / "bag", "/annotations")) == 2
