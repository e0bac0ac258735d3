"""The offline run of a bag, against the same drive as read from its files."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import checkpoint_id, save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import frame_from_keyframe
from occ_core.datasets.nuscenes import NuScenes
from occ_core.ops.line_of_sight import CROSSED
from occ_core.taxonomy import EMPTY
from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.assembler import AssemblerConfig
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.bags.writer import BagWriter, qos_profile
from occ_perception_ros.decoding import DenseVoxels
from occ_perception_ros.offline import (
    OfflineConfig,
    OfflineFrame,
    OfflineRun,
    Preset,
    main,
    run_offline,
    with_frames_of,
)
from occ_perception_ros.synchronizer import SyncConfig
from occ_perception_ros.topics import PRESETS

IMAGE_SIZE = (32, 48)
# The drive's cameras fire 5 ms after one another, the first with the sweep.
CONFIG = AssemblerConfig(
    sync=SyncConfig(camera_offsets_s=tuple(-0.005 * i for i in range(6)), tolerance_s=0.01)
)


@dataclass
class Recorder:
    """An engine that keeps the frames and returns a grid that depends on them."""

    frames: list[Frame] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        grid = VoxelGrid((-4.0, -4.0, -4.0, 4.0, 4.0, 4.0), 4.0)
        value = int(frame.points[0].sum().abs()) % 17
        labels = torch.full((1, 2, 2, 2), value, dtype=torch.uint8)
        return Occupancy(labels, torch.full((1, 2, 2, 2), 0.5), grid, frame.stamp_ns, "lidar_top")

    def reset(self, reason: str) -> None:
        self.resets.append(reason)


def run(
    bag: Path,
    config: AssemblerConfig = CONFIG,
    topics: Preset = "nuscenes",
    pose_source: Any = "odometry",
) -> tuple[Recorder, list[OfflineFrame], OfflineRun]:
    engine = Recorder()
    with BagReader(bag) as reader:
        offline = OfflineRun(reader, engine, IMAGE_SIZE, config, topics, pose_source)
        return engine, list(offline), offline


def copy_bag(bag: Path, out: Path, change: Callable[[str, int, bytes], Collection[bytes]]) -> Path:
    """Copies a bag; ``change(topic, number in the topic, data)`` returns the data to write."""
    with BagReader(bag) as reader, BagWriter(out) as writer:
        seen: dict[str, int] = {}
        for name, topic in reader.topics.items():
            writer.add_topic(name, topic.message_type, qos_profile(10, latched=topic.latched))
        for message in reader.messages():
            number = seen[message.topic] = seen.get(message.topic, -1) + 1
            for data in change(message.topic, number, message.data):
                writer.write_raw(message.topic, data, message.stamp_ns)
    return out


@pytest.mark.parametrize("pose_source", ["odometry", "tf"])
def test_frames_equal_those_of_the_data_set(
    small_bag: Path, small_drive: Path, pose_source: str
) -> None:
    engine, results, offline = run(small_bag, pose_source=pose_source)
    keyframes = NuScenes(small_drive).keyframes()
    assert [result.stamp_ns for result in results] == [keyframe.stamp_ns for keyframe in keyframes]
    assert offline.counts["frames"] == 3 and engine.resets == []
    for frame, keyframe, result in zip(engine.frames, keyframes, results, strict=True):
        expected = frame_from_keyframe(keyframe, IMAGE_SIZE)
        assert frame.camera_mask.all() and result.report.masked == {}
        assert torch.equal(frame.images, expected.images)
        torch.testing.assert_close(frame.intrinsics, expected.intrinsics)
        # Poses were converted to quaternions and back; float32 has steps of 4e-6 m at 40 m.
        torch.testing.assert_close(
            frame.grid_from_camera, expected.grid_from_camera, atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            frame.world_from_grid, expected.world_from_grid, atol=1e-9, rtol=0
        )
        torch.testing.assert_close(frame.points[0], expected.points[0], atol=2e-5, rtol=0)
        assert frame.context == expected.context
        assert result.times_ms["total"] == pytest.approx(
            result.times_ms["decode"] + result.times_ms["model"]
        )


def test_mountings_from_the_calibration_file_give_the_same_frames(
    small_bag: Path, tmp_path: Path
) -> None:
    without = copy_bag(
        small_bag, tmp_path / "bag", lambda topic, _, data: [] if topic == "/tf_static" else [data]
    )
    assert run(without)[1] == []
    engine, _, _ = run(
        without, replace(CONFIG, calibration_file=str(small_bag / "calibration.yaml"))
    )
    for frame, expected in zip(engine.frames, run(small_bag)[0].frames, strict=True):
        assert torch.equal(frame.points[0], expected.points[0])
        assert torch.equal(frame.grid_from_camera, expected.grid_from_camera)


def test_two_runs_and_both_storages_give_the_same_frames(
    small_bag: Path, small_drive: Path, tmp_path: Path
) -> None:
    convert_scene(NuScenes(small_drive), "scene-0001", tmp_path / "bag", "sqlite3")
    first, again, other = (run(bag)[0].frames for bag in (small_bag, small_bag, tmp_path / "bag"))
    for a, b, c in zip(first, again, other, strict=True):
        for x, y in ((a, b), (a, c)):
            assert torch.equal(x.points[0], y.points[0]) and torch.equal(x.images, y.images)
            assert torch.equal(x.grid_from_camera, y.grid_from_camera)


def test_an_absent_camera_is_masked_with_one_warning(
    small_bag: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = copy_bag(
        small_bag,
        tmp_path / "bag",
        lambda topic, _, data: [] if topic.startswith("/cam_back/") else [data],
    )
    with caplog.at_level(logging.WARNING):
        engine, results, _ = run(bag)
    assert len(results) == 3  # a drive of 1 s, shorter than the time for which a camera is awaited
    assert all(list(result.report.masked) == ["cam_back"] for result in results)
    assert all(
        frame.camera_mask.tolist() == [[True, True, True, True, False, True]]
        for frame in engine.frames
    )
    assert sum("cam_back" in record.message for record in caplog.records) == 1


def test_a_message_that_cannot_be_decoded_is_counted(
    small_bag: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(topic: str, number: int, data: bytes) -> list[bytes]:
        return [data[:30]] if (topic, number) == ("/lidar_top", 4) else [data]

    with caplog.at_level(logging.WARNING):
        _, results, offline = run(copy_bag(small_bag, tmp_path / "bag", spoil))
    assert len(results) == 3 and offline.counts["malformed"] == 1
    assert "/lidar_top" in caplog.text


def test_a_tf_frame_in_the_configuration_overrides_the_preset() -> None:
    preset = PRESETS["watonomous"]
    assert with_frames_of(preset, AssemblerConfig()).grid_frame == "LIDAR_TOP"
    assert with_frames_of(preset, AssemblerConfig(grid_frame="roof")).grid_frame == "roof"


def test_a_bag_of_another_kind_is_refused(small_bag: Path) -> None:
    with pytest.raises(
        BagError, match=r"no point cloud on /LIDAR_TOP; select the kind of bag with --topics"
    ):
        run(small_bag, topics="watonomous")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "debug.safetensors"
    save_checkpoint(path, build_model(debug()), {})
    return path


def test_results_and_summary_are_written(
    small_bag: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offsets = [str(offset) for offset in CONFIG.sync.camera_offsets_s]
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "occ_offline",
            str(small_bag),
            "--checkpoint",
            str(checkpoint),
            "--out",
            str(tmp_path / "out"),
            "--json",
            str(tmp_path / "new" / "summary.json"),
            "--precision",
            "fp32",
            "--assembler.sync.camera-offsets-s",
            *offsets,
        ],
    )
    main()
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["frames"] == 3 and summary["masked"] == {} and summary["counts"]["frames"] == 3
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["stage_ms"].keys() == {"decode", "model", "total"}
    printed = json.loads(capsys.readouterr().out)
    assert printed == {name: value for name, value in summary.items() if name != "stamps_ns"}
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(
        map(str, summary["stamps_ns"])
    )
    for stamp_ns in summary["stamps_ns"]:
        result = np.load(tmp_path / "out" / f"{stamp_ns}.npz")
        assert result["stamp_ns"] == stamp_ns
        assert result["labels"].dtype == np.uint8 and result["labels"].shape == debug().grid.shape
        probability = result["probability"]
        assert probability.dtype == np.float32 and probability.shape == debug().grid.shape
        assert ((probability > 0) & (probability < 1.001)).all()
        voxels = DenseVoxels.from_file(tmp_path / "out" / f"{stamp_ns}.npz")
        occupied = result["labels"] != EMPTY
        np.testing.assert_array_equal(voxels.occupied, occupied)
        np.testing.assert_array_equal(voxels.free, ~occupied & (result["seen"] == CROSSED))
        assert voxels.info.frame_id == "lidar_top"
        assert voxels.info.checkpoint == checkpoint_id(checkpoint)
    with pytest.raises(FileExistsError, match="not empty"):
        run_offline(OfflineConfig(bag=small_bag, checkpoint=checkpoint, out=tmp_path / "out"))


def test_the_command_ends_with_an_error_of_one_line(
    small_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, text in (
        (
            [tmp_path / "absent", "--checkpoint", tmp_path / "x.safetensors"],
            "x.safetensors' does not exist",
        ),
        ([small_bag, "--checkpoint", tmp_path / "x.pt"], "not a .safetensors file"),
    ):
        monkeypatch.setattr(sys, "argv", ["occ_offline", *map(str, arguments)])
        with pytest.raises(SystemExit, match=text):
            main()
