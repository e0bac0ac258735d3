"""Occupancy for other programs: the point cloud of voxels and the 2D map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES, OCC3D
from occ_core.ops.line_of_sight import CROSSED, ENDED, UNSEEN
from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.messages import points_from_message
from occ_perception_ros.outputs import (
    FREE,
    OCCUPIED,
    UNKNOWN,
    cloud_bytes,
    cloud_message,
    drivable_map,
    known_voxels,
    obstacle_points,
    occupancy_grid,
    occupancy_points,
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


def test_the_message_has_the_records_with_their_layout() -> None:
    labels, probability = np.zeros(GRID.shape, np.uint8), np.full(GRID.shape, 0.25, np.float32)
    labels[0, 1, 2], labels[7, 3, 7] = CAR, TREE
    message = occupancy_points(labels, probability, GRID, STAMP, "lidar_top")
    message = deserialize_message(serialize_message(message), PointCloud2)
    fields = [(field.name, field.offset, field.datatype, field.count) for field in message.fields]
    # 7: FLOAT32, 2: UINT8
    assert fields == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("label", 12, 2, 1),
        ("probability", 16, 7, 1),
    ]
    assert (message.height, message.width, message.point_step, message.row_step) == (1, 2, 20, 40)
    assert (message.is_bigendian, message.is_dense) == (False, True)
    assert message.header.frame_id == "lidar_top" and message.header.stamp.nanosec == 647_951_000
    assert bytes(message.data) == voxel_points(labels, probability, GRID).tobytes()
    nothing = np.zeros(GRID.shape, np.uint8)
    assert occupancy_points(nothing, probability, GRID, STAMP, "lidar_top").width == 0


@pytest.mark.parametrize("count", [0, 1, 2, 500])
# Frame names of every length modulo 4, which aligns what follows.
@pytest.mark.parametrize("frame_id", ["m", "ma", "map", "mapp"])
def test_the_bytes_of_a_cloud_are_the_message(count: int, frame_id: str) -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels.reshape(-1)[:count] = CAR
    probability, seen = np.full(GRID.shape, 0.25, np.float32), np.zeros(GRID.shape, np.uint8)
    for records in (
        voxel_points(labels, probability, GRID),
        known_voxels(labels, probability, seen, GRID),
    ):
        raw, message = (each(records, STAMP, frame_id) for each in (cloud_bytes, cloud_message))
        assert deserialize_message(raw, PointCloud2) == message
        assert len(raw) == len(serialize_message(message))  # only bytes that fill up may differ


def test_the_nodes_own_decoder_reads_the_cloud() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[3, 3, 3] = CAR
    points, _ = points_from_message(
        occupancy_points(labels, labels.astype(np.float32), GRID, STAMP, "lidar_top")
    )
    np.testing.assert_array_equal(points, [[-0.25, 0.75, 0.75, 0.0]])


def test_obstacles_are_what_blocks_a_robot() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[0, 0, 0], labels[1, 0, 0], labels[2, 0, 0] = ROAD, KERB, CAR
    points = obstacle_points(labels, np.ones(GRID.shape, np.float32), GRID)
    assert points.tolist() == [(-0.75, -0.75, -0.75, CAR, 1.0)]  # x: -2 + 2.5 * 0.5


def test_known_voxels_are_occupied_or_seen_through() -> None:
    labels, seen = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    labels[0, 0, 0] = labels[1, 0, 0] = CAR
    seen[1:4, 0, 0] = (ENDED, ENDED, CROSSED)
    records = known_voxels(labels, np.full(GRID.shape, 0.5, np.float32), seen, GRID)
    # The model's own guess, what a sensor saw, and free space; the empty voxel in which a line
    # ended is unknown: the model and the sensor contradict each other.
    assert [(r["x"], r["label"], r["observed"]) for r in records] == [
        (-1.75, CAR, 0),
        (-1.25, CAR, 1),
        (-0.25, 0, 1),
    ]
    fields = [(field.name, field.offset) for field in cloud_message(records, STAMP, "a").fields]
    assert fields == [
        ("x", 0),
        ("y", 4),
        ("z", 8),
        ("label", 12),
        ("observed", 13),
        ("probability", 16),
    ]


def test_another_label_set_has_another_empty_class() -> None:
    """Occ3D's 0 is a class, and its 17 is free; 11 is its driveable surface, too."""
    labels = np.full(GRID.shape, 17, np.uint8)
    probability = np.ones(GRID.shape, np.float32)
    labels[0, 0, 0] = 0
    labels[1:, :, 0] = 11
    assert len(voxel_points(labels, probability, GRID, OCC3D)) == 1 + 7 * 4
    assert obstacle_points(labels, probability, GRID, OCC3D)["label"].tolist() == [0]
    cells, _ = drivable_map(labels, GRID, 2.0, OCC3D)
    assert cells[:, 0].tolist() == [100] + [0] * 7


def test_columns_for_a_vehicle() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:6, :, 1] = ROAD
    labels[1, 0, 2] = CAR  # on the road
    labels[2, 0, 6:] = TREE  # 2 m above the road's top: a vehicle of 2 m passes under it
    labels[3, 0, 5] = TREE  # 1.5 m above it: blocks
    labels[6, 0, 1] = KERB  # not a road
    labels[7, 0, 7] = TREE  # high, without a road below
    cells, road_height_m = drivable_map(labels, GRID, vehicle_height_m=2.0)
    assert cells[:, 0].tolist() == [0, 100, 0, 100, 0, 0, 100, -1]
    assert cells[7, 1] == -1  # no occupied voxel
    assert road_height_m == 0.0  # top of level 1: -1 + 2 * 0.5


def map_by_numpy(
    labels: np.ndarray, grid: VoxelGrid, vehicle_height_m: float, label_set: LabelSet
) -> tuple[np.ndarray, float]:
    """The readable twin of ``drivable_map``."""
    level = np.arange(labels.shape[2])
    occupied = labels != label_set.empty
    driveable = np.isin(labels, label_set.ids(label_set.drivable))
    obstacle = occupied & ~np.isin(labels, label_set.ids(label_set.ground))
    has_road = driveable.any(axis=2)
    road_level = np.argmax(driveable, axis=2)
    typical_level = int(np.median(road_level[has_road])) if has_road.any() else 0
    base = np.where(has_road, road_level, typical_level)[:, :, None]
    below_roof = level <= base + int(np.ceil(vehicle_height_m / grid.voxel_size_m))
    blocked = (obstacle & (level > base) & below_roof).any(axis=2)
    off_road = ~has_road & (occupied & below_roof).any(axis=2)
    result = np.where(has_road, FREE, UNKNOWN)
    result[blocked | off_road] = OCCUPIED
    return result, grid.min_m[2] + (typical_level + has_road.any()) * grid.voxel_size_m


@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    height_m=st.sampled_from([0.1, 1.0, 2.0, 9.0]),
    label_set=st.sampled_from([NUSCENES, OCC3D]),
)
def test_the_map_is_that_of_numpy(
    seed: int, share: float, height_m: float, label_set: LabelSet
) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(label_set.names), GRID.shape).astype(np.uint8)
    labels[random.random(GRID.shape) >= share] = label_set.empty
    cells, road_height_m = drivable_map(labels, GRID, height_m, label_set)
    expected, expected_height_m = map_by_numpy(labels, GRID, height_m, label_set)
    assert np.array_equal(cells, expected) and cells.dtype == np.int8
    assert road_height_m == expected_height_m


def test_the_cells_of_the_map_run_along_x_first() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, :, 0] = ROAD
    labels[5, 2, 1] = CAR
    message = occupancy_grid(labels, GRID, STAMP, "lidar_top", 2.0)
    assert (message.info.width, message.info.height, message.info.resolution) == (8, 4, 0.5)
    origin = message.info.origin.position
    assert (origin.x, origin.y, origin.z) == (-2.0, -1.0, -0.5)
    assert [i for i, cell in enumerate(message.data) if cell == 100] == [2 * 8 + 5]
    assert message.header.frame_id == "lidar_top" and message.header.stamp.nanosec == 647_951_000


@given(
    low=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    yaw=st.floats(-np.pi, np.pi),
    data=st.data(),
)
def test_a_cell_lies_where_its_column_does(
    low: tuple[int, int], shape: tuple[int, int], yaw: float, data: st.DataObject
) -> None:
    """Seen from a world in which the vehicle has any heading, to the left or to the right."""
    size = 0.5
    low_m = (low[0] * size, low[1] * size, 0.0)
    high_m = (low_m[0] + shape[0] * size, low_m[1] + shape[1] * size, 2 * size)
    grid = VoxelGrid((*low_m, *high_m), size)
    x, y = (data.draw(st.integers(0, cells - 1)) for cells in shape)
    labels = np.zeros(grid.shape, np.uint8)
    labels[:, :, 0] = ROAD
    labels[x, y, 1] = CAR
    message = occupancy_grid(labels, grid, STAMP, "lidar_top", 2.0)
    # As nav_msgs/MapMetaData defines it: cell (column, row) of the row-major data, seen from the
    # origin, whose orientation Nav2 does not use and which therefore has to be the identity.
    row, column = divmod(list(message.data).index(100), message.info.width)
    turn = message.info.origin.orientation
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 1.0)
    origin = np.array([message.info.origin.position.x, message.info.origin.position.y])
    in_grid_frame = origin + (np.array([column, row]) + 0.5) * message.info.resolution
    obstacle = obstacle_points(labels, np.ones(grid.shape, np.float32), grid)
    world_from_grid = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    np.testing.assert_allclose(
        world_from_grid @ in_grid_frame,
        world_from_grid @ [obstacle["x"][0], obstacle["y"][0]],
        atol=1e-5,
    )


def test_labels_of_another_grid_are_refused() -> None:
    labels = np.ones((*GRID.shape[:2], 2 * GRID.shape[2]), np.uint8)
    with pytest.raises(ValueError, match=r"must be of shape \(8, 4, \d\), got \(8, 4, 16\)"):
        voxel_points(labels, np.ones(labels.shape, np.float32), GRID)


def test_an_empty_grid_is_unknown() -> None:
    cells, road_height_m = drivable_map(np.zeros(GRID.shape, np.uint8), GRID, 2.0)
    assert (cells == -1).all() and road_height_m == -1.0


def test_the_quick_records_are_those_of_the_plain_formulas() -> None:
    grid = VoxelGrid((-1.7, -3.0, -0.3, 2.3, 2.0, 0.9), 0.1)  # 40 x 50 x 12
    random = np.random.default_rng(0)
    labels = random.integers(0, 18, grid.shape).astype(np.uint8)
    probability = random.random(grid.shape).astype(np.float32)
    seen = random.integers(0, 3, grid.shape).astype(np.uint8)
    records = known_voxels(labels, probability, seen, grid)
    known = (labels != NUSCENES.empty) | (seen == CROSSED)
    for name, index, low in zip("xyz", np.nonzero(known), grid.min_m, strict=True):
        expected = (low + (index + 0.5) * grid.voxel_size_m).astype(np.float32)
        assert np.array_equal(records[name], expected)
    assert np.array_equal(records["label"], labels[known])
    assert np.array_equal(records["probability"], probability[known])
    assert np.array_equal(records["observed"], seen[known] != UNSEEN)
    blocking = ~np.isin(labels, [NUSCENES.empty, *NUSCENES.ids(NUSCENES.ground)])
    assert np.array_equal(obstacle_points(labels, probability, grid)["label"], labels[blocking])
