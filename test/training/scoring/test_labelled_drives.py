"""Scores under conditions, with engines whose answers are known."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.types import Frame, Occupancy
from training.scoring.labelled_drives import lidar_positions, score_drives
from training.scoring.sensors import conditions


@pytest.fixture
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, None, None, debug().image_size, 2, debug().grid)


class CamerasNeeded:
    """An engine that is right where it has images, and else predicts empty voxels. Its memory is
    the list of the stamps that it has seen.
    """

    def __init__(self, frames: NuScenesFrames) -> None:
        self.grid, self.memory = frames.grid, None
        self.memories: list[list[int]] = []
        self.truth = {}
        for index, keyframe in enumerate(frames.keyframes):
            labels = frames.labels(index)
            assert labels is not None
            self.truth[keyframe.stamp_ns] = labels.masked_fill(labels == IGNORE, EMPTY)[None]

    def reset(self, reason: str) -> None:
        self.memory = None

    def step(self, frame: Frame) -> Occupancy:
        self.memory = [*(self.memory or []), frame.stamp_ns[0]]
        self.memories.append(self.memory)
        labels = self.truth[frame.stamp_ns[0]]
        if not frame.camera_mask.any():
            labels = torch.zeros_like(labels)
        return Occupancy(labels, torch.ones(labels.shape), self.grid, frame.stamp_ns, "lidar")


def test_what_a_condition_takes_away_is_what_it_costs(frames: NuScenesFrames) -> None:
    engine = CamerasNeeded(frames)
    scores = score_drives(engine, frames, conditions(debug()))
    assert {name: each["iou"] for name, each in scores.items()} == {
        "all_sensors": 1.0,
        "one_sweep": 1.0,
        "without_cameras": 0.0,
        "without_lidar": 1.0,
    }
    full, blind = scores["all_sensors"], scores["without_cameras"]
    assert full["ray_iou"] == 1.0 and blind["ray_iou"] == 0.0
    assert full["camera_mask"]["iou"] == 1.0 and full["frames"] == 6
    assert full["camera_mask"]["classes"]["car"]["recall"] == 1.0
    assert blind["vehicle"]["recall"] == 0.0


def test_every_condition_has_a_memory_of_its_own(frames: NuScenesFrames) -> None:
    engine = CamerasNeeded(frames)
    same: dict[str, Callable[[Frame], Frame]] = {"a": lambda frame: frame, "b": lambda frame: frame}
    score_drives(engine, frames, same)
    stamps = [keyframe.stamp_ns for keyframe in frames.keyframes]
    # three drives of two keyframes; a and b take turns, each remembers its own drive alone
    expected = []
    for first, second in zip(stamps[::2], stamps[1::2], strict=True):
        expected += [[first], [first], [first, second], [first, second]]
    assert engine.memories == expected
    assert engine.memory is None


def test_the_first_keyframes_of_every_drive_are_chosen(frames: NuScenesFrames) -> None:
    engine = CamerasNeeded(frames)
    scores = score_drives(engine, frames, {"a": lambda frame: frame}, keyframes=1)
    assert scores["a"]["frames"] == 3
    assert engine.memories == [[frames.keyframes[index].stamp_ns] for index in (0, 2, 4)]


def test_positions_are_those_of_the_keyframes(frames: NuScenesFrames) -> None:
    positions = lidar_positions(frames)
    assert [len(each) for each in positions.values()] == [2, 2, 2]
    last = frames.keyframes[-1]
    assert positions[last.scene_name][-1].tolist() == last.lidar.world_from_lidar[:3, 3].tolist()


def test_drives_without_labels_are_named(box_town: Path, tmp_path: Path) -> None:
    data = tmp_path / "real"
    shutil.copytree(box_town, data)
    shutil.rmtree(data / "nuscenes_occ")
    frames = NuScenesFrames(data, None, None, debug().image_size, 0, debug().grid)
    engine = CamerasNeeded.__new__(CamerasNeeded)
    with pytest.raises(FileNotFoundError, match="no occupancy labels; use .*--benchmark real"):
        score_drives(engine, frames, conditions(debug()))
