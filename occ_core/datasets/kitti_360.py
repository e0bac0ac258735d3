"""KITTI-360 in SSCBench: a grid of classes ahead of the Velodyne, with one camera.

``data_2d_raw/<sequence>/`` holds ``image_00/data_rect/NNNNNN.png``, ``cam0_to_world.txt`` and
``voxels/`` with, for every fifth frame, the voxelised scan (``.bin``), raw labels (``.label``,
uint16) and invalid voxels (``.invalid``, a byte each). ``preprocess/labels/<sequence>/
NNNNNN_1_1.npy`` holds the classes themselves (Li et al., "SSCBench", IROS 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from occ_core.datasets.keyframe_labels import VoxelTruth
from occ_core.datasets.kitti_360_poses import DOWNLOAD, Kitti360Poses
from occ_core.datasets.kitti_sequence import png_sample
from occ_core.datasets.samples import Damaged, SweepOrigin
from occ_core.datasets.semantic_kitti_voxels import raw_labels
from occ_core.datasets.sensors import frame_from_sensors
from occ_core.datasets.voxel_files import (
    check_ids,
    load_array,
    load_bits,
    load_values,
    whole_numbers,
)
from occ_core.datasets.voxel_sequences import VoxelSequences, check_sequences
from occ_core.geometry.png import PNG_HEADER_BYTES, png_size
from occ_core.geometry.poses import invert_pose
from occ_core.labels.benchmarks import BENCHMARKS, KITTI_GRID
from occ_core.labels.raw_ids import KITTI_360_RAW
from occ_core.taxonomy import IGNORE, DriveContext
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid

_DRIVES = {"train": (0, 2, 3, 4, 5, 7, 10), "val": (6,), "test": (9,)}
_PERIOD_NS = 100_000_000
"""The sensors record ten times a second; the frames are numbered in the order of time."""
INTRINSICS = np.array(
    [[552.554261, 0.0, 682.049453], [0.0, 552.554261, 238.769549], [0.0, 0.0, 1.0]]
)
"""Of the rectified left perspective camera, in pixels of an image of ``IMAGE_SIZE``."""
IMAGE_SIZE = (376, 1408)
"""``(height, width)``."""
VELODYNE_FROM_CAMERA = np.array(
    [
        [0.04307104361, -0.08829286498, 0.995162929, 0.8043914418],
        [-0.999004371, 0.007784614041, 0.04392796942, 0.2993489574],
        [-0.01162548558, -0.9960641394, -0.08786966659, -0.1770225824],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""KITTI-360's calibration of that camera."""


class Kitti360Occupancy(VoxelSequences):
    """The labelled frames of an SSCBench-KITTI-360 folder; see ``VoxelSequences``.

    The grid frame is the Velodyne's. The benchmark gives scans as voxels, so that the frame's
    points are the centres of the occupied ones, with intensity 0. For frames without a pose see
    ``Kitti360Poses``.

    Args:
        root: the folder that holds ``data_2d_raw/`` and ``preprocess/``.
        image_size: ``(height, width)`` of the model's images; None reads labels alone.
        split: train, val or test; None takes every sequence that has labels.
        sequences: names of the sequences' folders; None takes all of the split.
        grid: see ``VoxelSequences``.
        damaged: likewise.

    Raises:
        FileNotFoundError: no labels lie there.
        ValueError: the split or a sequence is unknown.
    """

    benchmark = BENCHMARKS["kitti360"]

    def __init__(
        self,
        root: Path | str,
        image_size: tuple[int, int] | None = None,
        split: str | None = None,
        sequences: Sequence[str] | None = None,
        grid: VoxelGrid | None = None,
        damaged: Damaged = "stop",
    ) -> None:
        super().__init__(root, image_size, grid, damaged)
        if split is not None and split not in _DRIVES:
            raise ValueError(f"KITTI-360 has no split {split!r}; it has {sorted(_DRIVES)}")
        chosen = None if split is None else set(map(sequence_name, _DRIVES[split]))
        self.frames = [
            frame for frame in labelled_frames(self.root) if chosen is None or frame[0] in chosen
        ]
        if not self.frames:
            where = "" if chosen is None else f" of the split {split!r}, {sorted(chosen)}"
            raise FileNotFoundError(
                f"{self.root} holds neither preprocess/labels/*/*_1_1.npy nor "
                f"data_2d_raw/*/voxels/*.label{where}; {DOWNLOAD}"
            )
        if sequences is not None:
            check_sequences(self.root, sequences, (sequence for sequence, _ in self.frames))
            self.frames = [frame for frame in self.frames if frame[0] in sequences]
        self._poses: dict[str, Kitti360Poses] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        """Sequence and number of a frame."""
        return "/".join(self.frames[index])

    def drive(self, index: int) -> str:
        """The sequence of a frame."""
        return self.frames[index][0]

    def label_path(self, index: int) -> Path:
        """The prepared labels of a frame where they are there, else its raw ones."""
        prepared, raw = label_paths(self.root, *self.frames[index])
        return prepared if prepared.is_file() else raw

    def truth(self, index: int) -> VoxelTruth:
        """Labels; see ``VoxelSequences``."""
        return read_kitti_360(self.root, *self.frames[index])

    def sweeps(self, index: int) -> list[SweepOrigin]:
        """The one scan of a frame."""
        sequence, name = self.frames[index]
        world_from_velodyne = self._world_from_velodyne(sequence, int(name))
        return [SweepOrigin(int(name) * _PERIOD_NS, world_from_velodyne)]

    def frame(self, index: int) -> Frame:
        """The left camera and the voxels of the scan, in the Velodyne's frame."""
        if self.image_size is None:
            raise ValueError(f"{self.name(index)} has no frame without an image size; give one")
        sequence, name = self.frames[index]
        folder = self.root / "data_2d_raw" / sequence
        image = folder / "image_00" / "data_rect" / f"{name}.png"
        check_image_size(image)
        occupied = read_flags(folder / "voxels" / f"{name}.bin")
        cell = np.unravel_index(np.flatnonzero(occupied), occupied.shape)
        points = np.zeros((len(cell[0]), 5), dtype=np.float32)
        for axis, (low, cells) in enumerate(zip(KITTI_GRID.min_m, KITTI_GRID.shape, strict=True)):
            centres = low + (np.arange(cells) + 0.5) * KITTI_GRID.voxel_size_m
            points[:, axis] = centres[cell[axis]]
        return frame_from_sensors(
            [png_sample(image, INTRINSICS, VELODYNE_FROM_CAMERA, self.image_size)],
            points,
            self._world_from_velodyne(sequence, int(name)),
            int(name) * _PERIOD_NS,
            DriveContext("clear", "unknown"),
            self.image_size,
        )

    def _world_from_velodyne(self, sequence: str, number: int) -> np.ndarray:
        if sequence not in self._poses:
            path = self.root / "data_2d_raw" / sequence / "cam0_to_world.txt"
            self._poses[sequence] = Kitti360Poses(path)
        return self._poses[sequence].at(number) @ invert_pose(VELODYNE_FROM_CAMERA)


def sequence_name(number: int) -> str:
    """The folder of a drive of KITTI-360."""
    return f"2013_05_28_drive_{number:04d}_sync"


def labelled_frames(root: Path) -> list[tuple[str, str]]:
    """``(sequence, name)`` of every frame that has labels in one of the two forms, in order.

    Raises:
        ValueError: a file is not named by the number of its frame.
    """
    prepared = root.glob("preprocess/labels/*/*_1_1.npy")
    raw = root.glob("data_2d_raw/*/voxels/*.label")
    found = {(path.parent.name, path.name.removesuffix("_1_1.npy")) for path in prepared}
    found |= {(path.parents[1].name, path.stem) for path in raw}
    strange = sorted("/".join(frame) for frame in found if not frame[1].isdecimal())
    if strange:
        raise ValueError(
            f"{root} has labels {strange[0]}, which are not named by the number of a frame, as in "
            "000005; take them away"
        )
    return sorted(found)


def label_paths(root: Path, sequence: str, name: str) -> tuple[Path, Path]:
    """The two files in which a frame's labels may lie: prepared, and raw."""
    prepared = root / "preprocess" / "labels" / sequence / f"{name}_1_1.npy"
    return prepared, root / "data_2d_raw" / sequence / "voxels" / f"{name}.label"


def read_kitti_360(root: Path, sequence: str, name: str) -> VoxelTruth:
    """Labels of one frame, from ``preprocess/`` where they lie there, else from the raw voxels.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file has another shape, or holds unknown ids.
    """
    prepared, path = label_paths(root, sequence, name)
    if prepared.is_file():
        values = load_array(prepared, DOWNLOAD)
        if values.shape != KITTI_GRID.shape:
            raise ValueError(
                f"{prepared} must hold an array of shape {list(KITTI_GRID.shape)}, got "
                f"{list(values.shape)}; it was made for another grid"
            )
        ids = whole_numbers(prepared, values, "labels", np.uint8)
        check_ids(prepared, ids, len(KITTI_360_RAW.labels.names), extra=(IGNORE,))
        return VoxelTruth(ids.astype(np.uint8, copy=False), {})
    labels = raw_labels(path, KITTI_360_RAW)
    # Invalid voxels that have a label keep it, as in SSCBench's own preparation.
    invalid = read_flags(path.with_suffix(".invalid"))
    np.putmask(labels, invalid & (labels == KITTI_360_RAW.labels.empty), IGNORE)
    return VoxelTruth(labels, {})


def check_image_size(path: Path) -> None:
    """Refuses an image of another size than that to which the intrinsics belong.

    A file that is missing or damaged is left to those who read its pixels.

    Raises:
        ValueError: the size is another.
    """
    try:
        with path.open("rb") as file:
            height, width = png_size(file.read(PNG_HEADER_BYTES))
    except (FileNotFoundError, ValueError):
        return
    if (height, width) != IMAGE_SIZE:
        raise ValueError(
            f"{path} has {width}x{height} pixels, expected 1408x376, to which the intrinsics "
            "belong; take data_rect, not data_rgb, at its full size"
        )


def read_flags(path: Path) -> np.ndarray:
    """Bool ``[X, Y, Z]`` of a file with a byte for every voxel, or with packed bits.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has another size, or its bytes are neither 0 nor 1.
    """
    shape = KITTI_GRID.shape
    cells = np.prod(shape).item()
    if path.is_file() and path.stat().st_size * 8 == cells:
        return load_bits(path, shape, DOWNLOAD)
    flags = load_values(path, np.uint8, cells, DOWNLOAD)
    if flags.max() > 1:
        raise ValueError(f"{path} must hold the bytes 0 and 1, got {flags.max()}")
    return flags.reshape(shape).view(bool)
