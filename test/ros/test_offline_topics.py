"""Offline runs of other people's bags: their topics, cameras, encodings, and all reasons told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.bags.writer import BagWriter, qos_profile
from occ_perception_ros.lenses import Lens
from occ_perception_ros.offline import OfflineConfig, OfflineFrame, OfflineRun, run_offline
from occ_perception_ros.synchronizer import SyncConfig
from occ_perception_ros.topics import CUSTOM, TopicPreset, remapped

SIZE = (32, 48)
SYNC = SyncConfig(camera_offsets_s=(0.0,), tolerance_s=0.04, startup_grace_s=0.0)
OWN_TOPICS = (
    "points:=/lidar_top",
    "~/input/odometry:=/odom",
    "front/image:=/cam_front/image_rect_compressed",
    "front/camera_info:=/cam_front/camera_info",
    "/occupancy_node/input/rear/image:=/cam_back/image_rect_compressed",
    "rear/camera_info:=/cam_back/camera_info",
)
Change = Callable[[str, Any], Any]


@dataclass
class FrameKeeper:
    """An engine that keeps the frames."""

    frames: list[Frame] = field(default_factory=list)

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        grid = VoxelGrid((-4.0, -4.0, -4.0, 4.0, 4.0, 4.0), 4.0)
        labels = torch.zeros((1, 2, 2, 2), dtype=torch.uint8)
        return Occupancy(labels, torch.full((1, 2, 2, 2), 0.5), grid, frame.stamp_ns, "lidar_top")

    def reset(self, reason: str) -> None: ...


def run(
    bag: Path, config: AssemblerConfig, topics: Any = "nuscenes", remap: tuple[str, ...] = ()
) -> tuple[list[Frame], list[OfflineFrame]]:
    engine = FrameKeeper()
    with BagReader(bag) as reader:
        results = list(OfflineRun(reader, engine, SIZE, config, topics, "odometry", remap))
    return engine.frames, results


def changed(bag: Path, out: Path, change: Change) -> Path:
    """A copy of the bag whose messages went through ``change``; None leaves one out."""
    with BagReader(bag) as reader, BagWriter(out) as writer:
        messages = []
        types: dict[str, str] = {}
        for raw in reader.messages():
            message = change(raw.topic, reader.decode(raw))
            if message is not None:
                types[raw.topic] = message.__msgtype__
                messages.append((raw.topic, message, raw.stamp_ns))
        for topic, kind in types.items():
            writer.add_topic(topic, kind, qos_profile(10, latched=reader.topics[topic].latched))
        for topic, message, stamp_ns in messages:
            writer.write(topic, message, stamp_ns)
    return out


def test_own_topics_and_own_cameras(small_bag: Path) -> None:
    config = AssemblerConfig(cameras=("front", "rear"), sync=SYNC)
    frames, results = run(small_bag, config, "custom", OWN_TOPICS)
    expected, _ = run(small_bag, replace(config, cameras=("cam_front", "cam_back")))
    assert len(results) == 3 and all(frame.camera_mask.tolist() == [[True] * 2] for frame in frames)
    for found, same in zip(frames, expected, strict=True):
        assert torch.equal(found.images, same.images)
        assert torch.equal(found.points[0], same.points[0])


def test_other_camera_names_follow_the_pattern_of_the_preset(small_bag: Path) -> None:
    config = AssemblerConfig(cameras=("front", "rear"), sync=SYNC)
    topics = "/front/image_rect_compressed, /rear/image_rect_compressed"
    with pytest.raises(BagError, match=f"no image on {topics}; .* with --remap"):
        run(small_bag, config)
    mixed = AssemblerConfig(cameras=("cam_front", "rear"), sync=SYNC)
    frames, _ = run(small_bag, mixed)
    assert [frame.camera_mask.tolist() for frame in frames] == [[[True, False]]] * 3


def test_a_bag_without_any_of_the_topics_names_them(small_bag: Path) -> None:
    with pytest.raises(BagError, match="no point cloud on /occupancy_node/input/points"):
        run(small_bag, AssemblerConfig(cameras=(), sync=SYNC), "custom")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("pionts:=/a", "remap 'pionts:=/a' must be INPUT:=TOPIC, with one of the inputs front/im"),
        ("points", "remap 'points' must be INPUT:=TOPIC"),
        ("points:=", "must be INPUT:=TOPIC"),
        ("points:=/same", "topic '/same' is given to points and odometry; remap one"),
    ],
)
def test_remappings_that_mean_nothing_are_refused(rule: str, problem: str) -> None:
    preset: TopicPreset = replace(CUSTOM, odometry="/same")
    names = dict(preset.remappings(("front",)))
    topic_of = {name.removeprefix("~/input/"): topic for name, topic in names.items()}
    with pytest.raises(ValueError, match=problem):
        remapped(topic_of, [rule])


def test_rigs_without_cameras_and_without_lidar(small_bag: Path) -> None:
    frames, results = run(small_bag, AssemblerConfig(cameras=(), sync=SYNC))
    assert len(results) == 3 and frames[0].camera_mask.shape == (1, 0)
    cameras = AssemblerConfig(cameras=("cam_front", "cam_back"), lidar=False, sync=SYNC)
    frames, results = run(small_bag, cameras)
    # The cameras fire at 4 Hz, and every half second is answered.
    assert len(results) == 3 and all(frame.points[0].shape == (0, 5) for frame in frames)
    assert all(frame.camera_mask.all() for frame in frames)


def test_every_reason_of_a_masked_camera_is_told(
    small_bag: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults = {
        "/cam_front/image_rect_compressed": lambda data: np.frombuffer(b"GIF89a", np.uint8),
        "/cam_back/image_rect_compressed": lambda data: data[: len(data) // 2],
    }

    def spoil(topic: str, message: Any) -> Any:
        if topic in faults:
            message.data = faults[topic](message.data)
        if topic == "/cam_back_left/camera_info":
            message.height *= 2
        return message

    with caplog.at_level(logging.WARNING):
        _, results = run(changed(small_bag, tmp_path / "bag", spoil), AssemblerConfig())
    told = [record.message for record in caplog.records if "image of" in record.message]
    for camera, reason in (
        ("cam_front", "neither JPEG nor PNG: it begins with 47494638"),
        ("cam_back", "truncated or damaged"),
        ("cam_back_left", "it is 48x32, but its camera_info is for 48x64"),
    ):
        lines = [text for text in told if f"image of '{camera}'" in text]
        assert len(lines) == 1 and reason in lines[0]  # once, not once a frame
        assert all(camera in result.report.masked for result in results)


def test_a_png_and_a_lens_give_the_frames_of_the_node(small_bag: Path, tmp_path: Path) -> None:
    d = np.array([-0.3, 0.1, 0.0, 0.0, 0.0])

    def bend(topic: str, message: Any) -> Any:
        if topic.endswith("image_rect_compressed"):
            image = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
            message.data = cv2.imencode(".png", image)[1].ravel()
        if topic.endswith("camera_info"):
            message.d = d
        return message

    bag = changed(small_bag, tmp_path / "bag", bend)
    config = AssemblerConfig(cameras=("cam_front",), sync=SYNC)
    straight, _ = run(small_bag, config)
    k = straight[0].intrinsics[0, 0].double().numpy()
    for choice, is_bent in (("auto", False), ("always", False), ("never", True)):
        frames, _ = run(bag, replace(config, rectified_images=choice))
        for frame, other in zip(frames, straight, strict=True):
            image = other.images[0, 0].permute(1, 2, 0).numpy()
            if is_bent:
                image = Lens("plumb_bob", d.tolist(), k, np.eye(3), SIZE).rectified(image, k)
            # libjpeg has two decoders, which may differ by a rounding.
            found = frame.images[0, 0].permute(1, 2, 0).numpy().astype(int)
            assert np.abs(found - image).mean() < 1


def test_a_lens_that_a_rectified_topic_has_is_told(
    small_bag: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def bend(topic: str, message: Any) -> Any:
        if topic.endswith("camera_info"):
            message.d = np.array([-0.3, 0.1, 0.0, 0.0, 0.0])
        return message

    bag = changed(small_bag, tmp_path / "bag", bend)
    for choice, lines in (("auto", 6), ("always", 0), ("never", 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(bag, AssemblerConfig(rectified_images=choice))
        told = [r.message for r in caplog.records if "describes a lens (plumb_bob)" in r.message]
        assert len(told) == lines


def test_a_checkpoint_without_its_sensor_is_refused(small_bag: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model(replace(debug(), camera=False)), {})
    config = AssemblerConfig(lidar=False, cameras=("cam_front",), sync=SYNC)
    with pytest.raises(ValueError, match="uses points only, but the vehicle has 1 cameras and no"):
        run_offline(OfflineConfig(bag=small_bag, checkpoint=path, assembler=config))
