"""Poses over time, and the tree of frames."""

from __future__ import annotations

import numpy as np
import pytest

from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.transforms import PoseTrack, TransformError, TransformTree

NS = 10**9


def shift(x: float, yaw: float = 0.0) -> np.ndarray:
    return pose_matrix((x, 0, 0), (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)))


def test_a_pose_between_samples_is_interpolated() -> None:
    track = PoseTrack()
    track.add(1 * NS, shift(0.0))
    track.add(2 * NS, shift(4.0, yaw=1.0))
    # A quarter of the way; a sample itself is not changed.
    np.testing.assert_allclose(track.at(1_250_000_000), shift(1.0, yaw=0.25), atol=1e-12)
    np.testing.assert_array_equal(track.at(2 * NS), shift(4.0, yaw=1.0))


def test_outside_the_samples_the_nearest_is_used_only_if_it_is_near() -> None:
    track = PoseTrack(tolerance_s=0.06, max_gap_s=1.0)
    with pytest.raises(TransformError, match="no sample received yet"):
        track.at(NS)
    track.add(1 * NS, shift(1.0))
    track.add(4 * NS, shift(2.0))
    np.testing.assert_array_equal(track.at(4 * NS + 50_000_000), shift(2.0))
    for stamp in (4 * NS + 70_000_000, 2 * NS):  # too late; in a gap of 3 s
        with pytest.raises(TransformError, match="nearest sample at"):
            track.at(stamp)
    assert track.covers(4 * NS) and not track.covers(4 * NS + 1)


def test_a_track_restarts_when_time_goes_back_and_is_bounded() -> None:
    track = PoseTrack(capacity=3)
    for second in range(10, 15):
        track.add(second * NS, shift(second))
    with pytest.raises(TransformError):
        track.at(10 * NS)
    track.add(1 * NS, shift(1.0))
    assert track.covers(1 * NS) and not track.covers(2 * NS)


def test_a_chain_of_moving_and_static_frames() -> None:
    tree = TransformTree()
    tree.add_static("base_link", "lidar_top", shift(1.0))
    tree.add_static("base_link", "cam_front", shift(2.0))
    assert not tree.covers("map", "lidar_top", NS)
    tree.add_moving("map", "base_link", 1 * NS, shift(10.0, yaw=np.pi / 2))
    assert tree.covers("map", "lidar_top", NS)
    # 1 m ahead of a vehicle that looks along y at x = 10
    np.testing.assert_allclose(tree.lookup("map", "lidar_top", NS)[:3, 3], [10, 1, 0], atol=1e-12)
    np.testing.assert_allclose(tree.lookup("lidar_top", "cam_front", NS), shift(1.0), atol=1e-12)


def test_a_missing_transform_is_named_and_never_identity() -> None:
    tree = TransformTree()
    tree.add_static("base_link", "lidar_top", shift(1.0))
    with pytest.raises(
        TransformError, match="no transform from 'lidar_top' to 'map'.*known: base_link->lidar_top"
    ):
        tree.lookup("map", "lidar_top", NS)
    tree.add_moving("map", "base_link", NS, shift(0.0))
    with pytest.raises(
        TransformError,
        match="'base_link' to 'map': requested at 9.000 s, nearest sample at 1.000 s",
    ):
        tree.lookup("map", "lidar_top", 9 * NS)


def test_frames_in_a_loop_are_an_error() -> None:
    tree = TransformTree()
    tree.add_static("a", "b", shift(1.0))
    tree.add_static("b", "a", shift(1.0))
    with pytest.raises(TransformError, match="loop"):
        tree.lookup("a", "b", NS)
    assert not tree.covers("a", "b", NS)
