"""Frames before the first one of the drive."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros import jpeg_scan
from occ_perception_ros import warm_up as module
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.synchronizer import SyncConfig
from occ_perception_ros.warm_up import FRAMES, warm_up

SIZE = (32, 88)
GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)


class RecordingEngine:
    """Says that every other voxel is occupied, and keeps the frames that it has seen."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.resets: list[tuple[int, str]] = []

    def step(self, frame: Frame) -> Occupancy:
        self.frames.append(frame)
        labels = torch.arange(16 * 16 * 4).reshape(1, 16, 16, 4).remainder(2).to(torch.uint8)
        return Occupancy(labels, torch.ones_like(labels).float(), GRID, frame.stamp_ns, "lidar")

    def reset(self, reason: str) -> None:
        self.resets.append((len(self.frames), reason))


@pytest.fixture
def small_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POINTS", 500)


@pytest.mark.usefixtures("small_sweeps")
def test_frames_are_complete_and_their_memory_is_dropped() -> None:
    engine = RecordingEngine()
    warm_up(engine, SIZE, NodeConfig())
    assert engine.resets == [(FRAMES, "start")]
    assert [frame.stamp_ns for frame in engine.frames] == [
        (500_000_000,),
        (1_000_000_000,),
        (1_500_000_000,),
    ]
    for number, frame in enumerate(engine.frames, 1):
        assert frame.images.shape == (1, 6, 3, *SIZE) and frame.camera_mask.all()
        assert frame.images.float().std() > 10  # no empty pictures
        ages = frame.points[0][:, 4].unique()
        assert len(ages) == 10 and abs(ages.max() - 0.45) < 1e-6  # ten sweeps at 20 Hz
        assert frame.world_from_grid[0, 0, 3] == 4.0 * number  # 8 m/s, twice a second


@pytest.mark.usefixtures("small_sweeps")
def test_raw_images_and_other_rigs_are_rehearsed_as_they_are() -> None:
    raw = RecordingEngine()
    two = NodeConfig(
        cameras=("left", "right"),
        compressed_images=(False, True),
        sync=SyncConfig(camera_offsets_s=(0.0,)),
    )
    warm_up(raw, SIZE, two)
    assert [frame.camera_mask.tolist() for frame in raw.frames] == [[[True, True]]] * FRAMES
    no_lidar = RecordingEngine()
    warm_up(no_lidar, SIZE, NodeConfig(lidar=False))
    assert all(len(frame.points[0]) == 0 for frame in no_lidar.frames)
    assert all(frame.camera_mask.all() for frame in no_lidar.frames)


@pytest.mark.usefixtures("small_sweeps")
def test_every_output_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[type] = []
    monkeypatch.setattr(
        module._Rehearsal, "publish", lambda self, message: published.append(type(message))
    )
    warm_up(RecordingEngine(), SIZE, NodeConfig())
    names = {kind.__name__ for kind in published}
    assert {"bytes", "OccupancyGrid"} <= names
    assert published.count(bytes) == FRAMES * 4  # the markers and three clouds


@pytest.mark.usefixtures("small_sweeps")
@pytest.mark.parametrize("compressed", [True, False])
def test_the_check_of_restart_markers_is_loaded_for_jpegs(
    compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    intervals: list[int] = []
    check = jpeg_scan.marker_behind

    def noted(*values: Any) -> int:
        intervals.append(values[-1])
        return check(*values)

    monkeypatch.setattr(jpeg_scan, "marker_behind", noted)
    warm_up(RecordingEngine(), SIZE, NodeConfig(compressed_images=(compressed,)))
    assert intervals == ([1] if compressed else [])
