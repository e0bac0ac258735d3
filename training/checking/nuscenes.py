"""Checks of a folder in nuScenes' layout: sensor files, and the labels of the benchmarks on it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from occ_core.datasets.keyframe_labels import (
    KEYFRAME_BENCHMARKS,
    KeyframeBenchmark,
    keyframe_label_path,
    read_keyframe_truth,
)
from occ_core.datasets.nuscenes import Keyframe, NuScenes
from occ_core.datasets.nuscenes_tables import version_folder
from occ_core.datasets.recordings import CameraImage, LidarSweep
from occ_core.datasets.splits import split_scenes
from occ_core.geometry.images import jpeg_size
from occ_core.geometry.png import is_png, png_size
from training.checking.report import FolderReport, evenly
from training.checking.tables import check_tables

_MAX_STRETCH = 0.02
"""How much the sides of an image may deviate from the table's proportions."""
_SOURCES: dict[KeyframeBenchmark, str] = {
    "surroundocc": "SurroundOcc's samples_train.zip and samples_val.zip as nuscenes_occ/samples/",
    "occ3d": "Occ3D-nuScenes' gts.tar.gz as gts/",
    "openoccupancy": "nuScenes-Occupancy-v0.1 as nuScenes-Occupancy/",
}


def check_nuscenes(
    root: Path,
    report: FolderReport,
    version: str | None,
    split: str | None,
    benchmark: KeyframeBenchmark | None,
    opened: int,
) -> None:
    """Adds what a nuScenes data root holds and what is wrong with it.

    Args:
        root: the data root.
        report: takes the findings.
        version: folder of tables; None takes the only one.
        split: the split that must be there, and alone is checked; None: all scenes.
        benchmark: whose labels must be there; None: any labels are checked, none are required.
        opened: how many keyframes' files are opened, evenly spread; 0 opens all.
    """
    with report.collecting("version"):
        folder = version_folder(root, version)
        report.title = f"nuScenes, tables {folder.name}"
        if not check_tables(folder, report):
            return
        nuscenes = NuScenes(root, version)
        scenes = _scenes_of_split(nuscenes, version, split, report)
        keyframes = nuscenes.keyframes(scenes)
        report.contents.append(f"scenes: {len(scenes)}, keyframes: {len(keyframes)}")
        if not keyframes:
            report.fault(
                "empty",
                f"{folder / 'sample_data.json'} has no keyframe of LIDAR_TOP; is_key_frame must be "
                "true for one record a sample",
            )
            return
        recorded = [sweep for scene in scenes for sweep in nuscenes.lidar_sweeps(scene)]
        _check_files(keyframes, recorded, report)
        chosen = [keyframes[index] for index in evenly(len(keyframes), opened)]
        sweeps = recorded if len(chosen) == len(keyframes) else _sweeps_of(chosen)
        report.contents.append(
            f"keyframes whose files were opened: {len(chosen)}, LiDAR sweeps: {len(sweeps)}"
        )
        for sweep in tqdm(sweeps, desc="LiDAR", unit="sweep", leave=False):
            if sweep.path.is_file():  # missing files are counted elsewhere
                with report.collecting("sweep"):
                    sweep.read()
        for keyframe in tqdm(chosen, desc="sensors", unit="keyframe", leave=False):
            _open_sensors(keyframe, (folder / "lidarseg.json").is_file(), report)
        _check_labels(root, keyframes, chosen, benchmark, report)


def _scenes_of_split(
    nuscenes: NuScenes, version: str | None, split: str | None, report: FolderReport
) -> list[str]:
    """Names of the scenes to check: all of them where the split is missing, which is a fault."""
    mini = nuscenes.folder.name == "v1.0-mini"
    if mini:
        report.contents.append("mini: its splits are mini_train and mini_val, and no others")
    present = [scene["name"] for scene in nuscenes.scenes]
    if split is None:
        return present
    try:
        return split_scenes(nuscenes.root, version, split)
    except ValueError as error:
        official = (
            "this is nuScenes mini: use mini_train or mini_val, or download v1.0-trainval"
            if mini
            else "download the release that holds the split"
        )
        custom = (nuscenes.folder / "splits.json").is_file()
        report.fault("split", str(error) if custom else f"{error}; {official}")
        return present


def _sweeps_of(keyframes: list[Keyframe]) -> list[LidarSweep]:
    """The sweeps that are joined in keyframes, each once."""
    joined = (sweep for each in keyframes for sweep in (*reversed(each.sweeps), each.lidar))
    return list({sweep.path: sweep for sweep in joined}.values())


def _check_files(keyframes: list[Keyframe], sweeps: list[LidarSweep], report: FolderReport) -> None:
    """Counts the files that are missing, by folder: whole archives are forgotten more often."""
    paths: dict[Path, set[str]] = defaultdict(set)
    images = [camera for keyframe in keyframes for camera in keyframe.cameras.values()]
    recordings: list[CameraImage | LidarSweep] = [*images, *sweeps]
    for recording in recordings:
        paths[recording.path.parent].add(recording.path.name)
    for folder, names in sorted(paths.items()):
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        missing = sorted(names - present)
        if missing:
            report.fault(
                "files",
                f"{folder}: {len(missing)} of {len(names)} files are missing, such as "
                f"{missing[0]}; extract the sensor archives of this release (v1.0-*_blobs.tgz) "
                "into the data root",
            )
    most = max(len(keyframe.cameras) for keyframe in keyframes)
    lacking = [keyframe.sample_token for keyframe in keyframes if len(keyframe.cameras) < most]
    if lacking:
        report.contents.append(f"{len(lacking)} keyframes lack a camera, such as {lacking[0]}")


def _open_sensors(keyframe: Keyframe, has_lidarseg: bool, report: FolderReport) -> None:
    for camera in keyframe.cameras.values():
        if camera.path.is_file():  # missing files are counted elsewhere
            with report.collecting("image"):
                camera.read(min_width=32)  # names a damaged file
                _check_proportions(camera, report)
    if keyframe.lidar.path.is_file() and has_lidarseg:
        with report.collecting("lidarseg"):
            keyframe.read_lidarseg()


def _check_proportions(camera: CameraImage, report: FolderReport) -> None:
    """An image may be stored smaller than its table says, but not distorted or cropped."""
    data = camera.path.read_bytes()
    height, width = png_size(data) if is_png(data) else jpeg_size(data)
    stated_height, stated_width = camera.size
    if not stated_height or not stated_width:
        return
    if abs(height * stated_width / (width * stated_height) - 1) > _MAX_STRETCH:
        report.fault(
            "image size",
            f"{camera.path} has {width}x{height} pixels, but sample_data.json says "
            f"{stated_width}x{stated_height}; the intrinsics belong to the latter: store the "
            "image uncropped, or correct width, height and camera_intrinsic",
        )


def _check_labels(
    root: Path,
    keyframes: list[Keyframe],
    chosen: list[Keyframe],
    required: KeyframeBenchmark | None,
    report: FolderReport,
) -> None:
    """Which benchmarks' labels lie here, whether every keyframe has some, and what is in them."""
    found = []
    for name in KEYFRAME_BENCHMARKS:
        paths = {keyframe_label_path(name, root, keyframe): keyframe for keyframe in keyframes}
        missing = [path for path in paths if not path.is_file()]
        if name == required and missing or 0 < len(missing) < len(paths):
            report.fault(
                "labels",
                f"{name}: {len(missing)} of {len(paths)} keyframes have no labels, such as "
                f"{missing[0]}; extract {_SOURCES[name]}, of the same release as the tables",
            )
        elif len(missing) == len(paths) and (folder := _label_folder(missing[0], root)):
            report.fault(
                "labels",
                f"{folder}: none of its labels belong to a keyframe of the tables, which expect "
                f"{missing[0]}; tables and labels are of different releases (mini, trainval)",
            )
        if len(missing) < len(paths):
            found.append(f"{name} ({len(paths) - len(missing)} keyframes)")
        for keyframe in tqdm(chosen, desc=name, unit="keyframe", leave=False):
            if keyframe_label_path(name, root, keyframe).is_file():
                with report.collecting("labels"):
                    read_keyframe_truth(name, root, keyframe)
    report.contents.append(f"occupancy labels: {', '.join(found) or 'none'}")


def _label_folder(expected: Path, root: Path) -> Path | None:
    """The folder of a benchmark that would hold this file of labels, if it is there."""
    for folder in expected.parents:
        if folder in (root, root.absolute(), root.absolute().parent):
            return None
        if folder.name in ("nuscenes_occ", "gts", "nuScenes-Occupancy"):
            return folder if folder.is_dir() else None
    return None
