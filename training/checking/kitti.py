"""Checks of SemanticKITTI and of KITTI-360 in SSCBench."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from occ_core.datasets.kitti_360 import (
    check_image_size,
    labelled_frames,
    read_flags,
    read_kitti_360,
)
from occ_core.datasets.kitti_360_poses import DOWNLOAD, Kitti360Poses
from occ_core.datasets.kitti_sequence import KittiSequence, read_png
from occ_core.datasets.semantic_kitti_voxels import SPLITS, VOXELS, read_kitti_voxels
from occ_core.datasets.voxel_files import load_bits
from occ_core.labels.benchmarks import KITTI_GRID
from occ_core.voxel_grid import VoxelGrid
from training.checking.report import FolderReport, evenly

_LOWER = VoxelGrid((0.0, -25.6, -2.2, 51.2, 25.6, 4.2), 0.2)
"""The grid of the files made before August 2020, read as if it were today's."""
_MIN_OVERLAP = 0.9
"""IoU of a scan's voxels and its file; rounding on the borders of voxels costs less than 0.01."""
_HISTORY_S = 0.45
"""Earlier scans up to this age, in seconds, are joined to a labelled one."""


def check_semantic_kitti(root: Path, report: FolderReport, opened: int) -> None:
    """Adds what a SemanticKITTI folder holds and what is wrong with it.

    Args:
        root: the folder that holds ``sequences/``.
        report: takes the findings.
        opened: how many labelled scans are opened with those before them, evenly spread; 0 opens
            all scans.
    """
    report.title = "SemanticKITTI"
    folders = sorted(path for path in (root / "sequences").iterdir() if path.is_dir())
    sequences: list[KittiSequence] = []
    labelled: list[Path] = []
    for folder in folders:
        paths = _voxel_files(folder, report)
        labelled += paths
        with report.collecting("sequence"):
            sequence = KittiSequence.read(folder)
            sequences.append(sequence)
            _check_images(folder / "image_2", sequence.names, report)
            _check_matches(sequence.names, paths, report)
    scans = [(sequence, scan) for sequence in sequences for scan in range(len(sequence.names))]
    report.contents.append(
        f"sequences: {len(folders)}, scans: {len(scans)}, with voxels: {len(labelled)}"
    )
    if not labelled:
        report.fault("voxels", f"{root}/sequences holds no NN/voxels/*.label; {VOXELS}")
    chosen = [labelled[index] for index in evenly(len(labelled), opened)]
    if len(chosen) < len(labelled):
        scans = _scans_of(chosen, sequences)
    elif not labelled:
        scans = [scans[index] for index in evenly(len(scans), opened)]
    report.contents.append(
        f"scans whose voxels were opened: {len(chosen)}, scans and images: {len(scans)}"
    )
    for path in tqdm(chosen, desc="voxels", unit="scan", leave=False):
        with report.collecting("voxels"):
            if path.suffix == ".label":
                read_kitti_voxels(path)
            else:
                load_bits(path, KITTI_GRID.shape, VOXELS)
    for sequence, scan in tqdm(scans, desc="scans", unit="scan", leave=False):
        _open_scan(sequence, scan, report)


def _voxel_files(folder: Path, report: FolderReport) -> list[Path]:
    """The labels of a sequence; where they are hidden, the voxels of its scans."""
    labels = sorted((folder / "voxels").glob("*.label"))
    bits = sorted((folder / "voxels").glob("*.bin"))
    if folder.name in SPLITS["test"] and not labels:
        return bits
    without = [path for path in bits if not path.with_suffix(".label").is_file()]
    if without:
        report.fault(
            "voxels",
            f"{folder / 'voxels'}: {len(without)} of {len(bits)} scans have no labels, such as "
            f"{without[0].stem}.label; {VOXELS}",
        )
    return labels


def _check_matches(names: tuple[str, ...], paths: list[Path], report: FolderReport) -> None:
    without = [path for path in paths if path.stem not in names]
    if without:
        report.fault(
            "unmatched",
            f"{without[0].parent}: {len(without)} of {len(paths)} labels have no scan in "
            f"velodyne/, such as {without[0].name}; take both of the same sequence",
        )


def _scans_of(
    labelled: list[Path], sequences: list[KittiSequence]
) -> list[tuple[KittiSequence, int]]:
    """The scans that are joined in labelled ones, each once."""
    sequence_of = {sequence.folder: sequence for sequence in sequences}
    joined: dict[tuple[Path, int], tuple[KittiSequence, int]] = {}
    for path in labelled:
        sequence = sequence_of.get(path.parents[1])
        if sequence is not None and path.stem in sequence.names:
            for scan in sequence.recent(sequence.names.index(path.stem), _HISTORY_S):
                joined[sequence.folder, scan] = sequence, scan
    return list(joined.values())


def _open_scan(sequence: KittiSequence, scan: int, report: FolderReport) -> None:
    """Reads a scan and its image, and compares it with its voxels where there are any."""
    name = sequence.names[scan]
    with report.collecting("scan"):
        points = sequence.read_scan(scan)
        bits = sequence.folder / "voxels" / f"{name}.bin"
        if bits.is_file():
            _check_height(bits, points, report)
    image = sequence.folder / "image_2" / f"{name}.png"
    if image.is_file():  # missing images are counted elsewhere
        with report.collecting("image"):
            read_png(image)


def _check_height(path: Path, points: np.ndarray, report: FolderReport) -> None:
    """Whether the voxels of a scan lie where its points do, rather than one layer higher."""
    bits = load_bits(path, KITTI_GRID.shape, VOXELS)
    if _overlap(points, KITTI_GRID, bits) >= _MIN_OVERLAP:
        return
    if _overlap(points, _LOWER, bits) >= _MIN_OVERLAP:
        report.fault(
            "height",
            f"{path}: its voxels lie one layer (0.2 m) higher than the points of its scan, as in "
            f"the files made before August 2020; {VOXELS} again, version 1.1",
        )
    else:
        report.fault(
            "height",
            f"{path}: its voxels are not those of the points of its scan; take voxels and "
            "velodyne/ of the same sequence and number",
        )


def _overlap(points: np.ndarray, grid: VoxelGrid, bits: np.ndarray) -> float:
    """IoU of the voxels that hold a point and those of a file."""
    hits = np.zeros(grid.shape, dtype=bool)
    hits[tuple(grid.numpy_index(points[:, :3])[0].T)] = True
    return float((hits & bits).sum() / max((hits | bits).sum(), 1))


def _check_images(folder: Path, names: tuple[str, ...], report: FolderReport) -> None:
    present = {path.stem for path in folder.glob("*.png")}
    missing = sorted(set(names) - present)
    if missing:
        report.fault(
            "images",
            f"{folder}: {len(missing)} of {len(names)} images are missing, such as "
            f"{missing[0]}.png; take the download 'odometry data set (color)' of KITTI",
        )


def check_kitti_360(root: Path, report: FolderReport, opened: int) -> None:
    """Adds what an SSCBench-KITTI-360 folder holds and what is wrong with it.

    Args:
        root: the folder that holds ``data_2d_raw/`` and ``preprocess/``.
        report: takes the findings.
        opened: how many frames are opened, evenly spread; 0 opens all.
    """
    report.title = "KITTI-360 of SSCBench"
    frames = labelled_frames(root)
    sequences = sorted({sequence for sequence, _ in frames})
    report.contents.append(f"sequences: {len(sequences)}, labelled frames: {len(frames)}")
    if not frames:
        report.fault(
            "labels",
            f"{root} has neither preprocess/labels/*/*_1_1.npy nor data_2d_raw/*/voxels/*.label; "
            f"{DOWNLOAD}",
        )
    for sequence in sequences:
        folder = root / "data_2d_raw" / sequence
        names = [name for each, name in frames if each == sequence]
        with report.collecting("poses"):
            poses = Kitti360Poses(folder / "cam0_to_world.txt")
            for name in names:
                poses.at(int(name))
        for part, ending in (("image_00/data_rect", "png"), ("voxels", "bin")):
            missing = [name for name in names if not (folder / part / f"{name}.{ending}").is_file()]
            if missing:
                report.fault(
                    "files",
                    f"{folder / part}: {len(missing)} of {len(names)} labelled frames have no "
                    f"{ending} file, such as {missing[0]}.{ending}; {DOWNLOAD}",
                )
    chosen = [frames[index] for index in evenly(len(frames), opened)]
    report.contents.append(f"frames whose files were opened: {len(chosen)}")
    for sequence, name in tqdm(chosen, desc="voxels", unit="frame", leave=False):
        with report.collecting("voxels"):
            read_kitti_360(root, sequence, name)
        folder = root / "data_2d_raw" / sequence
        if (folder / "voxels" / f"{name}.bin").is_file():
            with report.collecting("scan"):
                read_flags(folder / "voxels" / f"{name}.bin")
        image = folder / "image_00" / "data_rect" / f"{name}.png"
        if image.is_file():
            with report.collecting("image"):
                read_png(image)
                check_image_size(image)
