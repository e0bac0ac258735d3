"""What belongs to a KITTI sequence, on a made-up one and on real scans."""

from pathlib import Path

import numpy as np
import pytest
from official_layouts import P2, TR, write_kitti_scan

from occ_core.datasets.kitti_sequence import KittiSequence
from occ_core.datasets.semantic_kitti_voxels import VOXELS, read_kitti_voxels
from occ_core.datasets.voxel_files import load_bits
from occ_core.labels.benchmarks import KITTI_GRID

SCAN = np.array([[10.0, 2.0, -1.0, 0.5]], dtype=np.float32)


def test_a_part_of_a_sequence_keeps_its_numbers(tmp_path: Path) -> None:
    """Scans 4 and 5 alone: pose and stamp are those of their rows, not of the first two."""
    for number in (4, 5):
        folder = write_kitti_scan(tmp_path, number, SCAN)
    sequence = KittiSequence.read(folder)
    assert sequence.names == ("000004", "000005")
    assert sequence.stamps_ns == (400_000_000, 500_000_000)
    # Scan 4 is 4 * 2 m along the camera's z, which is the Velodyne's x.
    np.testing.assert_allclose(sequence.world_from_velodyne[0] @ [0, 0, 0, 1], [0, 0, 8, 1])


def test_returns_of_the_recording_car_are_left_out(tmp_path: Path) -> None:
    """A point on its roof, one on the road beside it, and one 10 m ahead; the grid is turned by 90
    degrees, and the box with the scanner's frame, not with the grid's.
    """
    scan = np.array([[2.5, 0.5, -0.9, 0.2], [2.5, 0.5, -1.7, 0.2], [10.0, 2.0, -1.0, 0.2]], "f4")
    sequence = KittiSequence.read(write_kitti_scan(tmp_path, 0, scan))
    turned = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    points = sequence.frame(0, (32, 64), 0.0, turned).points[0].numpy()
    np.testing.assert_allclose(points[:, :3], [[-0.5, 2.5, -1.7], [-2.0, 10.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.full((4, 5), 2.0, np.float32), "fourth float32 of every point must be its remission"),
        (np.full((1, 3), 2.0, np.float32), "holds 12 bytes, expected a positive multiple of 16"),
        (np.full((1, 4), np.nan, np.float32), "must be its remission in 0..1"),
    ],
)
def test_scans_of_other_columns_are_refused(tmp_path: Path, points: np.ndarray, words: str) -> None:
    """Four points of nuScenes' five columns are as long as five points of four."""
    folder = write_kitti_scan(tmp_path, 0, SCAN)
    points.tofile(folder / "velodyne" / "000000.bin")
    with pytest.raises(ValueError, match=words) as raised:
        KittiSequence.read(folder).read_scan(0)
    assert "000000.bin" in str(raised.value)


def test_a_damaged_image_is_an_error_and_a_missing_one_a_warning(tmp_path: Path) -> None:
    folder = write_kitti_scan(tmp_path, 0, SCAN)
    path = folder / "image_2" / "000000.png"
    path.write_bytes(path.read_bytes()[:-20])
    sequence = KittiSequence.read(folder)
    with pytest.raises(ValueError, match=r"image_2/000000\.png: .*extract the file again"):
        sequence.frame(0, (32, 64), 0.0, np.eye(4))
    path.unlink()
    with pytest.warns(UserWarning, match=r"image_2 is masked: .*000000\.png is missing"):
        assert not sequence.frame(0, (32, 64), 0.0, np.eye(4)).camera_mask.any()


def test_no_scans(tmp_path: Path) -> None:
    folder = write_kitti_scan(tmp_path, 0, SCAN)
    (folder / "velodyne" / "000000.bin").unlink()
    with pytest.raises(FileNotFoundError, match="velodyne holds no scans"):
        KittiSequence.read(folder)
    SCAN.tofile(folder / "velodyne" / "first.bin")
    with pytest.raises(ValueError, match="first.bin: the files of scans are named by their num"):
        KittiSequence.read(folder)


ZEROS = "0 0 0 0 0 0 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("poses.txt", f"{ZEROS}\n", "1 of 1 rows, the first of them row 1, are not poses"),
        (
            "poses.txt",
            "2 0 0 0 0 2 0 0 0 0 2 0\n",
            "are not poses: the matrix of each must be a ro",
        ),
        ("poses.txt", "-1 0 0 0 0 1 0 0 0 0 1 0\n", "are not poses"),  # a mirror
        ("poses.txt", b"\xff\xfe\x00" * 40, "must be a text file, but is none; extract it again"),
        ("times.txt", b"\xff\xfe\x00" * 40, "must be a text file, but is none"),
        ("calib.txt", b"\xff\xfe\x00" * 40, "must be a text file, but is none"),
        ("calib.txt", f"P2: {P2}\nTr: {ZEROS}\n", "'Tr' must be a rotation and a translation"),
        ("calib.txt", f"P2: {ZEROS}\nTr: {TR}\n", "'P2' must be a camera's projection with pos"),
    ],
)
def test_unusable_poses_and_calibrations_are_named(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    folder = write_kitti_scan(tmp_path, 0, SCAN)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=words) as raised:
        KittiSequence.read(folder)
    assert str(folder / name) in str(raised.value)


def test_real_scans_give_the_official_voxels(real_data: Path) -> None:
    """The voxels that hold a point of the scan are the ones of the benchmark's ``.bin``."""
    root = real_data.parent / "semantickitti"
    paths = sorted(root.glob("sequences/*/voxels/*.bin"))
    if not paths:
        pytest.skip(f"no real voxels at {root}")
    for path in paths:
        sequence = KittiSequence.read(path.parents[1])
        points = sequence.read_scan(sequence.names.index(path.stem))
        hits = np.zeros(KITTI_GRID.shape, dtype=bool)
        hits[tuple(KITTI_GRID.numpy_index(points[:, :3])[0].T)] = True
        bits = load_bits(path, KITTI_GRID.shape, VOXELS)
        assert (hits & bits).sum() / (hits | bits).sum() > 0.99
        labels, _ = read_kitti_voxels(path.with_suffix(".label"))
        # Where a point of the scan lies, the labels know of something: a class, or 255.
        assert (labels[bits] != 0).mean() > 0.9
