"""What a folder is, by what lies in it, and where the right one is if it is the wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from training.checking.report import FolderReport

Kind = Literal["nuscenes", "semantic_kitti", "kitti360"]
_LABEL_FOLDERS = ("nuscenes_occ", "gts", "nuScenes-Occupancy")
_ARCHIVES = ("*.tgz", "*.tar", "*.tar.gz", "*.zip")
_SQUASHED = ("split_parts_*", "*.sqfs", "*.sqfs.*")


def kind_of(root: Path) -> Kind | None:
    """The layout of a folder; None if it has none of those known."""
    if (root / "sequences").is_dir():
        return "semantic_kitti"
    if (root / "data_2d_raw").is_dir() or (root / "preprocess").is_dir():
        return "kitti360"
    if any(path.is_dir() for path in root.glob("v1.0-*")):
        return "nuscenes"
    return None


def explain_unknown(root: Path, report: FolderReport) -> None:
    """Adds one fault that says why a folder is none of those known, and what to give instead."""
    report.fault("root", f"{root} {_reason(root)}")


def _reason(root: Path) -> str:
    if not root.exists():
        return "does not exist; give the folder of a data set"
    if not root.is_dir():
        return "is a file; give the folder of a data set"
    near = [root.absolute().parent, root.absolute().parent.parent]
    below = sorted(path for path in root.iterdir() if path.is_dir())
    if (root / "scene.json").is_file():
        return f"is the folder of tables; give the data root that holds it, {near[0]}"
    if (root / "image_00").is_dir() or (root / "cam0_to_world.txt").is_file():
        return (
            "is a single drive of KITTI-360; give the folder that holds 'data_2d_raw' and "
            f"'preprocess', {near[1]}"
        )
    if (root / "velodyne").is_dir() or (root / "voxels").is_dir():
        return f"is a single sequence of KITTI; give the folder that holds 'sequences', {near[1]}"
    roots = [str(folder) for folder in (*below, *near) if kind_of(folder) is not None]
    if roots:
        return f"is not the root of a data set. Did you mean {' or '.join(roots[:3])}?"
    if squashed := _names(root, _SQUASHED):
        return (
            f"holds {squashed}, still packed; join the parts of SSCBench with 'cat split_parts_* > "
            "combined.sqfs', unpack them with 'unsquashfs combined.sqfs', and give the folder that "
            "holds data_2d_raw/ and preprocess/"
        )
    if archives := _names(root, _ARCHIVES):
        return f"holds {archives}, still packed; extract them into this folder"
    labels = [name for name in _LABEL_FOLDERS if root.name == name or (root / name).is_dir()]
    if labels:
        return (
            f"holds labels ({labels[0]}) without the data they belong to; put nuScenes' tables "
            "(v1.0-*) and samples/ beside them and give that folder"
        )
    if pickles := _names(root, ("*.pkl",)):
        return (
            f"holds {pickles} alone; such info files are not read, nor needed: give the folder of "
            "the data set itself"
        )
    if not any(root.iterdir()):
        return "is empty; extract a data set into it"
    return (
        "holds neither v1.0-*/ (nuScenes), nor sequences/ (SemanticKITTI), nor data_2d_raw/ "
        "(SSCBench-KITTI-360); give the folder that holds one of them"
    )


def _names(root: Path, patterns: tuple[str, ...]) -> str:
    """The first few files of such names; empty without any."""
    found = sorted({path.name for pattern in patterns for path in root.glob(pattern)})
    return ", ".join(found[:3])
