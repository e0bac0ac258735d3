"""Writes labels as the benchmarks' own files hold them. Their readers are not used here, nor any
table of theirs: what comes back is compared with what was handed in.
"""

from pathlib import Path

import cv2
import numpy as np

KITTI_SHAPE = (256, 256, 32)
# Raw id of each class in the order of its id, as learning_map_inv of each benchmark has it.
SEMANTIC_KITTI_RAW = [0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
KITTI_360_RAW = [0, 10, 11, 15, 18, 20, 30, 40, 44, 48, 49, 50, 51, 70, 72, 80, 81, 52, 99]
RAW_IGNORED = 1  # "outlier", in both
P2 = "100 0 32 -50 0 100 16 0 0 0 1 0"  # K = (100, 100, 32, 16); K^-1 t = (-0.5, 0, 0)
TR = "0 -1 0 0 0 0 -1 0 1 0 0 0"  # camera x = -velodyne y, y = -z, z = x
DRIVE = "2013_05_28_drive_0006_sync"  # KITTI-360's validation


def random_labels(
    shape: tuple[int, int, int], classes: int, empty: int = 0, ignored: bool = True, seed: int = 0
) -> np.ndarray:
    """uint8 ``[X, Y, Z]``: 2000 voxels of random classes, every class and every corner among them;
    a tenth of them is 255 where ``ignored``.
    """
    rng = np.random.default_rng(seed)
    labels = np.full(shape, empty, dtype=np.uint8)
    cells = rng.choice(labels.size, 2000, replace=False)
    cells[:2] = 0, labels.size - 1
    occupied = [label for label in range(classes) if label != empty]
    labels.ravel()[cells] = np.resize(occupied, len(cells))
    if ignored:
        labels.ravel()[cells[100:300]] = 255
    return labels


def write_surroundocc(path: Path, labels: np.ndarray) -> None:
    """Rows (ix, iy, iz, label), 0 for what is ignored."""
    _save_rows(path, labels, order=(0, 1, 2))


def write_openoccupancy(path: Path, labels: np.ndarray) -> None:
    """Rows (iz, iy, ix, label), 0 for what is ignored."""
    _save_rows(path, labels, order=(2, 1, 0))


def write_occ3d(path: Path, labels: np.ndarray, lidar: np.ndarray, camera: np.ndarray) -> None:
    """The archive of three arrays, with the types of the released files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        semantics=labels,
        mask_lidar=lidar.astype(np.uint8),
        mask_camera=camera.astype(np.uint8),
    )


def write_kitti_scan(root: Path, number: int, points: np.ndarray, sequence: str = "08") -> Path:
    """A scan float32 ``[N, 4]`` with its image; calibration, poses and times of all scans until it,
    each 0.1 s and 2 m after the one before. Returns the sequence's folder.
    """
    folder = root / "sequences" / sequence
    for name in ("velodyne", "image_2", "voxels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    points.astype(np.float32).tofile(folder / "velodyne" / f"{number:06d}.bin")
    write_red_png(folder / "image_2" / f"{number:06d}.png", (32, 64))
    (folder / "calib.txt").write_text(f"P0: {P2}\nP2: {P2}\nTr: {TR}\n")
    poses = (f"1 0 0 0 0 1 0 0 0 0 1 {2 * scan}\n" for scan in range(number + 1))
    (folder / "poses.txt").write_text("".join(poses))
    (folder / "times.txt").write_text("".join(f"{0.1 * scan}\n" for scan in range(number + 1)))
    return folder


def write_kitti_voxels(
    folder: Path, number: int, labels: np.ndarray, occluded: np.ndarray, points: np.ndarray
) -> None:
    """A scan's four files. What is ignored is invalid, or, every other voxel, an outlier."""
    stem = folder / "voxels" / f"{number:06d}"
    outlier, invalid = _ignored_in_two_ways(labels)
    raw = np.array([*SEMANTIC_KITTI_RAW, *[0] * 236], dtype=np.uint16)[labels]
    raw[outlier] = RAW_IGNORED
    raw.tofile(f"{stem}.label")
    for ending, bits in (("invalid", invalid), ("occluded", occluded), ("bin", kitti_hits(points))):
        np.packbits(bits).tofile(f"{stem}.{ending}")


def kitti_hits(points: np.ndarray, lower_m: float = -2.0) -> np.ndarray:
    """Bool ``[256, 256, 32]``: the voxels of 0.2 m that hold a point."""
    index = np.floor((points[:, :3] - [0.0, -25.6, lower_m]) / 0.2).astype(int)
    inside = ((index >= 0) & (index < KITTI_SHAPE)).all(axis=1)
    hits = np.zeros(KITTI_SHAPE, dtype=bool)
    hits[tuple(index[inside].T)] = True
    return hits


def write_kitti_360(
    root: Path, number: int, labels: np.ndarray, prepared: bool = True, drive: str = DRIVE
) -> Path:
    """A frame with everything that SSCBench has of it, and with ``prepared`` the labels made from
    it. Returns the sequence's folder.
    """
    folder = root / "data_2d_raw" / drive
    stem = folder / "voxels" / f"{number:06d}"
    for name in ("image_00/data_rect", "voxels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_red_png(folder / "image_00" / "data_rect" / f"{number:06d}.png", (376, 1408))
    outlier, invalid = _ignored_in_two_ways(labels)
    raw = np.array([*KITTI_360_RAW, *[0] * 237], dtype=np.uint16)[labels]
    raw[outlier] = RAW_IGNORED
    raw.tofile(f"{stem}.label")
    (invalid | (labels == 1)).astype(np.uint8).tofile(f"{stem}.invalid")  # cars stay cars
    (raw > 0).astype(np.uint8).tofile(f"{stem}.bin")
    pose = np.eye(4)
    pose[2, 3] = number
    rows = [" ".join(f"{value:g}" for value in (number, *pose.ravel()))]
    path = folder / "cam0_to_world.txt"
    before = path.read_text().splitlines() if path.is_file() else []
    path.write_text("\n".join([*before, *rows]) + "\n")
    if prepared:
        target = root / "preprocess" / "labels" / drive / f"{number:06d}_1_1.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, labels.astype(np.float32))
    return folder


def write_red_png(path: Path, size: tuple[int, int]) -> None:
    """An image of (200, 0, 0); OpenCV's order is blue, green, red."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, :, 2] = 200
    cv2.imwrite(str(path), picture)


def _save_rows(path: Path, labels: np.ndarray, order: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    index = np.argwhere(labels != 0)
    ids = labels[labels != 0].astype(np.int64)
    ids[ids == 255] = 0
    np.save(path, np.concatenate([index[:, order], ids[:, None]], axis=1))


def _ignored_in_two_ways(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ignored voxels in turn as outliers and as invalid: two masks ``[X, Y, Z]``."""
    ignored = np.flatnonzero(labels == 255)
    outlier, invalid = (np.zeros(labels.shape, dtype=bool) for _ in range(2))
    outlier.ravel()[ignored[::2]] = True
    invalid.ravel()[ignored[1::2]] = True
    return outlier, invalid
