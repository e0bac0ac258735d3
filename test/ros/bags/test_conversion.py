"""Conversions of nuScenes that skip files, that fail, and of several scenes; the command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from occ_core.datasets.nuscenes import NuScenes
from occ_perception_ros.bags.check import check_bag
from occ_perception_ros.bags.nuscenes_events import BagEvent
from occ_perception_ros.bags.nuscenes_to_bag import (
    EVENTS_AHEAD,
    NoRecordingError,
    _made_ahead,
    convert_scene,
    convert_scenes,
    main,
)

ReadTopic = Callable[[Path, str], list[tuple[int, Any]]]

NS = 10**9
START_US = 1_600_000_000_000_000
"""Start of the first small scene."""


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


def test_a_scene_without_files_gives_no_bag(
    small_nuscenes: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drive = small_nuscenes(("scene-0001", "scene-0002"), keyframes=1)
    later = f"__{START_US + 50_000_000}"  # the second scene starts after 100 s
    for file in drive.root.rglob("*__*.*"):
        if f"__{file.stem.split('__')[2].split('.')[0]}" > later:
            file.unlink()
    nuscenes, out = NuScenes(drive.root), tmp_path / "out"
    with pytest.raises(NoRecordingError, match="none of the 7 files of scene-0002 exists"):
        convert_scene(nuscenes, "scene-0002", out)
    assert not out.exists()
    # All scenes: what is there is written, and the others are named.
    arguments = ["nuscenes_to_bag", str(drive.root), str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    with caplog.at_level(logging.WARNING):
        main()
    assert [path.name for path in out.iterdir()] == ["scene-0001"]
    assert "none of the 7 files of scene-0002 exists" in caplog.text
    monkeypatch.setattr(sys, "argv", [*arguments, "--scene", "scene-0002"])
    with pytest.raises(SystemExit, match="scene-0002"):
        main()


def test_a_scene_of_damaged_files_gives_no_bag(
    small_nuscenes: Callable[..., Any], tmp_path: Path
) -> None:
    drive = small_nuscenes(keyframes=1)
    for file in drive.root.rglob("*__*.*"):
        file.write_bytes(b"damaged")
    with pytest.raises(NoRecordingError, match=r"no image and no sweep of scene-0001.*CAM_BACK: "):
        convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "out" / "bag")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("kind", "text"), [("LIDAR", "no LiDAR sweep"), ("CAM", "no image")])
def test_a_bag_without_one_kind_of_sensor_is_warned_of(
    kind: str,
    text: str,
    small_nuscenes: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    drive = small_nuscenes(keyframes=1)
    for file in drive.root.rglob(f"*__{kind}*"):
        file.unlink()
    with caplog.at_level(logging.WARNING):
        convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag")
    assert f"scene-0001: the bag has {text}" in caplog.text


def test_png_files_keep_their_format(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    drive = small_nuscenes(keyframes=1)
    for record in drive.tables["sample_data"]:
        if record["filename"].endswith(".jpg"):
            image = cv2.imread(str(drive.root / record["filename"]))
            record["filename"] = record["filename"].replace(".jpg", ".png")
            cv2.imwrite(str(drive.root / record["filename"]), image)
    drive.save()
    convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag", raw_images=True)
    ((_, message),) = read_topic(tmp_path / "bag", "/cam_front/image_rect_compressed")
    assert message.format == "png" and message.data[:4].tobytes() == b"\x89PNG"
    ((_, raw),) = read_topic(tmp_path / "bag", "/cam_front/image_rect")
    assert np.array_equal(raw.data.reshape(raw.height, raw.width, 3), _decoded(message))


def _decoded(message: Any) -> np.ndarray:
    return np.asarray(cv2.imdecode(message.data, cv2.IMREAD_COLOR))


def test_tables_of_other_makers(
    small_nuscenes: Callable[..., Any], tmp_path: Path, read_topic: ReadTopic
) -> None:
    """Float stamps, sizes that were never filled in, and paths of Windows."""
    drive = small_nuscenes(keyframes=1)
    plain = convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "plain")
    for record in drive.tables["sample_data"]:
        record["timestamp"] += 0.25
        record["height"], record["width"] = None, 0
        record["filename"] = record["filename"].replace("/", "\\")
    drive.save()
    other = convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "other")
    assert other.messages == plain.messages and not other.skipped
    for topic in ("/cam_front/camera_info", "/lidar_top"):
        ((before_ns, before),), ((after_ns, after),) = (
            read_topic(tmp_path / name, topic) for name in ("plain", "other")
        )
        assert before_ns == after_ns
        assert (before.height, before.width) == (after.height, after.width)
    assert before.data.tobytes() == after.data.tobytes()


def test_the_pose_of_a_sensor_that_is_not_used_may_be_anything(
    small_nuscenes: Callable[..., Any], tmp_path: Path
) -> None:
    drive = small_nuscenes(keyframes=1)
    drive.tables["sensor"].append({"token": "R", "channel": "RADAR_FRONT", "modality": "radar"})
    calibration = drive.tables["calibrated_sensor"][0]
    drive.tables["calibrated_sensor"].append(calibration | {"token": "R", "sensor_token": "R"})
    drive.tables["ego_pose"].append({"token": "R", "translation": None, "rotation": None})
    radar = drive.tables["sample_data"][0] | {"token": "R", "calibrated_sensor_token": "R"}
    drive.tables["sample_data"].append(radar | {"ego_pose_token": "R", "timestamp": "soon"})
    drive.save()
    assert not convert_scene(NuScenes(drive.root), "scene-0001", tmp_path / "bag").skipped


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


def test_files_are_read_only_shortly_before_they_are_written() -> None:
    """The memory of a conversion does not grow with the length of the scene."""
    made: list[int] = []

    def event(number: int) -> BagEvent:
        def make() -> list[tuple[str, object]]:
            made.append(number)
            if number == 7:
                raise ValueError("damaged")
            return [("/topic", number)]

        return BagEvent(number, 0, "channel", make)

    results = _made_ahead([event(number) for number in range(1000)])
    for number, (each, result) in enumerate(results):
        assert each.stamp_ns == number
        if number == 7:
            assert isinstance(result, ValueError) and str(result) == "damaged"
        else:
            assert result == [("/topic", number)]
        # Those before it, itself, and at most those that may be made ahead.
        assert len(made) <= number + 1 + EVENTS_AHEAD
    assert sorted(made) == list(range(1000))


def test_an_abandoned_conversion_reads_no_further_files() -> None:
    made: list[int] = []
    events = [BagEvent(n, 0, "", partial(made.append, n)) for n in range(1000)]
    results = _made_ahead(events)
    next(results)
    results.close()
    assert len(made) <= 1 + EVENTS_AHEAD
