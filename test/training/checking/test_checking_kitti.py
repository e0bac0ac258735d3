"""Faults of SemanticKITTI and of SSCBench-KITTI-360, each with its cure."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from faulty_folders import Break, Fault, assert_named, cut, remove, semantic_kitti
from official_layouts import (
    DRIVE,
    KITTI_SHAPE,
    P2,
    kitti_hits,
    random_labels,
    write_kitti_360,
    write_kitti_scan,
    write_red_png,
)

from training.check_data import CheckConfig, check_data


def voxels(root: Path, ending: str) -> Path:
    return root / "sequences" / "08" / "voxels" / f"000000.{ending}"


def one_layer_up(root: Path) -> None:
    points = np.fromfile(root / "sequences/08/velodyne/000000.bin", np.float32).reshape(-1, 4)
    # Voxels counted from 0.2 m lower down have indices that are greater by one.
    np.packbits(kitti_hits(points, lower_m=-2.2)).tofile(voxels(root, "bin"))


def raw_id(root: Path) -> None:
    raw = np.fromfile(voxels(root, "label"), np.uint16)
    raw[5] = 77
    raw.tofile(voxels(root, "label"))


def kitti_text(name: str, text: str) -> Break:
    def break_it(root: Path) -> None:
        (root / "sequences" / "08" / name).write_text(text)

    return break_it


def scan_before(root: Path) -> None:
    """Scan 1 is damaged; it is 0.1 s before scan 2, the first with labels. Scan 3 has some too."""
    points = np.fromfile(root / "sequences/08/velodyne/000000.bin", np.float32).reshape(-1, 4)
    for number in (2, 3):
        folder = write_kitti_scan(root, number, points)
        for ending in ("label", "invalid", "bin"):
            shutil.copy(voxels(root, ending), folder / "voxels" / f"{number:06d}.{ending}")
    for path in (folder / "voxels").glob("000000.*"):
        path.unlink()
    cut(folder / "velodyne" / "000001.bin", -3)


def hide_labels(root: Path) -> Path:
    """The sequence as one of the test split, of which the scans' voxels alone are published."""
    folder = (root / "sequences" / "08").rename(root / "sequences" / "11")
    for path in (folder / "voxels").iterdir():
        if path.suffix != ".bin":
            path.unlink()
    return folder


def prepared(root: Path) -> Path:
    return root / "preprocess" / "labels" / DRIVE / "000000_1_1.npy"


def cut_poses(root: Path) -> None:
    """Frame 5 has no row, and frame 0, 5 m behind it, is too far away."""
    folder = write_kitti_360(root, 5, random_labels(KITTI_SHAPE, 19))
    path = folder / "cam0_to_world.txt"
    path.write_text(path.read_text().splitlines()[0])


def crop_360(root: Path) -> None:
    path = root / "data_2d_raw" / DRIVE / "image_00" / "data_rect" / "000000.png"
    write_red_png(path, (370, 1220))


def without_labels(root: Path) -> None:
    shutil.rmtree(root / "preprocess")
    shutil.rmtree(root / "data_2d_raw" / DRIVE / "voxels")


FAULTS = {
    "one layer too high": Fault(
        "semantic_kitti",
        one_layer_up,
        "000000.bin: its voxels lie one layer .* before August 2020; take the download 'Semantic",
    ),
    "another scan's voxels": Fault(
        "semantic_kitti",
        lambda root: np.zeros(262144, np.uint8).tofile(voxels(root, "bin")),
        "its voxels are not those of the points of its scan; take voxels and velodyne/ of the",
    ),
    "raw labels truncated": Fault(
        "semantic_kitti",
        lambda root: cut(voxels(root, "label")),
        "000000.label holds 4194284 bytes, expected 4194304 .*: extract it again",
    ),
    "raw id": Fault("semantic_kitti", raw_id, r"000000.label: the raw label ids \[77\] are not in"),
    "no invalid": Fault(
        "semantic_kitti",
        remove("sequences/08/voxels/000000.invalid"),
        "000000.invalid is missing; take the download 'SemanticKITTI voxel data'",
    ),
    "no voxels": Fault(
        "semantic_kitti",
        remove("sequences/08/voxels"),
        "holds no NN/voxels/\\*.label; take the download 'SemanticKITTI voxel data'",
    ),
    "no poses": Fault(
        "semantic_kitti",
        remove("sequences/08/poses.txt"),
        "poses.txt is missing; it is in 'SemanticKITTI label data'",
    ),
    "few poses": Fault(
        "semantic_kitti",
        kitti_text("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n"),
        "poses.txt has 1 rows, but there are 2 scans",
    ),
    "zero poses": Fault(
        "semantic_kitti",
        kitti_text("poses.txt", "0 0 0 0 0 0 0 0 0 0 0 0\n" * 2),
        "poses.txt: 2 of 2 rows, the first of them row 1, are not poses",
    ),
    "zero Tr": Fault(
        "semantic_kitti",
        kitti_text("calib.txt", f"P2: {P2}\nTr: 0 0 0 0 0 0 0 0 0 0 0 0\n"),
        "calib.txt: 'Tr' must be a rotation and a translation",
    ),
    "no Tr": Fault("semantic_kitti", kitti_text("calib.txt", ""), "calib.txt: 'P2' must have 12"),
    "time runs back": Fault(
        "semantic_kitti",
        kitti_text("times.txt", "0.1\n0.0\n"),
        "times.txt: line 2 is not later than the line before it",
    ),
    "KITTI image missing": Fault(
        "semantic_kitti",
        remove("sequences/08/image_2/000001.png"),
        r"image_2: 1 of 2 images are missing, such as 000001.png; take the download 'odometry",
    ),
    "KITTI image truncated": Fault(
        "semantic_kitti",
        lambda root: cut(root / "sequences" / "08" / "image_2" / "000000.png"),
        "000000.png: the PNG of .* is truncated; extract the file again",
    ),
    "scan without labels truncated": Fault(
        "semantic_kitti",
        lambda root: cut(root / "sequences" / "08" / "velodyne" / "000001.bin", -3),
        "velodyne/000001.bin holds 7997 bytes, expected a positive multiple of 16",  # 500 * 16 - 3
        {"open": 0},
    ),
    "image without labels truncated": Fault(
        "semantic_kitti",
        lambda root: cut(root / "sequences" / "08" / "image_2" / "000001.png"),
        "000001.png: the PNG of .* is truncated; extract the file again",
        {"open": 0},
    ),
    "scan before a labelled one truncated": Fault(
        "semantic_kitti",
        scan_before,
        "velodyne/000001.bin holds 7997 bytes, expected a positive multiple of 16",
        {"open": 1},
    ),
    "hidden scan truncated": Fault(
        "semantic_kitti",
        lambda root: cut(hide_labels(root) / "velodyne" / "000000.bin", -3),
        "11/velodyne/000000.bin holds 7997 bytes, expected a positive multiple of 16",
    ),
    "hidden voxels truncated": Fault(
        "semantic_kitti",
        lambda root: cut(hide_labels(root) / "voxels" / "000000.bin"),
        "11/voxels/000000.bin holds 262124 bytes, expected 262144",  # 256 * 256 * 32 / 8
    ),
    "labels of one scan missing": Fault(
        "semantic_kitti",
        remove("sequences/08/voxels/000000.label"),
        "voxels: 1 of 1 scans have no labels, such as 000000.label; take the download 'Semantic",
    ),
    "scan missing": Fault(
        "semantic_kitti",
        remove("sequences/08/velodyne/000000.bin"),
        "voxels: 1 of 1 labels have no scan in velodyne/, such as 000000.label",
    ),
    "no KITTI-360 poses": Fault(
        "kitti_360",
        remove(f"data_2d_raw/{DRIVE}/cam0_to_world.txt"),
        "cam0_to_world.txt is missing; take SSCBench-KITTI-360",
    ),
    "KITTI-360 poses cut": Fault(
        "kitti_360",
        cut_poses,
        "cam0_to_world.txt has no pose of frame 5, nor one near it; its 1 rows are of frames 0 to",
    ),
    "KITTI-360 image cropped": Fault(
        "kitti_360", crop_360, "000000.png has 1220x370 pixels, expected 1408x376"
    ),
    "KITTI-360 coarse labels": Fault(
        "kitti_360",
        lambda root: np.save(prepared(root), np.load(prepared(root))[::8, ::8, ::8]),
        r"000000_1_1.npy must hold an array of shape \[256, 256, 32\], got \[32, 32, 4\]",
    ),
    "KITTI-360 labels between": Fault(
        "kitti_360",
        lambda root: np.save(prepared(root), np.full(KITTI_SHAPE, 0.5, np.float32)),
        "000000_1_1.npy: labels must be whole numbers below .*, got 0.5",
    ),
    "KITTI-360 without labels": Fault(
        "kitti_360", without_labels, "has neither preprocess/labels/.* nor data_2d_raw/"
    ),
}


def test_a_test_sequence_without_labels_has_no_faults(tmp_path: Path) -> None:
    semantic_kitti(tmp_path)
    hide_labels(tmp_path)
    report = check_data(CheckConfig(tmp_path))
    assert report.faults == []
    assert "sequences: 1, scans: 2, with voxels: 1" in report.contents


def test_without_labels_as_many_scans_are_opened_as_asked(tmp_path: Path) -> None:
    semantic_kitti(tmp_path)
    shutil.rmtree(tmp_path / "sequences" / "08" / "voxels")
    for opened, scans in ((1, 1), (0, 2), (50, 2)):
        contents = check_data(CheckConfig(tmp_path, open=opened)).contents
        assert f"scans whose voxels were opened: 0, scans and images: {scans}" in contents


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_kitti_is_named_with_its_cure(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_named(FAULTS[name], tmp_path / "data")
