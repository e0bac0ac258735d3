from pathlib import Path

import numpy as np
import pytest

from occ_core.datasets.semantic_kitti_voxels import read_kitti_voxels
from training.labels.drive import NOISE
from training.labels.kitti_drives import kitti_drives
from training.make_labels import LabelConfig, make_labels

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"


def write_sequence(root: Path, scans: int = 6) -> Path:
    """A standing scanner, 1.7 m above a road of 20 m by 6 m, and a car that is seen in one scan."""
    folder = root / "sequences" / "00"
    for name in ("velodyne", "labels"):
        (folder / name).mkdir(parents=True)
    x, y = np.meshgrid(np.arange(3.05, 20.0, 0.1), np.arange(-2.95, 3.0, 0.1), indexing="ij")
    road = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.7), np.zeros(x.size)])
    # above the road, at z = 1.0: one moving car (252), a stray return (0), and an outlier (1)
    above = np.array([[10.1, 0.1, 1.1, 0.5], [12.1, 0.1, 1.1, 0.5], [14.1, 0.1, 1.1, 0.5]])
    for scan in range(scans):
        points = np.vstack([road, above[: 3 if scan == 5 else 0]]).astype(np.float32)
        points.tofile(folder / "velodyne" / f"{scan:06d}.bin")
        raw = np.full(len(points), 40, np.uint32)
        raw[len(road) :] = [252 | 7 << 16, 0, 1][: len(points) - len(road)]
        raw.tofile(folder / "labels" / f"{scan:06d}.label")
    (folder / "poses.txt").write_text(f"{IDENTITY}\n" * scans)
    (folder / "times.txt").write_text("".join(f"{0.1 * scan:.1f}\n" for scan in range(scans)))
    (folder / "calib.txt").write_text(f"P2: 700 0 600 0 0 700 180 0 0 0 1 0\nTr: {IDENTITY}\n")
    return folder


def test_a_sequence_becomes_a_drive(tmp_path: Path) -> None:
    write_sequence(tmp_path)
    drives = kitti_drives(tmp_path)
    assert list(drives) == ["00/000000"]
    drive = drives["00/000000"]()
    assert [keyframe.name for keyframe in drive.keyframes] == ["000000", "000005"]
    assert len(drive.sweeps) == 6
    # the instance in the upper half of a label is left out; what is on no surface is noise
    assert drive.sweeps[5].classes[-3:].tolist() == [252, NOISE, NOISE]


def test_voxels_hold_the_road_and_what_moves_only_when_it_is_there(tmp_path: Path) -> None:
    write_sequence(tmp_path)
    make_labels(LabelConfig(tmp_path, tmp_path / "out", workers=1))
    voxels = tmp_path / "out" / "sequences" / "00" / "voxels"
    first, sixth = (read_kitti_voxels(voxels / f"00000{n}.label").labels for n in (0, 5))
    # the grid begins at (0, -25.6, -2) m, voxels are 0.2 m: (10.1, 0.1, 1.1) is (50, 128, 15)
    assert sixth[50, 128, 15] == 1  # car
    assert first[50, 128, 15] != 1
    # z = -1.7 is layer 1; road has the id 9
    assert (first[16:99, 115:140, 1] == 9).mean() > 0.99
    assert sixth[70, 128, 15] in (0, 255)  # the outlier


def test_a_truncated_label_file_is_named(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path)
    path = folder / "labels" / "000003.label"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"000003\.label has \d+ bytes, but its scan has"):
        kitti_drives(tmp_path)["00/000000"]()


def test_an_unknown_raw_id_is_named(tmp_path: Path) -> None:
    path = write_sequence(tmp_path) / "labels" / "000003.label"
    raw = np.fromfile(path, np.uint32)
    raw[0] = 77 | 5 << 16  # of the fifth instance
    raw.tofile(path)
    with pytest.raises(ValueError, match=r"000003\.label: the raw label ids \[77\] are not in"):
        kitti_drives(tmp_path)["00/000000"]()


def test_scans_without_a_labelled_one_are_refused(tmp_path: Path) -> None:
    """Of the scans 0 to 5 only 1 to 4 are left."""
    folder = write_sequence(tmp_path)
    for scan in (0, 5):
        (folder / "velodyne" / f"{scan:06d}.bin").unlink()
    with pytest.raises(ValueError, match=r"no scan that gets labels, .* multiple of 5: it has 4"):
        make_labels(LabelConfig(tmp_path, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_sequence_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="SemanticKITTI label data"):
        kitti_drives(tmp_path)
    write_sequence(tmp_path)
    with pytest.raises(FileNotFoundError, match="'07'"):
        kitti_drives(tmp_path, ("07",))
