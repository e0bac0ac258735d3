"""Poses over time, and the tree of frames."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.transforms import (
    PoseTrack,
    TransformError,
    TransformTree,
    pose_from_message,
)

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


def test_a_single_wrong_stamp_does_not_discard_the_samples() -> None:
    for wrong_s in (500, 1, -3):
        tree = TransformTree()
        for tenth in range(100, 110):  # 10.0 s to 10.9 s
            tree.add_moving("map", "base_link", tenth * NS // 10, shift(tenth / 10))
        tree.add_moving("map", "base_link", wrong_s * NS, shift(-7.0))
        tree.add_moving("map", "base_link", 11 * NS, shift(11.0))
        for stamp_s in (10, 11):
            np.testing.assert_array_equal(
                tree.lookup("map", "base_link", stamp_s * NS), shift(stamp_s)
            )
        assert not tree.covers("map", "base_link", 11 * NS + 1)


@pytest.mark.parametrize("start_s", [1, 50], ids=["back", "forward"])
def test_two_samples_confirm_a_jump_in_time_and_both_are_kept(start_s: int) -> None:
    tree = TransformTree()
    tree.add_moving("map", "base_link", 10 * NS, shift(10.0))
    tree.add_moving("map", "base_link", start_s * NS, shift(1.0))
    tree.add_moving("map", "base_link", start_s * NS + NS // 10, shift(2.0))
    np.testing.assert_array_equal(tree.lookup("map", "base_link", start_s * NS), shift(1.0))
    assert tree.covers("map", "base_link", start_s * NS + NS // 10)


def test_a_jump_that_the_lidar_has_confirmed_needs_no_second_sample() -> None:
    tree = TransformTree()
    tree.add_moving("map", "base_link", 10 * NS, shift(10.0))
    tree.add_moving("map", "base_link", 1 * NS, shift(1.0))
    tree.keep_around(1 * NS, 0.5)
    np.testing.assert_array_equal(tree.lookup("map", "base_link", 1 * NS), shift(1.0))


def test_frames_that_contradict_earlier_ones_are_refused() -> None:
    tree = TransformTree()
    tree.add_moving("map", "base_link", NS, shift(1.0))
    for parent, child in (("base_link", "map"), ("map", "map"), ("", "base_link"), ("map", "")):
        with pytest.raises(ValueError, match="cannot move in|must have names"):
            tree.add_moving(parent, child, NS, shift(2.0))
    np.testing.assert_array_equal(tree.lookup("map", "base_link", NS), shift(1.0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9, -1e300])
def test_positions_that_no_map_has_are_refused(value: float) -> None:
    position = SimpleNamespace(x=1.0, y=value, z=0.0)
    orientation = SimpleNamespace(w=1.0, x=0.0, y=0.0, z=0.0)
    with pytest.raises(ValueError, match="position"):
        pose_from_message(SimpleNamespace(position=position, orientation=orientation))
