"""Occupancy for programs: the point cloud of voxels and the 2D map."""

from __future__ import annotations

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2

from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.messages import points_from_message
from occ_perception_ros.outputs import (
    drivable_map,
    occupancy_grid,
    occupancy_points,
    occupancy_points_bytes,
    voxel_points,
)

GRID = VoxelGrid((-2.0, -1.0, -1.0, 2.0, 1.0, 3.0), 0.5)  # 8 x 4 x 8
STAMP = 1_532_402_927_647_951_000
ROAD, CAR, TREE, KERB = (
    CLASS_ID[name] for name in ("driveable_surface", "car", "vegetation", "sidewalk")
)


def test_points_are_the_occupied_voxels() -> None:
    labels, probability = np.zeros(GRID.shape, np.uint8), np.full(GRID.shape, 0.25, np.float32)
    labels[0, 1, 2], probability[0, 1, 2] = CAR, 0.75
    points = voxel_points(labels, probability, GRID)
    assert points.tolist() == [(-1.75, -0.25, 0.25, CAR, 0.75)]  # min + (i + 0.5) * 0.5


def test_raw_bytes_are_the_message() -> None:
    generator = np.random.default_rng(0)
    probability = generator.random(GRID.shape, dtype=np.float32)
    for low in (0, 1):  # with and without empty voxels
        labels = generator.integers(low, 17, GRID.shape, dtype=np.uint8)
        raw = deserialize_message(
            occupancy_points_bytes(labels, probability, GRID, STAMP, "lidar_top"), PointCloud2
        )
        assert raw == occupancy_points(labels, probability, GRID, STAMP, "lidar_top")
    nothing = np.zeros(GRID.shape, np.uint8)
    raw = deserialize_message(
        occupancy_points_bytes(nothing, probability, GRID, STAMP, "lidar_top"), PointCloud2
    )
    assert (
        raw == occupancy_points(nothing, probability, GRID, STAMP, "lidar_top") and raw.width == 0
    )


def test_the_cloud_is_one_that_our_own_reader_takes() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[3, 3, 3] = CAR
    points, _ = points_from_message(
        occupancy_points(labels, labels.astype(np.float32), GRID, STAMP, "lidar_top")
    )
    np.testing.assert_array_equal(points, [[-0.25, 0.75, 0.75, 0.0]])


def test_what_a_column_is_to_a_vehicle() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:6, :, 1] = ROAD
    labels[1, 0, 2] = CAR  # on the road
    labels[2, 0, 6:] = TREE  # 2 m above the road's top: passed under by a vehicle of 2 m
    labels[3, 0, 5] = TREE  # 1.5 m above it: not
    labels[6, 0, 1] = KERB  # no road
    labels[7, 0, 7] = TREE  # hangs high, no road known
    cells, road_height_m = drivable_map(labels, GRID, vehicle_height_m=2.0)
    assert cells[:, 0].tolist() == [0, 100, 0, 100, 0, 0, 100, -1]
    assert cells[7, 1] == -1  # nothing known
    assert road_height_m == 0.0  # top of level 1: -1 + 2 * 0.5


def test_the_maps_cells_run_along_x_first() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, :, 0] = ROAD
    labels[5, 2, 1] = CAR
    message = occupancy_grid(labels, GRID, STAMP, "lidar_top", 2.0)
    assert (message.info.width, message.info.height, message.info.resolution) == (8, 4, 0.5)
    assert (
        message.info.origin.position.x,
        message.info.origin.position.y,
        message.info.origin.position.z,
    ) == (-2.0, -1.0, -0.5)
    assert [i for i, cell in enumerate(message.data) if cell == 100] == [2 * 8 + 5]
    assert message.header.frame_id == "lidar_top" and message.header.stamp.nanosec == 647_951_000


def test_a_map_of_nothing_is_unknown() -> None:
    cells, road_height_m = drivable_map(np.zeros(GRID.shape, np.uint8), GRID, 2.0)
    assert (cells == -1).all() and road_height_m == -1.0
