"""What LiDAR and cameras of a frame saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.ops.line_of_sight import CROSSED, ENDED, UNSEEN
from occ_core.types import DriveContext, Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.frame_parts import FrameParts, NoSweep, PlacedSweep
from occ_perception_ros.observation import grid_info, seen_voxels

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.5)  # 16 x 16 x 4; (0.25,) * 3 is in (8, 8, 2)
STAMP, NS = 10_000_000_000, 1_000_000_000
CAR = 4
IMAGE_SIZE = (32, 64)
ORIGIN = np.eye(4)
ORIGIN[:3, 3] = 0.25


def moved(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def looking_along_x() -> np.ndarray:
    """A camera's pose: its x is -y of the grid, its y is -z, its z is x."""
    pose = ORIGIN.copy()
    pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    return pose


def camera(image: np.ndarray | None = None) -> CameraSample:
    """Half a metre wide 0.5 m away: it sees 45 degrees to either side, and 26.6 up and down."""
    image = np.full((*IMAGE_SIZE, 3), 9, np.uint8) if image is None else image
    intrinsics = np.array([[32.0, 0, 31.5], [0, 32, 15.5], [0, 0, 1]])
    return CameraSample(image, intrinsics, looking_along_x())


def frame(points: list[list[float]], *cameras: CameraSample | None) -> Frame:
    """Points are x, y, z, age in seconds."""
    cloud = np.array(points, np.float32).reshape(-1, 4)
    cloud = np.insert(cloud, 3, 0.0, axis=1)
    return frame_from_sensors(list(cameras), cloud, np.eye(4), STAMP, DriveContext(), IMAGE_SIZE)


def parts(*sweeps: tuple[float, float]) -> FrameParts:
    """Sweeps of an age, taken when the vehicle was at an x."""
    placed = tuple(
        PlacedSweep(STAMP - round(age * NS), NoSweep("lidar"), moved(x), ORIGIN)
        for age, x in sweeps
    )
    return FrameParts(STAMP, {}, {}, placed, moved(0.0), DriveContext(), (0.0,) * 6, (), 1000, None)


def answer(*occupied: tuple[int, int, int]) -> Occupancy:
    labels = torch.zeros((1, *GRID.shape), dtype=torch.uint8)
    for voxel in occupied:
        labels[(0, *voxel)] = CAR
    return Occupancy(labels, labels.float(), GRID, (STAMP,), "lidar", checkpoint="a sha256:0")


def test_a_return_shows_the_space_before_it() -> None:
    # from (0.25, 0.25, 0.25), which is in voxel 8, to x = 1.75, which is in voxel 11
    seen = seen_voxels(frame([[1.75, 0.25, 0.25, 0.0]]), parts((0.0, 0.0)), answer())
    assert seen[8:13, 8, 2].tolist() == [CROSSED] * 3 + [ENDED, UNSEEN]
    assert np.count_nonzero(seen) == 4


def test_an_earlier_sweep_was_seen_from_where_the_lidar_was() -> None:
    # half a second ago the vehicle was 2 m behind: the LiDAR at x = -1.75, in voxel 4
    seen = seen_voxels(frame([[-0.75, 0.25, 0.25, 0.5]]), parts((0.5, -2.0), (0.0, 0.0)), answer())
    assert seen[4:8, 8, 2].tolist() == [CROSSED, CROSSED, ENDED, UNSEEN]
    assert np.count_nonzero(seen) == 3


def test_a_lidar_looks_through_what_the_model_says() -> None:
    """What it measured is no guess, other than the depth at which a camera's view ends."""
    seen = seen_voxels(frame([[1.75, 0.25, 0.25, 0.0]]), parts((0.0, 0.0)), answer((9, 8, 2)))
    assert seen[8:12, 8, 2].tolist() == [CROSSED] * 3 + [ENDED]


def test_returns_beyond_the_grid_show_the_way_to_its_edge() -> None:
    seen = seen_voxels(frame([[90.0, 0.25, 0.25, 0.0]]), parts((0.0, 0.0)), answer())
    assert seen[8:, 8, 2].tolist() == [CROSSED] * 8


def test_one_of_many_returns_in_a_voxel_is_enough() -> None:
    near = [[1.70, 0.25, 0.25, 0.0], [1.75, 0.25, 0.25, 0.0], [1.75, 0.25, 0.25, 0.1]]
    seen = seen_voxels(frame(near), parts((0.1, 0.0), (0.0, 0.0)), answer())
    assert seen[8:13, 8, 2].tolist() == [CROSSED] * 3 + [ENDED, UNSEEN]


def test_a_point_older_than_all_sweeps_is_refused() -> None:
    """Outside the grid too, where a compiled loop takes the positions of its sweep unchecked."""
    with pytest.raises(ValueError, match="older than all of its sweeps"):
        seen_voxels(frame([[90.0, 0.25, 0.25, 0.7]]), parts((0.5, 0.0), (0.0, 0.0)), answer())


def test_a_camera_sees_up_to_what_the_model_calls_occupied() -> None:
    seen = seen_voxels(frame([], camera()), parts(), answer((10, 8, 2)))
    assert seen[8:13, 8, 2].tolist() == [CROSSED, CROSSED, ENDED, UNSEEN, UNSEEN]
    # At x = 2.25 + 0.25 m, 2.25 m ahead, it sees 2.25 m to either side, voxels 4 to 12, of which
    # the car, 0.5 m wide and 1 m away, hides those within 0.75 m of the axis.
    assert seen[12, 4:13, 2].tolist().count(CROSSED) >= 5
    assert not seen[:8].any()  # nothing behind it
    open_view = seen_voxels(frame([], camera()), parts(), answer())
    assert open_view[8:, 8, 2].tolist() == [CROSSED] * 8


def test_a_masked_camera_sees_nothing() -> None:
    assert not seen_voxels(frame([], None), parts(), answer()).any()


def test_rows_that_pad_an_image_show_nothing() -> None:
    image = np.full((*IMAGE_SIZE, 3), 9, np.uint8)
    image[:20] = (
        0  # row 20 looks down: it leaves layer 2 (z = 0) at 0.25 * 32 / 4.5 = 1.8 m, x = 2.03
    )
    seen = seen_voxels(frame([], camera(image)), parts(), answer())
    assert not seen[:, :, 3].any() and not seen[13:, :, 2].any()
    assert seen[9:, :, :2].any()
    black = seen_voxels(frame([], camera(np.zeros_like(image))), parts(), answer())
    assert not black.any()


def test_the_grid_info_is_of_the_answer() -> None:
    info = grid_info(answer(), "lidar_top")
    assert (info.frame_id, info.min_m, info.shape) == ("lidar_top", (-4.0, -4.0, -1.0), (16, 16, 4))
    assert (info.voxel_size_m, info.empty, info.label_set) == (0.5, 0, "nuscenes")
    assert info.class_names[CAR] == "car" and info.colours[CAR] == (255, 158, 0)
    assert info.checkpoint == "a sha256:0"
    assert grid_info(replace(answer(), checkpoint=""), "lidar_top") != info
