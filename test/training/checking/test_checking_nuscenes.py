"""Faults of nuScenes' tables and sensor files, and of the labels on it, each with its cure."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from faulty_folders import Fault, assert_named, cut, drop, edit, remove


def four_columns(root: Path, name: str = "samples/LIDAR_TOP/key0.pcd.bin") -> None:
    points = np.random.default_rng(0).uniform(-40, 40, (40, 4)).astype(np.float32)
    points[:, 3] = 7.0  # intensity; 40 x 16 bytes are 32 x 20 bytes
    points.tofile(root / name)


def header_alone(root: Path) -> None:
    (root / "samples" / "CAM_FRONT" / "key0.jpg").write_bytes(b"\x89PNG\r\n\x1a\n")


def cropped(root: Path) -> None:
    path = root / "samples" / "CAM_BACK" / "key3.jpg"
    cv2.imwrite(str(path), np.zeros((18, 64, 3), np.uint8))


def labels_file(root: Path) -> Path:
    return root / "nuscenes_occ" / "samples" / "key0.pcd.bin.npy"


def reverse_columns(root: Path) -> None:
    rows = np.load(labels_file(root))
    np.save(labels_file(root), rows[:, [2, 1, 0, 3]])


def other_release(root: Path) -> None:
    for path in sorted(labels_file(root).parent.iterdir()):
        path.rename(path.with_name(f"n015-{path.name}"))


def unknown_class(root: Path) -> None:
    np.save(labels_file(root), np.array([[0, 0, 0, 17]]))


def occ3d_file(root: Path) -> Path:
    return root / "gts" / "scene-0061" / "key0" / "labels.npz"


def without_mask(root: Path) -> None:
    arrays = dict(np.load(occ3d_file(root)))
    del arrays["mask_camera"]
    np.savez_compressed(occ3d_file(root), **arrays)


def surroundocc_ids(root: Path) -> None:
    arrays = dict(np.load(occ3d_file(root)))
    arrays["semantics"][arrays["semantics"] == 17] = 0
    np.savez_compressed(occ3d_file(root), **arrays)


def half_grid(root: Path) -> None:
    arrays = {name: values[::2, ::2, ::2] for name, values in np.load(occ3d_file(root)).items()}
    np.savez_compressed(occ3d_file(root), **arrays)


def three_columns(root: Path) -> None:
    path = root / "nuScenes-Occupancy" / "scene_scene" / "occupancy" / "key0 LIDAR_TOP.npy"
    np.save(path, np.load(path)[:, :3])


def no_records(root: Path) -> None:
    (root / "v1.0-mini" / "sample_data.json").write_text("[]")


FAULTS = {
    "mini": Fault(
        "surroundocc",
        lambda root: None,
        "no scene of split 'val' .*; this is nuScenes mini: use mini_train or mini_val",
        {"split": "val"},
    ),
    "labels wanted": Fault(
        "surroundocc",
        lambda root: None,
        "occ3d: 2 of 2 keyframes have no labels, such as .*; extract Occ3D-nuScenes' gts",
        {"benchmark": "occ3d"},
    ),
    "blobs missing": Fault(
        "surroundocc",
        remove("samples/CAM_BACK"),
        r"samples/CAM_BACK: 2 of 2 files are missing, .*; extract the sensor archives",
    ),
    "sweep missing": Fault(
        "surroundocc",
        remove("sweeps/LIDAR_TOP/sweep1.pcd.bin"),
        r"sweeps/LIDAR_TOP: 1 of 3 files are missing, such as sweep1.pcd.bin",
    ),
    "table missing": Fault(
        "surroundocc",
        remove("v1.0-mini/ego_pose.json"),
        "ego_pose.json is missing. nuScenes v1.0 keeps its tables in the download 'Metadata'",
    ),
    "table truncated": Fault(
        "surroundocc",
        lambda root: cut(root / "v1.0-mini" / "sample.json"),
        "sample.json is not valid JSON .*; extract it again",
    ),
    "no keyframe": Fault(
        "surroundocc", no_records, "sample_data.json has no records; take all tables"
    ),
    "category without index": Fault(
        "surroundocc",
        lambda root: drop(root, "category", "index"),
        "category.json has no 'index' for 4 categories, .*; take category.json from the nuSce",
    ),
    "foreign category": Fault(
        "surroundocc",
        lambda root: edit(root, "category", "category1", name="Pkw"),
        r"category.json has the categories \['Pkw'\], which nuScenes does not define",
    ),
    "stamp as text": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "key3 CAM_BACK", timestamp="500000"),
        "sample_data.json: timestamp of 'key3 CAM_BACK' must be microseconds",
    ),
    "stamp in seconds": Fault(
        "surroundocc",
        lambda root: edit(root, "sample", "key3", timestamp=1_700_000_000.25),
        "sample.json: timestamp of 'key3' must be microseconds .*1700000000.25",
    ),
    "one stamp twice": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "sweep1 LIDAR_TOP", timestamp=0),
        "'sweep1 LIDAR_TOP' and 'key0 LIDAR_TOP' are of one sensor and have one timestamp, 0",
    ),
    "width as text": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "key0 CAM_BACK", width="64"),
        "sample_data.json: width of 'key0 CAM_BACK' must be a whole number",
    ),
    "pose not finite": Fault(
        "surroundocc",
        lambda root: edit(root, "ego_pose", "key0 LIDAR_TOP", translation=[float("nan"), 0, 0]),
        "ego_pose.json: the pose of 'key0 LIDAR_TOP' is unusable: expected 3 finite numbers",
    ),
    "no focal length": Fault(
        "surroundocc",
        lambda root: edit(
            root, "calibrated_sensor", "calibrated CAM_BACK", camera_intrinsic=[[0] * 3] * 3
        ),
        "calibrated_sensor.json: camera_intrinsic of 'calibrated CAM_BACK' must be 3x3",
    ),
    "flat box": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_annotation", "rack", size=[1, 2, 0]),
        "sample_annotation.json: size of 'rack' must be three positive numbers of metres",
    ),
    "dangling token": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "key0 CAM_BACK", ego_pose_token="lost"),
        "sample_data.json: ego_pose_token of 1 of 17 records, such as 'key0 CAM_BACK', is a token "
        "that .*ego_pose.json lacks, such as 'lost'; take all tables from one download",
    ),
    "token twice": Fault(
        "surroundocc",
        lambda root: edit(root, "instance", "rack", token="car"),
        "instance.json has 1 tokens more than once, such as 'car'",
    ),
    "other LiDAR name": Fault(
        "surroundocc",
        lambda root: edit(root, "sensor", "LIDAR_TOP", channel="LIDAR_CONCAT"),
        r"sensor.json has no channel LIDAR_TOP; it has .*LIDAR_CONCAT.*Give the LiDAR this name",
    ),
    "four columns": Fault("surroundocc", four_columns, "it looks like 4 float32 per point: write"),
    "sweep truncated": Fault(
        "surroundocc",
        lambda root: cut(root / "samples" / "LIDAR_TOP" / "key3.pcd.bin", -3),
        "key3.pcd.bin holds 77 bytes, expected a positive multiple of 20",
    ),
    "sweep between keyframes truncated": Fault(
        "surroundocc",
        lambda root: cut(root / "sweeps" / "LIDAR_TOP" / "sweep1.pcd.bin", -3),
        "sweep1.pcd.bin holds 77 bytes, expected a positive multiple of 20",
    ),
    "last sweep of four columns": Fault(
        "surroundocc",
        lambda root: four_columns(root, "sweeps/LIDAR_TOP/sweep4.pcd.bin"),
        "sweep4.pcd.bin: the fifth float32 .*it looks like 4 float32 per point: write",
        {"open": 0},
    ),
    "empty image": Fault(
        "surroundocc",
        lambda root: cut(root / "samples" / "CAM_FRONT" / "key0.jpg", 0),
        "CAM_FRONT/key0.jpg: not a JPEG: 0 bytes .*; extract the file again",
    ),
    "header of an image": Fault(
        "surroundocc",
        header_alone,
        "CAM_FRONT/key0.jpg: the PNG of 8 bytes is truncated or damaged in its header; extract",
    ),
    "image truncated": Fault(
        "surroundocc",
        lambda root: cut(root / "samples" / "CAM_FRONT" / "key0.jpg"),
        r"CAM_FRONT/key0.jpg: the JPEG of \d+ bytes is truncated .*; extract the file again",
    ),
    "image cropped": Fault(
        "surroundocc",
        cropped,
        "CAM_BACK/key3.jpg has 64x18 pixels, but sample_data.json says 64x36; the intrinsics",
    ),
    "lidarseg short": Fault(
        "surroundocc",
        lambda root: cut(root / "key0.bin", 3),
        "key0.bin labels 3 points, but key0.pcd.bin has 4; extract both again",
    ),
    "columns reversed": Fault(
        "surroundocc", reverse_columns, "its columns lie in the reverse order"
    ),
    "other release": Fault(
        "surroundocc",
        other_release,
        "nuscenes_occ: none of its labels belong to a keyframe .*different releases",
    ),
    "half the labels": Fault(
        "surroundocc",
        remove("nuscenes_occ/samples/key3.pcd.bin.npy"),
        "surroundocc: 1 of 2 keyframes have no labels, such as .*key3.pcd.bin.npy; extract Surr",
    ),
    "unknown class": Fault(
        "surroundocc", unknown_class, r"has the labels \[17\], expected 0 to 16"
    ),
    "labels truncated": Fault(
        "surroundocc",
        lambda root: cut(labels_file(root)),
        "key0.pcd.bin.npy is not a .npy file .*; extract it again",
    ),
    "no camera mask": Fault("occ3d", without_mask, r"labels.npz lacks \['mask_camera'\]"),
    "archive truncated": Fault(
        "occ3d",
        lambda root: cut(occ3d_file(root)),
        "labels.npz is not a .npz file .*; extract it again",
    ),
    "ids of SurroundOcc": Fault(
        "occ3d",
        surroundocc_ids,
        "labels.npz: no voxel of semantics is 17, free, and most are 0, .* SurroundOcc's: write 17",
    ),
    "other grid": Fault("occ3d", half_grid, r"semantics of shape \[200, 200, 16\], got .*100"),
    "no label column": Fault(
        "openoccupancy",
        three_columns,
        r"must hold rows \(iz, iy, ix, label\), \[N, 4\].* got \[2, 3\]",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_cure(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_named(FAULTS[name], tmp_path / "data")
