"""SemanticKITTI's semantic scene completion: a grid of classes ahead of the Velodyne.

``sequences/NN/voxels/`` holds for every fifth scan ``NNNNNN.label`` (uint16 raw ids), and as packed
bits ``.invalid`` (voxels that no scan saw), ``.occluded`` and ``.bin`` (voxels that hold a point of
the scan). Index 0 is at the minimum corner; x forward, y left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from occ_core.datasets.keyframe_labels import VoxelTruth
from occ_core.datasets.kitti_sequence import KittiSequence
from occ_core.datasets.samples import Damaged, SweepOrigin
from occ_core.datasets.voxel_files import load_bits, load_values
from occ_core.datasets.voxel_sequences import VoxelSequences, check_sequences
from occ_core.labels.benchmarks import BENCHMARKS, KITTI_GRID
from occ_core.labels.raw_ids import SEMANTIC_KITTI_RAW, RawIds
from occ_core.taxonomy import IGNORE
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid

VOXELS = "take the download 'SemanticKITTI voxel data' (data_odometry_voxels.zip)"
"""Where the voxels come from, for the texts of errors."""
SPLITS = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "test": tuple(str(number) for number in range(11, 22)),
}
"""Sequences by split; the labels of test are hidden."""


class SemanticKittiOccupancy(VoxelSequences):
    """The labelled scans of a SemanticKITTI folder; see ``VoxelSequences``.

    The grid frame is the Velodyne's. A mask ``occluded`` comes with the labels where there is one.

    Args:
        root: the folder that holds ``sequences/``.
        image_size: ``(height, width)`` of the model's images; None reads labels alone.
        split: train, val or test; None takes every sequence that has labels. The labels of test are
            hidden: its samples are the scans that have a ``.bin``, and all their voxels are 255.
        history_s: earlier scans up to this age, in seconds, are joined to each scan.
        sequences: numbers of the sequences, such as ``08``; None takes all of the split.
        grid: see ``VoxelSequences``.
        damaged: likewise.

    Raises:
        FileNotFoundError: no labelled voxels lie there, or a table of a sequence is missing.
        ValueError: the split or a sequence is unknown, or a table is malformed.
    """

    benchmark = BENCHMARKS["semantic_kitti"]

    def __init__(
        self,
        root: Path | str,
        image_size: tuple[int, int] | None = None,
        split: str | None = None,
        history_s: float = 0.45,
        sequences: Sequence[str] | None = None,
        grid: VoxelGrid | None = None,
        damaged: Damaged = "stop",
    ) -> None:
        super().__init__(root, image_size, grid, damaged)
        self.history_s = history_s
        if split is not None and split not in SPLITS:
            raise ValueError(f"SemanticKITTI has no split {split!r}; it has {sorted(SPLITS)}")
        ending = "bin" if split == "test" else "label"
        paths = sorted(self.root.glob(f"sequences/*/voxels/*.{ending}"))
        if split is not None:
            paths = [path for path in paths if path.parents[1].name in SPLITS[split]]
        if not paths:
            where = "" if split is None else f" of the split {split!r}, {list(SPLITS[split])}"
            raise FileNotFoundError(
                f"{self.root} holds no sequences/NN/voxels/*.{ending}{where}; give the folder of "
                f"SemanticKITTI that holds 'sequences', and {VOXELS}"
            )
        if sequences is not None:
            check_sequences(self.root, sequences, (path.parents[1].name for path in paths))
            paths = [path for path in paths if path.parents[1].name in sequences]
        self.paths = paths
        self._sequences: dict[Path, KittiSequence] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Sequence and number of a scan, such as ``08/000005``."""
        return f"{self.drive(index)}/{self.paths[index].stem}"

    def drive(self, index: int) -> str:
        """The sequence of a scan."""
        return self.paths[index].parents[1].name

    def label_path(self, index: int) -> Path:
        """The ``.label`` file of a scan, or its ``.bin`` where the labels are hidden."""
        return self.paths[index]

    def frame(self, index: int) -> Frame:
        """The left camera and the scans up to this one, in the Velodyne's frame."""
        if self.image_size is None:
            raise ValueError(f"{self.name(index)} has no frame without an image size; give one")
        sequence, scan = self._scan(index)
        return sequence.frame(scan, self.image_size, self.history_s, np.eye(4))

    def sweeps(self, index: int) -> list[SweepOrigin]:
        """The scans that the points of a frame are from, the newest first."""
        sequence, scan = self._scan(index)
        return [
            SweepOrigin(sequence.stamps_ns[each], sequence.world_from_velodyne[each])
            for each in reversed(sequence.recent(scan, self.history_s))
        ]

    def truth(self, index: int) -> VoxelTruth:
        """Labels, and a mask ``occluded``; see ``VoxelSequences``."""
        path = self.paths[index]
        if path.suffix == ".bin":
            return VoxelTruth(np.full(KITTI_GRID.shape, IGNORE, dtype=np.uint8), {})
        return read_kitti_voxels(path)

    def _scan(self, index: int) -> tuple[KittiSequence, int]:
        """The sequence of a labelled scan, and the index of the scan in it."""
        path = self.paths[index]
        folder = path.parents[1]
        if folder not in self._sequences:
            self._sequences[folder] = KittiSequence.read(folder)
        sequence = self._sequences[folder]
        if path.stem not in sequence.names:
            raise FileNotFoundError(
                f"{folder / 'velodyne' / path.stem}.bin is missing, whose voxels are {path}"
            )
        return sequence, sequence.names.index(path.stem)


def read_kitti_voxels(path: Path) -> VoxelTruth:
    """Labels and masks of one scan.

    Args:
        path: the ``.label`` file; ``.invalid`` lies beside it, and perhaps ``.occluded``.

    Raises:
        FileNotFoundError: one of the two is missing.
        ValueError: a file has another size, or the labels hold an unknown raw id.
    """
    shape = KITTI_GRID.shape
    labels = raw_labels(path, SEMANTIC_KITTI_RAW)
    # Faster than a boolean index where the voxels are scattered.
    np.putmask(labels, load_bits(path.with_suffix(".invalid"), shape, VOXELS), IGNORE)
    occluded = path.with_suffix(".occluded")
    masks = {"occluded": load_bits(occluded, shape, VOXELS)} if occluded.is_file() else {}
    return VoxelTruth(labels, masks)


def raw_labels(path: Path, raw_ids: RawIds) -> np.ndarray:
    """Class ids of a ``.label`` file, uint8 ``[X, Y, Z]``, without regard to the invalid voxels.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it has another size, or holds an unknown raw id.
    """
    raw = load_values(path, np.uint16, np.prod(KITTI_GRID.shape).item(), VOXELS)
    try:
        return raw_ids.to_ids(raw).reshape(KITTI_GRID.shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
