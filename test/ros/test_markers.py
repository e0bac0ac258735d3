"""Occupancy as markers: cubes by class, and the CDR bytes against rclpy's message."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker, MarkerArray

from occ_core.labels.sets import OCC3D
from occ_core.taxonomy import CLASS_ID, CLASS_NAMES, PALETTE
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.markers import cubes_by_class, marker_array, marker_array_bytes

GRID = VoxelGrid((-2.0, -1.0, 0.0, 2.0, 1.0, 1.0), 0.5)  # 8 x 4 x 2
STAMP = 1_532_402_927_647_951_000


def labels_of(*voxels: tuple[int, int, int, str]) -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    for x, y, z, name in voxels:
        labels[x, y, z] = CLASS_ID[name]
    return labels


def random_labels(occupied: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    labels = generator.integers(1, 17, GRID.shape, dtype=np.uint8)
    return np.where(generator.random(GRID.shape) < occupied, labels, 0).astype(np.uint8)


def test_cubes_are_at_voxel_centres() -> None:
    cubes = cubes_by_class(labels_of((0, 0, 0, "car"), (7, 3, 1, "car"), (1, 0, 0, "bus")), GRID)
    assert cubes.keys() == {CLASS_ID["car"], CLASS_ID["bus"]}
    # centre of voxel i: min + (i + 0.5) * 0.5
    np.testing.assert_array_equal(
        cubes[CLASS_ID["car"]], [[-1.75, -0.75, 0.25], [1.75, 0.75, 0.75]]
    )
    np.testing.assert_array_equal(cubes[CLASS_ID["bus"]], [[-1.25, -0.75, 0.25]])
    assert cubes_by_class(np.zeros(GRID.shape, np.uint8), GRID) == {}


def test_the_cubes_are_those_of_the_plain_formula() -> None:
    labels = random_labels(0.5)
    cubes = cubes_by_class(labels, GRID)
    assert list(cubes) == np.unique(labels[labels > 0]).tolist()
    for label, centres in cubes.items():
        expected = np.array(GRID.min_m) + (np.argwhere(labels == label) + 0.5) * GRID.voxel_size_m
        np.testing.assert_array_equal(centres, expected)


def test_one_marker_per_class_which_is_deleted_without_voxels() -> None:
    message = marker_array(labels_of((0, 0, 0, "car")), GRID, STAMP, "lidar_top")
    assert [marker.ns for marker in message.markers] == list(CLASS_NAMES[1:])
    assert {marker.id for marker in message.markers} == {0}
    by_name = {marker.ns: marker for marker in message.markers}
    assert by_name["bus"].action == Marker.DELETE and not by_name["bus"].points
    car = by_name["car"]
    assert (car.action, car.type) == (Marker.ADD, Marker.CUBE_LIST)
    assert car.header.frame_id == "lidar_top"
    assert (car.header.stamp.sec, car.header.stamp.nanosec) == divmod(STAMP, 10**9)
    assert (car.scale.x, car.scale.y, car.scale.z) == (0.5, 0.5, 0.5)
    assert [car.color.r, car.color.g, car.color.b] == pytest.approx(
        [channel / 255 for channel in PALETTE[CLASS_ID["car"]]]
    )
    assert car.color.a == 1.0 and car.pose.orientation.w == 1.0


def test_markers_live_as_long_as_they_are_told() -> None:
    labels = labels_of((0, 0, 0, "car"))
    for lifetime_s, expected in ((0.0, (0, 0)), (2.75, (2, 750_000_000))):
        message = deserialize_message(
            marker_array_bytes(labels, GRID, STAMP, "lidar_top", lifetime_s), MarkerArray
        )
        lifetimes = {(marker.lifetime.sec, marker.lifetime.nanosec) for marker in message.markers}
        assert lifetimes == {expected}


def test_another_label_set_has_its_names_and_colours() -> None:
    """Occ3D's 0 is a class, and its 17 is free."""
    labels = np.full(GRID.shape, 17, np.uint8)
    labels[0, 0, 0] = 0
    message = marker_array(labels, GRID, STAMP, "base_link", label_set=OCC3D)
    assert [marker.ns for marker in message.markers] == list(OCC3D.names[:17])
    (shown,) = [marker for marker in message.markers if marker.action == Marker.ADD]
    assert (shown.ns, len(shown.points)) == ("others", 1)
    assert shown.color.r == pytest.approx(96 / 255)


@pytest.mark.parametrize("occupied", [0.0, 0.1, 1.0])
# Frame names of every length modulo 4, which aligns what follows.
@pytest.mark.parametrize("frame_id", ["m", "ma", "map", "mapp"])
def test_the_bytes_are_the_message(occupied: float, frame_id: str) -> None:
    labels = random_labels(occupied)
    raw = marker_array_bytes(labels, GRID, STAMP, frame_id, 1.5)
    message = marker_array(labels, GRID, STAMP, frame_id, 1.5)
    # The reference is serialised as well, which turns its colours into float32.
    assert deserialize_message(raw, MarkerArray) == deserialize_message(
        serialize_message(message), MarkerArray
    )
