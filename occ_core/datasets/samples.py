"""Labelled instants of a benchmark, one after the other: what models are scored on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.types import Frame

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


class SampleStream:
    """The samples of a folder in order, each read when it is its turn.

    Args:
        data: the folder.
        damaged: ``stop`` raises at the first sample that cannot be read; ``skip`` leaves it out
            with a warning and counts it.
    """

    def __init__(self, data: OccupancyData, damaged: Damaged = "stop") -> None:
        self.data, self.damaged = data, damaged
        self.skipped: list[str] = []
        """What was wrong with each sample that was left out."""

    def __len__(self) -> int:
        """Number of samples, those included that will be left out."""
        return len(self.data)

    def __iter__(self) -> Iterator[OccupancySample]:
        """Reads on from the first sample.

        Raises:
            FileNotFoundError, ValueError: a sample cannot be read, or none of them can.
        """
        self.skipped.clear()
        for index in range(len(self.data)):
            try:
                sample = self.data.sample(index)
            except (FileNotFoundError, ValueError) as error:
                if self.damaged == "stop":
                    raise
                self.skipped.append(str(error))
                warnings.warn(f"sample {index} is left out: {error}", stacklevel=2)
                continue
            yield sample
        if len(self.skipped) == len(self.data):
            raise ValueError(
                f"none of the {len(self.data)} samples can be read; the first: {self.skipped[0]}"
            )
