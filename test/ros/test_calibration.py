"""Poses over time, the tree of frames, camera models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from occ_core.geometry.poses import pose_matrix
from occ_perception_ros.calibration import camera_model, load_calibration
from occ_perception_ros.transforms import PoseTrack, TransformError, TransformTree

NS = 10**9


def shift(x: float, yaw: float = 0.0) -> np.ndarray:
    return pose_matrix((x, 0, 0), (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)))


def test_a_pose_between_samples_is_interpolated() -> None:
    track = PoseTrack()
    track.add(1 * NS, shift(0.0))
    track.add(2 * NS, shift(4.0, yaw=1.0))
    np.testing.assert_allclose(
        track.at(1_250_000_000), shift(1.0, yaw=0.25), atol=1e-12
    )  # a quarter of the way
    np.testing.assert_array_equal(
        track.at(2 * NS), shift(4.0, yaw=1.0)
    )  # a sample is given as it is


def test_outside_the_samples_the_nearest_serves_only_when_near() -> None:
    track = PoseTrack(tolerance_s=0.06, max_gap_s=1.0)
    with pytest.raises(TransformError, match="no sample has come yet"):
        track.at(NS)
    track.add(1 * NS, shift(1.0))
    track.add(4 * NS, shift(2.0))
    np.testing.assert_array_equal(track.at(4 * NS + 50_000_000), shift(2.0))
    for stamp in (4 * NS + 70_000_000, 2 * NS):  # too late; in a gap of 3 s
        with pytest.raises(TransformError, match="nearest sample at"):
            track.at(stamp)
    assert track.covers(4 * NS) and not track.covers(4 * NS + 1)


def test_a_track_starts_anew_when_time_goes_back_and_is_bounded() -> None:
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
        TransformError, match="'base_link' to 'map': wanted at 9.000 s, nearest sample at 1.000 s"
    ):
        tree.lookup("map", "lidar_top", 9 * NS)


def test_frames_in_a_loop_are_an_error() -> None:
    tree = TransformTree()
    tree.add_static("a", "b", shift(1.0))
    tree.add_static("b", "a", shift(1.0))
    with pytest.raises(TransformError, match="loop"):
        tree.lookup("a", "b", NS)
    assert not tree.covers("a", "b", NS)


def info(**changes: object) -> CameraInfo:
    values = {
        "width": 1600,
        "height": 900,
        "k": [1200.0, 0, 800, 0, 1200, 450, 0, 0, 1],
        "r": [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        "p": [1100.0, 0, 800, 0, 0, 1100, 450, 0, 0, 0, 1, 0],
        **changes,
    }
    return CameraInfo(**values)


def test_rectified_images_have_the_intrinsics_of_p() -> None:
    model = camera_model("cam", info())
    assert model.size == (900, 1600) and model.intrinsics[0, 0] == 1100
    assert camera_model("cam", info(p=[0.0] * 12)).intrinsics[0, 0] == 1200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": [0.0] * 9}, "no usable K"),
        (
            {"r": [1.0, 0, 0, 1, 0, 0, 1, 0, 0]},
            "R that is no rotation",
        ),  # what WATonomous' converter writes
        ({"r": [0.0] * 9}, "R that is no rotation"),
        ({"r": [1.0, 0, 0, 0, 1, 0, 0, 0, -1]}, "R that is no rotation"),
        ({"width": 0}, "size 0x900"),
        ({"k": [float("nan")] * 9}, "no usable K"),
    ],
)
def test_camera_infos_that_cannot_be_used(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=f"camera_info of 'cam_back' has .*{reason}"):
        camera_model("cam_back", info(**changes))


def test_a_calibration_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(
        "frames:\n  lidar_top: {parent: base_link, translation: [1, 0, 2], rotation_xyzw: [0, 0, "
        "0, 1]}\n"
        "cameras:\n  cam_front: {size: [900, 1600], intrinsics: [1200, 0, 800, 0, 1200, 450, 0, 0, "
        "1]}\n"
    )
    tree = TransformTree()
    models = load_calibration(path, tree)
    np.testing.assert_array_equal(tree.lookup("base_link", "lidar_top", NS)[:3, 3], [1, 0, 2])
    assert models["cam_front"].size == (900, 1600) and models["cam_front"].intrinsics[1, 2] == 450


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "frames: {lidar: {parent: base_link, translation: [1, 0, 2]}}",
            "frames.lidar: 'rotation_xyzw' is missing",
        ),
        (
            "frames: {lidar: {parent: b, translation: [1, 0, 2], rotation_xyzw: [0, 0, 0, 0]}}",
            "frames.lidar: .*non-zero",
        ),
        (
            "frames: {lidar: {parent: b, translation: [1, 0], rotation_xyzw: [0, 0, 0, 1]}}",
            "frames.lidar",
        ),
        (
            "frames: {}\ncameras: {cam: {size: [9, 16], intrinsics: [1, 2]}}",
            "cameras.cam: .*9 numbers",
        ),
        (
            "frames: {}\ncameras: {cam: {size: [9, 16], intrinsics: [0, 0, 8, 0, 0, 4, 0, 0, 1]}}",
            "cameras.cam: .*not positive",
        ),
        ("sensors: {}", "must hold a map 'frames'"),
    ],
)
def test_calibration_files_that_cannot_be_used(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_calibration(path, TransformTree())
    with pytest.raises(FileNotFoundError, match="nuscenes_to_bag writes"):
        load_calibration(tmp_path / "none.yaml", TransformTree())
