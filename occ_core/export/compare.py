"""How far an exported model's answers lie from those of the model itself, and how long both
take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from occ_core.engine import OccupancyEngine
from occ_core.export.engine import ExportedEngine
from occ_core.types import Frame, Occupancy

MAX_PROBABILITY = {"fp32": 1e-3, "bf16": 1e-2}
"""Difference of two probabilities that counts as none, by precision: bfloat16 has 8 bits, and
machine code rounds less often than the model, which stores what lies between two operators.
"""
MAX_DIFFERING = {"fp32": 1e-4, "bf16": 1e-2}
"""Tolerated fraction of voxels that differ, by precision: rounding decides the class where two are
equally probable, and whether a voxel is refined whose probability is the threshold.
"""


@dataclass(frozen=True)
class Comparison:
    """Both answers to several frames."""

    frames: int
    differing: float
    """Largest fraction of a frame's voxels that differ, see ``differing``."""
    model_ms: float
    """Median time of the model's own answers."""
    exported_ms: float
    """Median time of the exported model's."""


def compare(
    engine: OccupancyEngine, exported: ExportedEngine, frames: Iterable[Frame]
) -> Comparison:
    """Lets both answer the frames of a drive, in turns, each with its own memory.

    Raises:
        ValueError: there are no frames.
    """
    shares, model_ms, exported_ms = [], [], []
    for frame in frames:
        expected, ms = _timed(engine.step, frame)
        model_ms.append(ms)
        answer, ms = _timed(exported.step, frame)
        exported_ms.append(ms)
        shares.append(differing(expected, answer, exported.model.description.precision))
    if not shares:
        raise ValueError("there are no frames to compare answers to")
    return Comparison(len(shares), max(shares), median(model_ms), median(exported_ms))


def _timed(step: Callable[[Frame], Occupancy], frame: Frame) -> tuple[Occupancy, float]:
    started_s = time.perf_counter()
    answer = step(frame)  # an ``Occupancy`` lies in the CPU's memory: a GPU has finished it
    return answer, (time.perf_counter() - started_s) * 1e3


def differing(first: Occupancy, second: Occupancy, precision: str) -> float:
    """The fraction of voxels that have another class in two answers, or a probability more than
    ``MAX_PROBABILITY`` apart.
    """
    other_class = first.labels != second.labels
    apart = (first.probability - second.probability).abs() > MAX_PROBABILITY[precision]
    return float((other_class | apart).float().mean())
