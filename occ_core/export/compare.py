"""How far an exported model's answers lie from those of the model itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from occ_core.engine import OccupancyEngine
from occ_core.export.engine import ExportedEngine
from occ_core.types import Frame, Occupancy

MAX_PROBABILITY = 1e-3
"""Difference of two probabilities that counts as none."""
MAX_DIFFERING = {"fp32": 1e-4, "bf16": 1e-2}
"""Tolerated fraction of voxels that differ, by precision: rounding decides the class where two are
equally probable, and whether a voxel is refined whose probability is the threshold.
"""


@dataclass(frozen=True)
class Differences:
    """Differences over several frames."""

    frames: int
    differing: float
    """Largest fraction of a frame's voxels that have another class, or a probability more than
    ``MAX_PROBABILITY`` apart.
    """


def compare(
    engine: OccupancyEngine, exported: ExportedEngine, frames: Iterable[Frame]
) -> Differences:
    """Lets both answer the frames of a drive, each with its own memory."""
    shares = [differing(engine.step(frame), exported.step(frame)) for frame in frames]
    return Differences(len(shares), max(shares, default=0.0))


def differing(first: Occupancy, second: Occupancy) -> float:
    """The fraction of voxels in which two answers differ, see ``Differences``."""
    other_class = first.labels != second.labels
    apart = (first.probability - second.probability).abs() > MAX_PROBABILITY
    return float((other_class | apart).float().mean())
