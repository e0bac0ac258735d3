"""Scores of an offline run by the labels of the data set from which the bag was made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from occ_core.datasets.frames import NuScenesFrames
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.occupancy import OccupancyScore
from occ_core.voxel_grid import VoxelGrid


class TruthScores:
    """IoU and mIoU of the answers to keyframes that have labels.

    Args:
        root: nuScenes data root with SurroundOcc's labels.
        grid: the model's grid.
        labels: meaning of the model's class ids.

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: a table is malformed, or there are no labels for this grid or these classes.
    """

    def __init__(self, root: Path, grid: VoxelGrid, labels: LabelSet) -> None:
        if not labels.same_ids(NUSCENES):
            raise ValueError(
                f"{root} has labels of the set '{NUSCENES.name}', but the checkpoint answers in "
                f"'{labels.name}'"
            )
        self._frames = NuScenesFrames(root, sweeps=0, grid=grid)
        self._index = {
            keyframe.stamp_ns: index for index, keyframe in enumerate(self._frames.keyframes)
        }
        self._score = OccupancyScore(labels)
        self.frames = 0
        """Number of answers that were scored."""

    def update(self, stamp_ns: int, labels: UInt8[Tensor, "x y z"]) -> None:
        """Adds an answer; one without labels does not count.

        Args:
            stamp_ns: stamp of the LiDAR sweep.
            labels: class ids.

        Raises:
            ValueError: the labels' file is malformed.
        """
        index = self._index.get(stamp_ns)
        truth = None if index is None else self._frames.labels(index)
        if truth is not None:
            self._score.update(labels, truth)
            self.frames += 1

    def compute(self) -> dict[str, Any]:
        """The scores as fractions, and the number of frames; None where nothing was counted."""
        scores = self._score.compute()
        return {
            "frames": self.frames,
            "iou": _or_none(scores["iou"]),
            "miou": _or_none(scores["miou"]),
            "per_class": {name: _or_none(value) for name, value in scores["per_class"].items()},
        }


def _or_none(score: float) -> float | None:
    return None if math.isnan(score) else score
