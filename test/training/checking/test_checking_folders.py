"""Folders that are not the root of a data set: what they are, and where the root is."""

import shutil
from pathlib import Path

import pytest
from faulty_folders import Break, Fault, assert_named, remove
from official_layouts import DRIVE


def emptied(name: str) -> Break:
    """A folder that holds nothing but a file of this name."""

    def break_it(root: Path) -> None:
        shutil.rmtree(root)
        root.mkdir()
        (root / name).write_bytes(b"packed")

    return break_it


FAULTS = {
    "no such folder": Fault("kitti_360", lambda root: root / "none", "does not exist"),
    "a file": Fault(
        "surroundocc",
        lambda root: root / "nuscenes_occ/samples/key0.pcd.bin.npy",
        "is a file; give the folder",
    ),
    "tables as root": Fault(
        "surroundocc",
        lambda root: root / "v1.0-mini",
        "is the folder of tables; give the data root that holds it, .*/data",
    ),
    "samples as root": Fault(
        "surroundocc",
        lambda root: root / "samples",
        "is not the root of a data set. Did you mean .*/data\\?",
    ),
    "folder above": Fault("semantic_kitti", lambda root: root.parent, "Did you mean .*/data\\?"),
    "one sequence": Fault(
        "semantic_kitti",
        lambda root: root / "sequences" / "08",
        "is a single sequence of KITTI; give the folder that holds 'sequences', .*/data",
    ),
    "one drive": Fault(
        "kitti_360",
        lambda root: root / "data_2d_raw" / DRIVE,
        "is a single drive of KITTI-360; give the folder that holds 'data_2d_raw' and .*/data$",
    ),
    "drives as root": Fault(
        "kitti_360", lambda root: root / "data_2d_raw", "Did you mean .*/data\\?"
    ),
    "archives": Fault("surroundocc", emptied("v1.0-mini.tgz"), "v1.0-mini.tgz, still packed; extr"),
    "parts": Fault("kitti_360", emptied("split_parts_aa"), "join the parts .*unsquashfs"),
    "pickles": Fault("surroundocc", emptied("nuscenes_infos_val.pkl"), "such info files are not"),
    "nothing known": Fault("kitti_360", emptied("notes.txt"), r"holds neither v1.0-\*/ \(nuScenes"),
    "labels alone": Fault(
        "occ3d",
        remove("v1.0-mini"),
        r"holds labels \(gts\) without the data they belong to; put nuScenes' tables",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_root_is_explained(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_named(FAULTS[name], tmp_path / "data")
