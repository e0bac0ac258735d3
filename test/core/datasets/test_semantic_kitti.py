"""SemanticKITTI's reader, on a made-up sequence of two scans small enough to work out by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from occ_core.datasets.semantic_kitti import CLASS_OF_RAW_ID, SemanticKittiFrames
from occ_core.taxonomy import CLASS_ID, CLASS_NAMES

SCAN = np.array([[10.0, 2.0, -1.0, 0.5], [4.0, 0.0, 1.0, 1.0]], dtype=np.float32)
# the lower half is the class, the upper one the instance's number
RAW = np.array([(7 << 16) | 252, 99], dtype=np.uint32)  # a moving car; "other object"
P2 = "100 0 32 -50 0 100 16 0 0 0 1 0"  # K = (100, 100, 32, 16); K^-1 t = (-0.5, 0, 0)
TR = "0 -1 0 0 0 0 -1 0 1 0 0 0"  # camera x = -velodyne y, y = -z, z = x


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Two scans, 0.1 s and 2 m apart; poses are those of the camera, which looks along its z."""
    folder = tmp_path / "sequences" / "00"
    for name in ("velodyne", "labels", "image_2"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        SCAN.tofile(folder / "velodyne" / f"{number:06d}.bin")
        RAW.tofile(folder / "labels" / f"{number:06d}.label")
        red = np.zeros((32, 64, 3), np.uint8)
        red[:, :, 2] = 200  # OpenCV's order is blue, green, red
        cv2.imwrite(str(folder / "image_2" / f"{number:06d}.png"), red)
    (folder / "calib.txt").write_text(f"P0: {P2}\nP2: {P2}\nTr: {TR}\n")
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1 2\n")
    (folder / "times.txt").write_text("0.0\n0.1\n")
    return tmp_path


def test_points_come_in_the_grid_frame_with_their_classes(kitti: Path) -> None:
    frames = SemanticKittiFrames(kitti, image_size=(32, 64))
    frame, points = frames[0]
    assert len(frames) == 2 and [frames.scan_number(index) for index in (0, 1)] == [0, 1]
    # x right = -(y left), y forward = x forward
    np.testing.assert_allclose(points.xyz_m, [[-2.0, 10.0, -1.0], [0.0, 4.0, 1.0]], atol=1e-6)
    assert points.classes.tolist() == [CLASS_ID["car"], 0]
    np.testing.assert_allclose(frame.points[0][:, 3], [127.5, 255.0])  # remission times 255
    assert frame.images[0, 0, :, 5, 5].tolist() == [200, 0, 0]
    assert frame.stamp_ns == (0,)


def test_the_scan_before_is_moved_by_the_vehicles_motion(kitti: Path) -> None:
    frame, _ = SemanticKittiFrames(kitti, image_size=(32, 64))[1]
    # The car drove 2 m forward: what was 10 m ahead is 8 m ahead now, and 0.1 s old.
    np.testing.assert_allclose(frame.points[0][0], [-2.0, 8.0, -1.0, 127.5, 0.1], atol=1e-5)
    np.testing.assert_allclose(frame.points[0][2], [-2.0, 10.0, -1.0, 127.5, 0.0], atol=1e-5)
    alone, _ = SemanticKittiFrames(kitti, image_size=(32, 64), history_s=0.05)[1]
    assert len(alone.points[0]) == 2


def test_a_point_projects_where_the_calibration_says(kitti: Path) -> None:
    frame, points = SemanticKittiFrames(kitti, image_size=(32, 64))[0]
    pose = frame.grid_from_camera[0, 0].double().numpy()
    in_camera = np.linalg.inv(pose) @ np.append(points.xyz_m[0], 1.0)
    # grey camera: (-2, 1, 10); the colour camera sees x + K^-1 t = -2.5
    np.testing.assert_allclose(in_camera[:3], [-2.5, 1.0, 10.0], atol=1e-5)
    pixel = frame.intrinsics[0, 0].double().numpy() @ in_camera[:3] / in_camera[2]
    # u = 100 * -2.5 / 10 + 32 = 7, v = 100 * 1 / 10 + 16 = 26
    np.testing.assert_allclose(pixel[:2], [7.0, 26.0], atol=1e-4)


def test_every_raw_class_maps_to_one_of_the_sixteen() -> None:
    assert set(CLASS_OF_RAW_ID.values()) <= set(CLASS_NAMES[1:])
    assert CLASS_OF_RAW_ID[60] == CLASS_OF_RAW_ID[44] == "driveable_surface"


def test_a_missing_image_masks_the_camera(kitti: Path) -> None:
    (kitti / "sequences/00/image_2/000000.png").unlink()
    with pytest.warns(UserWarning, match="000000.png"):
        frame, _ = SemanticKittiFrames(kitti, image_size=(32, 64))[0]
    assert not frame.camera_mask.any()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("velodyne/000000.bin", b"\0" * 20, "multiple of 16"),
        ("velodyne/000000.bin", b"", "multiple of 16"),
        ("labels/000000.label", b"\0" * 4, "has 4 bytes, but its scan has 2 points"),
    ],
)
def test_damaged_files_are_named(kitti: Path, name: str, content: bytes, message: str) -> None:
    path = kitti / "sequences/00" / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        SemanticKittiFrames(kitti, image_size=(32, 64))[0]
    assert path.name in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("poses.txt", "1 0 0\n", "line 1 must have 12 numbers"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "has 1 rows, but there are 2 scans"),
        ("times.txt", "soon\nlater\n", "times.txt"),
        ("calib.txt", f"P2: {P2}\n", "'Tr' must have 12 numbers, got 0"),
    ],
)
def test_malformed_tables_are_named(kitti: Path, name: str, text: str, message: str) -> None:
    (kitti / "sequences/00" / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        SemanticKittiFrames(kitti)


def test_a_folder_without_sequences_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no sequences/NN/labels"):
        SemanticKittiFrames(tmp_path)
