"""Clouds as a driver of the LiDAR writes them."""

from __future__ import annotations

import numpy as np
import pytest

from occ_perception_ros.bags.nuscenes_messages import POINT_DTYPE, firing_times_s, point_cloud


def by_columns(points: np.ndarray) -> np.ndarray:
    """The bytes of a cloud, column by column."""
    cloud = np.zeros(len(points), POINT_DTYPE)
    for column, name in enumerate(("x", "y", "z", "intensity", "ring")):
        cloud[name] = points[:, column]
    cloud["time"] = firing_times_s(points[:, 4])
    return cloud.view(np.uint8)


@pytest.mark.parametrize("count", [0, 1, 33, 640])
def test_points_are_copied_as_by_columns(count: int) -> None:
    points = np.random.default_rng(0).normal(0, 30, (count, 5)).astype(np.float32)
    points[:, 4] = np.arange(count) % 32
    points[::7, 3] = np.nan
    for layout in (points, points.astype(np.float64), np.asfortranarray(points), points[::-1]):
        np.testing.assert_array_equal(point_cloud(layout, 1, "lidar").data, by_columns(layout))


def test_a_cloud_is_dense_where_all_coordinates_are_finite() -> None:
    points = np.zeros((3, 5), np.float32)
    assert point_cloud(points, 1, "lidar").is_dense
    points[1, 3] = np.nan  # the intensity is no coordinate
    assert point_cloud(points, 1, "lidar").is_dense
    points[2, 1] = np.inf
    assert not point_cloud(points, 1, "lidar").is_dense
