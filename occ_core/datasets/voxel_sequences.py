"""``VoxelSequences``: what the readers of KITTI's sequences share, for scoring and for training."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from occ_core.datasets.keyframe_labels import VoxelTruth
from occ_core.datasets.samples import Damaged, OccupancySample, SweepOrigin
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid


class VoxelSequences(ABC, Dataset[tuple[Frame, UInt8[Tensor, "x y z"] | None]]):
    """The labelled frames of a folder of sequences, in the order of sequences and of time.

    They are ``OccupancyData`` at the benchmark's resolution and ``LabelledFrames`` on ``grid``.

    Args:
        root: the folder of the data set.
        image_size: ``(height, width)`` of the model's images; None: only labels are read.
        grid: the benchmark's grid, or a coarser one over the same range; None: the benchmark's.
        damaged: what a damaged file of labels does: ``stop`` raises; with ``skip`` the frame has no
            labels, with a warning.

    Raises:
        ValueError: there are no labels for ``grid``.
    """

    benchmark: OccupancyBenchmark

    def __init__(
        self,
        root: Path | str,
        image_size: tuple[int, int] | None,
        grid: VoxelGrid | None,
        damaged: Damaged,
    ) -> None:
        self.root, self.image_size, self.damaged = Path(root), image_size, damaged
        self.grid = self.benchmark.grid if grid is None else grid
        self.coarsening = self.benchmark.coarsening(self.grid)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """Sequence and number of a frame, such as ``08/000005``."""

    @abstractmethod
    def drive(self, index: int) -> str:
        """The sequence of a frame."""

    @abstractmethod
    def frame(self, index: int) -> Frame:
        """The sensors of a frame; see ``LabelledFrames``."""

    @abstractmethod
    def sweeps(self, index: int) -> list[SweepOrigin]:
        """The scans that the points of a frame are from, the newest first."""

    @abstractmethod
    def label_path(self, index: int) -> Path:
        """The file of a frame's labels."""

    @abstractmethod
    def truth(self, index: int) -> VoxelTruth:
        """Labels and masks of a frame at the benchmark's resolution.

        Raises:
            FileNotFoundError, ValueError: a file is missing or malformed; the text names it.
        """

    def __getitem__(self, index: int) -> tuple[Frame, Tensor | None]:
        return self.frame(index), self.labels(index)

    def labels(self, index: int) -> UInt8[Tensor, "x y z"] | None:
        """Class ids on ``grid``; see ``LabelledFrames``."""
        try:
            labels = self.truth(index).labels
        except (FileNotFoundError, ValueError) as error:
            if self.damaged == "stop":
                raise
            warnings.warn(f"taken as without labels: {error}", stacklevel=2)
            return None
        return torch.from_numpy(
            coarsen_labels(labels, self.coarsening, self.benchmark.labels.empty)
        )

    def sample(self, index: int) -> OccupancySample:
        """One labelled frame; see ``OccupancyData``."""
        frame = None if self.image_size is None else self.frame(index)
        return OccupancySample(self.name(index), self.drive(index), frame, *self.truth(index))

    def drives(self) -> list[str]:
        """The sequences in order."""
        return list(dict.fromkeys(self.drive(index) for index in range(len(self))))


def check_sequences(root: Path, wanted: Iterable[str], present: Iterable[str]) -> None:
    """Refuses names of sequences of which no labelled frame is there.

    Raises:
        ValueError: a wanted sequence is not among those present.
    """
    found = set(present)
    missing = sorted(set(wanted) - found)
    if missing:
        raise ValueError(
            f"{root} has no labelled frames of the sequences {missing}; it has those of "
            f"{sorted(found)}"
        )
