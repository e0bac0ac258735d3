"""From messages to frames, with the messages of a small drive as rosbags reads them.

Node and offline run share this path.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from occ_core.datasets.frames import NuScenesFrames
from occ_core.types import DriveContext, Frame
from occ_perception_ros.assembler import AssemblerConfig, FrameAssembler
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import FrameError, build_frame
from occ_perception_ros.messages import stamp_ns

SIZE = (16, 24)
CONFIG = AssemblerConfig()
Messages = list[tuple[str, Any]]
Feed = Callable[[FrameAssembler, Messages], list[FrameParts]]
Run = Callable[..., tuple[list[FrameParts], dict[str, str], FrameAssembler]]


@cache
def _read(bag: Path) -> Messages:
    with BagReader(bag) as reader:
        return [(raw.topic, reader.decode(raw)) for raw in reader.messages(list(reader.topics))]


@pytest.fixture
def drive(small_bag: Path) -> Messages:
    """Topics and messages in the bag's order; a test may change them."""
    return deepcopy(_read(small_bag))


@pytest.fixture
def run(feed: Feed) -> Run:
    """``run(messages, config)``: the parts of all frames, the last warning by key, and the
    assembler.
    """

    def run_(
        messages: Messages, config: AssemblerConfig = CONFIG
    ) -> tuple[list[FrameParts], dict[str, str], FrameAssembler]:
        warnings: dict[str, str] = {}
        assembler = FrameAssembler(config, warnings.__setitem__)
        return feed(assembler, messages) + assembler.flush(), warnings, assembler

    return run_


def frame_of(parts: FrameParts) -> Frame:
    return build_frame(parts, CONFIG.cameras, SIZE)[0]


def equal(a: Frame, b: Frame) -> bool:
    tensors = ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid")
    same = all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)
    return (
        same
        and torch.equal(a.points[0], b.points[0])
        and (a.stamp_ns, a.context) == (b.stamp_ns, b.context)
    )


def test_frames_of_the_bag_equal_those_of_the_data_set(
    drive: Messages, small_drive: Path, run: Run
) -> None:
    parts, warnings, _ = run(drive)
    dataset = NuScenesFrames(small_drive, image_size=SIZE)
    assert [p.stamp_ns for p in parts] == [keyframe.stamp_ns for keyframe in dataset.keyframes]
    for index, part in enumerate(parts):
        ours, expected = frame_of(part), dataset[index][0]
        assert torch.equal(ours.images, expected.images) and ours.camera_mask.all()
        # Poses were converted to quaternions and back; the tensors are float32.
        for name in ("intrinsics", "grid_from_camera", "world_from_grid"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(expected, name), rtol=0, atol=1e-4
            )
        torch.testing.assert_close(ours.points[0], expected.points[0], rtol=0, atol=1e-3)
        assert ours.context == expected.context
    assert not warnings


def test_the_frame_of_the_real_keyframe_equals_that_of_the_data_set(
    real_data: Path, tmp_path: Path, run: Run
) -> None:
    from occ_core.datasets.nuscenes import NuScenes
    from occ_perception_ros.bags.nuscenes_to_bag import convert_scene

    nuscenes = NuScenes(real_data)
    convert_scene(nuscenes, nuscenes.scenes[0]["name"], tmp_path / "bag")
    parts, _, _ = run(_read(tmp_path / "bag"))
    ours = build_frame(parts[0], CONFIG.cameras, (128, 352))[0]
    expected = NuScenesFrames(real_data, image_size=(128, 352), sweeps=0)[0][0]
    assert torch.equal(ours.images, expected.images) and torch.equal(
        ours.points[0], expected.points[0]
    )
    torch.testing.assert_close(ours.grid_from_camera, expected.grid_from_camera, rtol=0, atol=1e-5)


def test_every_pass_of_a_loop_gives_the_same_frames(drive: Messages, feed: Feed) -> None:
    assembler = FrameAssembler(CONFIG)
    first, second, third = (feed(assembler, deepcopy(drive)) for _ in range(3))
    assert [p.reset_reason for p in first] == [None] * 3  # three keyframes
    for later in (second, third):
        assert later[0].reset_reason is not None and "went back" in later[0].reset_reason
        assert [p.reset_reason for p in later[1:]] == [None, None]
        assert all(equal(frame_of(a), frame_of(b)) for a, b in zip(first, later, strict=True))


def test_a_sweep_waits_for_its_pose(drive: Messages, run: Run) -> None:
    def delayed_odometry(messages: Messages) -> Messages:
        """Every odometry message follows the next sweep."""
        result, held = [], []
        for topic, message in messages:
            if topic == "/odom":
                held.append((topic, message))
                continue
            result.append((topic, message))
            if topic == "/lidar_top":
                result += held
                held = []
        return result + held

    on_time, _, _ = run(drive)
    delayed, warnings, _ = run(delayed_odometry(drive))
    assert not warnings and all(
        equal(frame_of(a), frame_of(b)) for a, b in zip(on_time, delayed, strict=True)
    )


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        ("/odom", "no transform from 'lidar_top' to 'map'"),
        ("/tf_static", "no transform from 'lidar_top' to 'map'"),
    ],
)
def test_without_a_pose_there_is_no_frame_and_the_tf_frames_are_named(
    drive: Messages, left_out: str, reason: str, run: Run
) -> None:
    parts, warnings, assembler = run(
        [(topic, message) for topic, message in drive if topic != left_out]
    )
    assert parts == [] and reason in warnings["pose"] and assembler.counts["no_pose"] == 3


def test_a_camera_without_transform_or_camera_info_is_masked_and_named(
    drive: Messages, run: Run
) -> None:
    for topic, message in drive:
        if topic == "/tf_static":
            message.transforms = [t for t in message.transforms if t.child_frame_id != "cam_back"]
    parts, warnings, _ = run(
        [(topic, message) for topic, message in drive if topic != "/cam_front/camera_info"]
    )
    assert set(parts[0].masked) == {"cam_back", "cam_front"}
    assert "no camera_info" in parts[0].masked["cam_front"]
    assert "'cam_back'" in parts[0].masked["cam_back"]
    assert "camera 'cam_front' is masked" in warnings["masked cam_front"]
    assert frame_of(parts[0]).camera_mask.tolist() == [[True, False, True, True, False, True]]


def test_a_calibration_file_replaces_tf_and_camera_info(
    drive: Messages, small_bag: Path, tmp_path: Path, run: Run
) -> None:
    models = "".join(
        f"  {camera}: {{size: [32, 48], intrinsics: [38, 0, 23.5, 0, 39, 15.5, 0, 0, 1]}}\n"
        for camera in CONFIG.cameras
    )
    path = tmp_path / "calibration.yaml"
    path.write_text((small_bag / "calibration.yaml").read_text() + "cameras:\n" + models)
    bare = [
        (topic, message)
        for topic, message in drive
        if topic != "/tf_static" and not topic.endswith("camera_info")
    ]
    with_file, warnings, _ = run(bare, replace(CONFIG, calibration_file=str(path)))
    with_topics, _, _ = run(drive)
    assert not warnings and len(with_file) == 3
    torch.testing.assert_close(
        frame_of(with_file[0]).intrinsics, frame_of(with_topics[0]).intrinsics
    )
    torch.testing.assert_close(
        frame_of(with_file[0]).grid_from_camera, frame_of(with_topics[0]).grid_from_camera
    )


def test_a_changed_camera_info_is_used_and_an_unusable_one_masks_the_camera(
    drive: Messages, run: Run
) -> None:
    infos = [message for topic, message in drive if topic == "/cam_front/camera_info"]
    for message in infos[2:4]:
        message.p = message.p * np.array([2.0, *[1.0] * 11])
    for message in infos[4:]:
        message.r = np.zeros(9)
    parts, warnings, _ = run(drive)
    focal = [
        p.cameras["cam_front"].model.intrinsics[0, 0] if "cam_front" in p.cameras else None
        for p in parts
    ]
    assert focal == [38.0, 76.0, None]
    assert "R that is not a rotation" in parts[2].masked["cam_front"]
    assert "cam_front" in warnings["camera_info cam_front"]


def test_a_corrupt_image_masks_its_camera(drive: Messages, run: Run) -> None:
    for topic, message in drive:
        if topic == "/cam_back/image_rect_compressed":
            message.data = message.data[: len(message.data) // 2]
    frame, report = build_frame(run(drive)[0][0], CONFIG.cameras, SIZE)
    assert report.masked.keys() == {"cam_back"} and "truncated" in report.masked["cam_back"]
    assert frame.camera_mask.tolist() == [[True, True, True, True, False, True]]
    assert not frame.images[0, 4].any()


def _no_points(message: Any) -> None:
    message.data = np.zeros_like(message.data)  # all drop-outs


def _truncated(message: Any) -> None:
    message.data = message.data[:-5]


@pytest.mark.parametrize(
    ("spoil", "reason"), [(_no_points, "no usable point"), (_truncated, "truncated")]
)
def test_an_unusable_sweep_affects_only_its_own_frame(
    drive: Messages, spoil: Callable[[Any], None], reason: str, run: Run
) -> None:
    stamps = [p.stamp_ns for p in run(deepcopy(drive))[0]]
    for topic, message in drive:
        if topic == "/lidar_top" and stamp_ns(message.header) == stamps[1]:
            spoil(message)
    parts, _, _ = run(drive)
    with pytest.raises(FrameError, match=reason):
        frame_of(parts[1])
    assert len(frame_of(parts[0]).points[0]) > 0
    assert frame_of(parts[2]).points[0].isfinite().all()


def test_an_empty_cloud_counts_as_missing(drive: Messages, run: Run) -> None:
    for topic, message in drive:
        if topic == "/lidar_top":
            message.width = 0
    parts, warnings, assembler = run(drive)
    assert parts == [] and "empty" in warnings["empty cloud"]
    assert assembler.counts["empty_clouds"] == 21


def test_headers_of_broken_converters_are_refused(drive: Messages, run: Run) -> None:
    for topic, message in drive:
        if topic == "/cam_front/image_rect_compressed":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
    _, warnings, assembler = run(drive)
    assert "zero header stamp" in warnings["header cam_front"]
    assert assembler.counts["bad_headers"] == 5


def test_a_relocated_vehicle_starts_a_new_memory(drive: Messages, run: Run) -> None:
    half = len(drive) * 3 // 4
    for topic, message in drive[half:]:
        if topic == "/odom":
            message.pose.pose.position.x += 1000.0
    parts, _, assembler = run(drive)
    assert parts[1].reset_reason is None
    assert parts[2].reset_reason is not None and "jumped" in parts[2].reset_reason
    assert len(parts[2].sweeps) == 1 and assembler.counts["ego_jumps"] == 1


def test_the_next_frame_has_the_reason_of_a_reset(drive: Messages, feed: Feed) -> None:
    assembler = FrameAssembler(CONFIG)
    half = len(drive) // 2
    before = feed(assembler, drive[:half])
    assembler.reset("requested")
    after = feed(assembler, drive[half:])
    assert before and before[-1].reset_reason is None
    assert [p.reset_reason for p in after] == ["requested", *[None] * (len(after) - 1)]


def test_a_clock_that_goes_back_resets_once(drive: Messages, feed: Feed) -> None:
    assembler = FrameAssembler(CONFIG)
    feed(assembler, drive)
    now = stamp_ns(next(m for topic, m in drive if topic == "/lidar_top").header)
    assembler.clock_jumped(now)
    feed(assembler, drive[:20])
    assembler.clock_jumped(now)
    assert assembler.synchronizer.counts["resets"] == 1


def test_the_context_is_in_the_frame_unless_it_is_unknown(drive: Messages, run: Run) -> None:
    assert frame_of(run(drive)[0][0]).context == (
        DriveContext("rain at night", "singapore-onenorth"),
    )
    for topic, message in drive:
        if topic == "/can/weather":
            message.data = "hail"
    parts, warnings, _ = run(drive)
    assert parts[0].context.weather == "unknown"
    assert "'hail' is unknown" in warnings["context weather"]


def test_tf_frames_of_ros_1_with_a_leading_slash_are_the_same_frames(
    drive: Messages, run: Run
) -> None:
    plain, _, _ = run(deepcopy(drive))
    for topic, message in drive:
        if topic == "/odom":
            message.child_frame_id = f"/{message.child_frame_id}"
        if topic in ("/odom", "/lidar_top") or topic.endswith("compressed"):
            message.header.frame_id = f"/{message.header.frame_id}"
    slashed, warnings, _ = run(drive)
    assert not warnings and all(
        equal(frame_of(a), frame_of(b)) for a, b in zip(plain, slashed, strict=True)
    )


def test_the_ego_box_is_six_numbers() -> None:
    with pytest.raises(ValueError, match="ego_box_m must be x_min, y_min"):
        AssemblerConfig(ego_box_m=(1.0, 2.0))
    with pytest.raises(ValueError, match="ego_box_m must be x_min, y_min"):
        AssemblerConfig(ego_box_m=(1.0, 0.0, 0.0, -1.0, 1.0, 1.0))
