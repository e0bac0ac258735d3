"""Good folders of every data set, ways to break them, and the words that a check must find."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from official_layouts import (
    KITTI_SHAPE,
    random_labels,
    write_kitti_360,
    write_kitti_scan,
    write_kitti_voxels,
    write_occ3d,
    write_openoccupancy,
    write_surroundocc,
)
from tiny_nuscenes import write_tiny_nuscenes

from training.check_data import CheckConfig, check_data

Break = Callable[[Path], Path | None]


def surroundocc(root: Path) -> None:
    write_tiny_nuscenes(root)
    for name in ("key0", "key3"):
        path = root / "nuscenes_occ" / "samples" / f"{name}.pcd.bin.npy"
        write_surroundocc(path, random_labels((200, 200, 16), 17))


def occ3d(root: Path) -> None:
    write_tiny_nuscenes(root)
    seen = np.ones((200, 200, 16), dtype=bool)
    for name in ("key0", "key3"):
        labels = random_labels((200, 200, 16), 18, empty=17, ignored=False)
        write_occ3d(root / "gts" / "scene-0061" / name / "labels.npz", labels, seen, seen)


def openoccupancy(root: Path) -> None:
    write_tiny_nuscenes(root)
    for name in ("key0", "key3"):
        folder = root / "nuScenes-Occupancy" / "scene_scene" / "occupancy"
        labels = np.zeros((512, 512, 40), dtype=np.uint8)
        labels[0, 0, 0], labels[511, 511, 39] = 1, 16
        write_openoccupancy(folder / f"{name} LIDAR_TOP.npy", labels)


def semantic_kitti(root: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([1, -25, -1.9, 0], [50, 25, 4, 1], (500, 4)).astype(np.float32)
    for number in range(2):
        folder = write_kitti_scan(root, number, points)
    occluded = np.zeros(KITTI_SHAPE, dtype=bool)
    write_kitti_voxels(folder, 0, random_labels(KITTI_SHAPE, 20), occluded, points)


def kitti_360(root: Path) -> None:
    write_kitti_360(root, 0, random_labels(KITTI_SHAPE, 19))


FOLDERS = {
    each.__name__: each for each in (surroundocc, occ3d, openoccupancy, semantic_kitti, kitti_360)
}


@dataclass(frozen=True)
class Fault:
    """One fault that is made in a good folder."""

    folder: str
    """Name of the good folder."""
    break_it: Break
    """Breaks it; what it returns is checked in its place."""
    words: str
    """Pattern of what the check must say."""
    options: dict[str, Any] = field(default_factory=dict)


def assert_named(fault: Fault, root: Path) -> None:
    """The check of the broken folder says the words."""
    FOLDERS[fault.folder](root)
    report = check_data(CheckConfig(fault.break_it(root) or root, **fault.options))
    assert [text for text in report.faults if re.search(fault.words, text)], report.text()


def edit(root: Path, table: str, token: str, /, **fields: Any) -> None:
    """Replaces fields of one record."""
    path = root / "v1.0-mini" / f"{table}.json"
    records = json.loads(path.read_text())
    next(record for record in records if record["token"] == token).update(fields)
    path.write_text(json.dumps(records))


def drop(root: Path, table: str, field: str) -> None:
    """Takes a field away from all records."""
    path = root / "v1.0-mini" / f"{table}.json"
    records = json.loads(path.read_text())
    for record in records:
        del record[field]
    path.write_text(json.dumps(records))


def cut(path: Path, bytes_left: int = -20) -> None:
    """Takes the last bytes of a file away."""
    path.write_bytes(path.read_bytes()[:bytes_left])


def remove(name: str) -> Break:
    """Takes a file or a folder away."""

    def break_it(root: Path) -> None:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return break_it
