"""Poses of KITTI-360 by frame: which frames may lack one, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
from official_layouts import DRIVE, KITTI_SHAPE, random_labels, write_kitti_360, write_red_png

from occ_core.datasets.benchmark_data import open_benchmark
from occ_core.datasets.kitti_360_poses import Kitti360Poses


def row(number: float, z_m: float, scale: float = 1.0) -> str:
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[2, 3] = z_m
    return " ".join(f"{value:g}" for value in (number, *matrix.ravel()))


def write(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{each}\n" for each in rows))
    return path


def test_frames_without_a_row_have_the_pose_before(tmp_path: Path) -> None:
    """The file begins with frame 1, as the official ones, and the car drives 1 m a frame. It stops
    at frame 3 and creeps 1 m in 40 frames: 0.025 m a frame.
    """
    rows = [row(1, 1), row(2, 2), row(3, 3), row(43, 4), row(44, 5)]
    poses = Kitti360Poses(write(tmp_path / "poses.txt", *rows))
    z_m = [poses.at(number)[2, 3] for number in (0, 1, 2, 3, 20, 42, 43, 44, 46)]
    assert z_m == [1, 1, 2, 3, 3, 3, 4, 5, 5]


@pytest.mark.parametrize("number", [2, 50, 93])
def test_a_frame_of_a_moving_car_needs_a_row(tmp_path: Path, number: int) -> None:
    """Three frames before the first row, amid a gap of 85 m, and three frames after the last."""
    rows = [row(each, each) for each in (5, 90)]
    poses = Kitti360Poses(write(tmp_path / "poses.txt", *rows))
    with pytest.raises(ValueError, match=f"poses.txt has no pose of frame {number}, .* 5 to 90"):
        poses.at(number)


def test_a_car_that_stands_at_an_end_needs_no_rows_there(tmp_path: Path) -> None:
    """0.1 m a frame from frame 90 to 91, so that it may stand from then on; 1 m a frame before."""
    rows = [row(88, 1), row(89, 2), row(90, 3), row(91, 3.1)]
    poses = Kitti360Poses(write(tmp_path / "poses.txt", *rows))
    assert poses.at(200)[2, 3] == 3.1
    with pytest.raises(ValueError, match="no pose of frame 0, nor one near it; its 4 rows"):
        poses.at(0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "poses.txt is empty; take SSCBench-KITTI-360"),
        ([row(5, 5), row(0, 0)], "row 2 is of frame 0, which is not after frame 5"),
        ([row(5, 5), row(5, 6)], "row 2 is of frame 5, which is not after frame 5"),
        ([row(0.5, 0)], "row 1 must begin with the number of a frame, got 0.5"),
        ([row(0, 0), row(1, 0, scale=0)], "1 of 2 rows, the first of them row 2, are not poses"),
        ([row(0, 0, scale=2)], "1 of 1 rows, the first of them row 1, are not poses"),
        ([row(0, 0)[:-1] + "2"], "are not poses"),  # the last number of a pose is 1
        ([row(0, 0)[:-2]], "line 1 must have 17 numbers"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        Kitti360Poses(write(tmp_path / "poses.txt", *rows))
    assert str(tmp_path / "poses.txt") in str(raised.value)


def test_the_reader_refuses_a_file_that_is_cut(tmp_path: Path) -> None:
    """Frames 0 and 5, 5 m apart, of which the file has but the first."""
    for number in (0, 5):
        folder = write_kitti_360(tmp_path, number, random_labels(KITTI_SHAPE, 19))
    path = folder / "cam0_to_world.txt"
    write(path, path.read_text().splitlines()[0])
    data = open_benchmark("kitti360", tmp_path, (32, 64))
    assert data.sample(0).name == f"{DRIVE}/000000"
    with pytest.raises(ValueError, match="cam0_to_world.txt has no pose of frame 5, .* 1 rows"):
        data.sample(1)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = write_kitti_360(tmp_path, 0, random_labels(KITTI_SHAPE, 19))
    write_red_png(folder / "image_00" / "data_rect" / "000000.png", (100, 300))
    with pytest.raises(ValueError, match="000000.png has 300x100 pixels, expected 1408x376"):
        open_benchmark("kitti360", tmp_path, (32, 64)).sample(0)


def test_labels_that_are_not_named_by_their_frame_are_refused(tmp_path: Path) -> None:
    write_kitti_360(tmp_path, 0, random_labels(KITTI_SHAPE, 19))
    (path,) = tmp_path.glob("preprocess/labels/*/*.npy")
    path.rename(path.with_name("first_1_1.npy"))
    with pytest.raises(ValueError, match=f"has labels {DRIVE}/first, which are not named by"):
        open_benchmark("kitti360", tmp_path)
