"""Camera models, and the calibration file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from occ_perception_ros.calibration import (
    camera_model,
    has_distortion,
    info_key,
    is_rectified,
    load_calibration,
)
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


@pytest.mark.parametrize("rectified", [False, True])
def test_rectified_images_have_the_intrinsics_of_p(rectified: bool) -> None:
    model = camera_model("cam", info(), rectified)
    assert model.size == (900, 1600) and model.intrinsics[0, 0] == 1100
    # An image that comes with K = 1200 is scaled to that of P = 1100.
    assert (model.lens is None) == rectified
    model = camera_model("cam", info(p=[0.0] * 12), rectified)
    assert model.intrinsics[0, 0] == 1200 and model.lens is None


@pytest.mark.parametrize("rectified", [False, True])
def test_without_k_images_are_rectified_ones_with_the_intrinsics_of_p(rectified: bool) -> None:
    turned = [0.0, 0, 1, 0, 1, 0, -1, 0, 0]
    model = camera_model("cam", info(k=[0.0] * 9, r=turned), rectified)
    np.testing.assert_equal(model.intrinsics, [[1100, 0, 800], [0, 1100, 450], [0, 0, 1]])
    np.testing.assert_equal(model.rectified_from_camera[:3, :3].ravel(), turned)
    assert model.lens is None
    # The distortion of rectified images is that of the images they were made of.
    bent = info(k=[0.0] * 9, distortion_model="plumb_bob", d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    assert camera_model("cam", bent, rectified=True).intrinsics[0, 0] == 1100


def test_raw_images_are_undistorted_and_rectified_ones_are_not() -> None:
    bent = info(distortion_model="plumb_bob", d=[-0.35, 0.12, 0.0, 0.0, 0.0])
    assert camera_model("cam", bent).lens is not None
    assert camera_model("cam", bent, rectified=True).lens is None
    assert has_distortion(bent) and not has_distortion(info(d=[0.0] * 5))
    assert has_distortion(info(distortion_model="equidistant", d=[0.0] * 4))


@pytest.mark.parametrize(
    ("topic", "setting", "expected"),
    [
        ("/front/image_rect_compressed", "auto", True),
        ("/front/image_raw", "auto", False),
        ("/front/image_raw", "always", True),
        ("/front/image_rect", "never", False),
    ],
)
def test_the_topic_says_whether_images_are_rectified(
    topic: str, setting: str, expected: bool
) -> None:
    assert is_rectified(topic, setting) == expected


def test_binning_and_region_of_interest() -> None:
    window = RegionOfInterest(x_offset=200, y_offset=100, width=1000, height=600)
    model = camera_model("cam", info(binning_x=2, binning_y=4, roi=window))
    assert model.size == (150, 500)  # 600 / 4, 1000 / 2
    # fx 1100 / 2; cx (800 - 200 + 0.5) / 2 - 0.5; fy 1100 / 4; cy (450 - 100 + 0.5) / 4 - 0.5
    np.testing.assert_allclose(
        model.intrinsics, [[550, 0, 299.75], [0, 275, 87.125], [0, 0, 1]], rtol=1e-12
    )
    assert camera_model("cam", info(binning_x=1, binning_y=0)).size == (900, 1600)


def test_every_part_of_a_camera_info_counts() -> None:
    other = (
        info(binning_x=2),
        info(roi=RegionOfInterest(width=8, height=8)),
        info(d=[0.1] * 5),
        info(distortion_model="fisheye"),
        info(width=800),
        info(k=[1.0] * 9),
    )
    keys = [info_key(each) for each in (info(), *other)]
    assert len(set(keys)) == len(keys) and info_key(info()) == keys[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "no usable K"),
        ({"k": [0.0] * 9, "distortion_model": "plumb_bob", "d": [-0.3] * 5}, "no usable K"),
        # WATonomous' converter writes this.
        ({"r": [1.0, 0, 0, 1, 0, 0, 1, 0, 0]}, "R that is not a rotation"),
        ({"r": [0.0] * 9}, "R that is not a rotation"),
        ({"r": [1.0, 0, 0, 0, 1, 0, 0, 0, -1]}, "R that is not a rotation"),
        ({"width": 0}, "size 0x900"),
        ({"k": [float("nan")] * 9}, "no usable K"),
        ({"k": [1e9, 0.0, 800.0, 0.0, 1e9, 450.0, 0.0, 0.0, 1.0]}, "no usable K"),
        ({"p": [float("inf")] * 12}, "no usable P"),
        ({"width": 2**32 - 1}, "size 4294967295x900; the limit is 32000"),
        ({"binning_x": 2000}, "binning of 2000x1 for 1600x900 pixels"),
        ({"roi": RegionOfInterest(x_offset=1000, width=700, height=900)}, "not within 1600x900"),
        ({"roi": RegionOfInterest(y_offset=1)}, "not within 1600x900"),
        ({"distortion_model": "ds", "d": [1.0]}, "distortion model 'ds', which is not known"),
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
    assert models["cam_front"].lens is None


def test_a_calibration_file_with_a_lens(tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    camera = "size: [900, 1600], intrinsics: [1200, 0, 800, 0, 1200, 450, 0, 0, 1]"
    path.write_text(
        f"frames: {{}}\ncameras:\n  cam: {{{camera}, distortion_model: equidistant, "
        "distortion: [0.1, 0, 0, 0]}\n"
    )
    assert load_calibration(path, TransformTree())["cam"].lens is not None


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
        (
            "frames: {}\ncameras: {cam: {size: [9, 16], intrinsics: [9, 0, 8, 0, 9, 4, 0, 0, 1], "
            "distortion_model: plumb_bob, distortion: [1]}}",
            "cameras.cam: 1 distortion coefficients; .*distortion: .numbers.",
        ),
        ("sensors: {}", "must have a mapping 'frames'"),
        ("frames: {}\ncameras: [cam]", "must have a mapping 'cameras'"),
    ],
)
def test_unusable_calibration_files_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_calibration(path, TransformTree())
    with pytest.raises(FileNotFoundError, match="nuscenes_to_bag writes"):
        load_calibration(tmp_path / "none.yaml", TransformTree())
