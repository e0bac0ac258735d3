"""Camera models, and the calibration file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from occ_perception_ros.calibration import camera_model, load_calibration
from occ_perception_ros.transforms import TransformTree

NS = 10**9


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
        # WATonomous' converter writes this.
        ({"r": [1.0, 0, 0, 1, 0, 0, 1, 0, 0]}, "R that is not a rotation"),
        ({"r": [0.0] * 9}, "R that is not a rotation"),
        ({"r": [1.0, 0, 0, 0, 1, 0, 0, 0, -1]}, "R that is not a rotation"),
        ({"width": 0}, "size 0x900"),
        ({"k": [float("nan")] * 9}, "no usable K"),
    ],
)
def test_unusable_camera_infos_are_refused_by_name(changes: dict[str, object], reason: str) -> None:
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
            "cameras.cam: .*must be positive",
        ),
        ("sensors: {}", "must have a mapping 'frames'"),
    ],
)
def test_unusable_calibration_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_calibration(path, TransformTree())
    with pytest.raises(FileNotFoundError, match="nuscenes_to_bag writes"):
        load_calibration(tmp_path / "none.yaml", TransformTree())
