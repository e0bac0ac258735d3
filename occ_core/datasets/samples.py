"""Labelled instants of a data set: one after the other, what models are scored on, and drive by
drive, what they are trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid

Item = TypeVar("Item")
Damaged = Literal["stop", "skip"]
"""What a sample with a damaged file does: stop the run, or be left out and counted."""


class OccupancySample(NamedTuple):
    """One labelled instant."""

    name: str
    """What the benchmark calls it: the name of its prediction's file, without an ending."""
    drive: str
    """Samples of one drive follow one another in time."""
    frame: Frame | None
    """The sensors; None where only labels were asked for."""
    labels: np.ndarray
    """uint8 ``[X, Y, Z]``: ids of the benchmark's label set, 255 ignored."""
    masks: dict[str, np.ndarray]
    """By their name in the files, bool ``[X, Y, Z]``."""


@runtime_checkable
class OccupancyData(Protocol):
    """A folder of a benchmark's data."""

    @property
    def benchmark(self) -> OccupancyBenchmark:
        """What the labels mean and where they lie."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> OccupancySample:
        """One labelled instant, read from its files.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged; the text names it.
        """


class SweepOrigin(NamedTuple):
    """From where and when a LiDAR sweep was measured."""

    stamp_ns: int
    world_from_sensor: np.ndarray
    """float64 ``[4, 4]``."""


@runtime_checkable
class LabelledFrames(Protocol):
    """Frames of drives with the classes of their voxels, read one by one.

    The frames of a drive follow one another in the order of time, and no drive is interrupted by
    another. Every process may read frames on its own.
    """

    root: Path
    """Folder of the data set."""
    grid: VoxelGrid
    """The grid of the labels: the benchmark's, or a coarser one over the same range."""
    damaged: Damaged
    """What a damaged file of labels does: with ``skip`` the frame has no labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Frame, UInt8[Tensor, "x y z"] | None]:
        """``frame(index)`` and ``labels(index)``."""

    def name(self, index: int) -> str:
        """What the data set calls a frame; no other frame has this name."""

    def drive(self, index: int) -> str:
        """Name of the drive of a frame: a scene or a sequence."""

    def frame(self, index: int) -> Frame:
        """The sensors, a batch of 1.

        Raises:
            FileNotFoundError, ValueError: a file is missing or damaged; the text names it.
        """

    def sweeps(self, index: int) -> list[SweepOrigin]:
        """The sweeps that the points of a frame are from, the newest first."""

    def label_path(self, index: int) -> Path:
        """The file of a frame's labels, whether it exists or not."""

    def labels(self, index: int) -> UInt8[Tensor, "x y z"] | None:
        """Class ids on ``grid``, 255 ignored; None where there are none.

        Raises:
            ValueError: a file is malformed, and ``damaged`` is ``stop``.
        """


class IntactItems(Generic[Item]):
    """Items by their index, each read when it is its turn.

    Args:
        read: reads an item; raises FileNotFoundError or ValueError where a file is missing or
            damaged.
        indices: of the items, in their order.
        damaged: ``stop`` raises at the first item that cannot be read; ``skip`` leaves it out with
            a warning and counts it.
    """

    def __init__(
        self, read: Callable[[int], Item], indices: Sequence[int], damaged: Damaged = "stop"
    ) -> None:
        self.read, self.indices, self.damaged = read, indices, damaged
        self.skipped: list[str] = []
        """What was wrong with each item that was left out."""

    def __len__(self) -> int:
        """Number of items, those included that will be left out."""
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Reads on from the first item.

        Yields:
            Each item with its index.

        Raises:
            FileNotFoundError, ValueError: an item cannot be read, or none of them can.
        """
        self.skipped.clear()
        for index in self.indices:
            try:
                item = self.read(index)
            except (FileNotFoundError, ValueError) as error:
                if self.damaged == "stop":
                    raise
                self.skipped.append(str(error))
                warnings.warn(f"sample {index} is left out: {error}", stacklevel=2)
                continue
            yield index, item
        if self.skipped and len(self.skipped) == len(self):
            raise ValueError(
                f"none of the {len(self)} samples can be read; the first: {self.skipped[0]}"
            )


class SampleStream:
    """The samples of a folder in order; see ``IntactItems``."""

    def __init__(self, data: OccupancyData, damaged: Damaged = "stop") -> None:
        self.data = data
        self._samples = IntactItems(data.sample, range(len(data)), damaged)

    @property
    def skipped(self) -> list[str]:
        """What was wrong with each sample that was left out."""
        return self._samples.skipped

    def __len__(self) -> int:
        """Number of samples, those included that will be left out."""
        return len(self._samples)

    def __iter__(self) -> Iterator[OccupancySample]:
        """Reads on from the first sample; raises as ``IntactItems`` does."""
        for _, sample in self._samples:
            yield sample
