"""IoU and mIoU of semantic occupancy, as the public benchmarks count them."""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.class_ids import ClassIds, checked_ids
from occ_core.metrics.processes import sum_over_processes
from occ_core.taxonomy import IGNORE


class OccupancyScores(TypedDict):
    """Fractions in [0, 1], NaN where nothing was counted."""

    iou: float
    miou: float
    per_class: dict[str, float]


def visible_only(
    truth: UInt8[Tensor, "*true"], visible: Bool[Tensor, "*true"]
) -> UInt8[Tensor, "*true"]:
    """The truth with the voxels that were not visible set to 255, which every score ignores.

    Args:
        truth: class ids.
        visible: True for the voxels to be scored, such as a camera mask.
    """
    return truth.masked_fill(~visible, IGNORE)


class OccupancyScore:
    """Counts voxels over a whole data set, then scores once.

    IoU is that of occupied (any class) against empty, mIoU the mean over all classes but empty.
    Voxels whose truth is 255 do not count. Of a class that occurs neither in truth nor in
    prediction ``LabelSet.absent`` decides, by which the benchmarks differ; they agree wherever
    every class occurs.

    Args:
        labels: meaning of the class ids; see ``labels.sets`` for those of the benchmarks.
        device: where to count.

    Attributes:
        confusion: number of voxels by true and predicted class id.
    """

    def __init__(self, labels: LabelSet = NUSCENES, device: torch.device | str = "cpu") -> None:
        self.labels, self.num_classes = labels, len(labels.names)
        size = (self.num_classes, self.num_classes)
        self.confusion: Int[Tensor, "truth prediction"] = torch.zeros(
            size, dtype=torch.int64, device=device
        )

    def update(self, prediction: ClassIds, truth: ClassIds) -> None:
        """Adds one or more grids of class ids, tensors or arrays; 255 in ``truth`` is ignored.

        Raises:
            TypeError: one of them is neither a tensor nor an array, or holds no integers.
            ValueError: the shapes differ, or an id is not that of a class.
        """
        device = self.confusion.device
        prediction, truth = checked_ids(prediction, truth, self.labels)
        _, pairs = label_pairs(prediction.to(device), truth.to(device), self.num_classes)
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.confusion += counts.reshape(self.num_classes, self.num_classes)

    def compute(self) -> OccupancyScores:
        """The scores of everything counted so far, over all processes of a distributed run."""
        return occupancy_scores(sum_over_processes(self.confusion), self.labels)


def label_pairs(
    prediction: UInt8[Tensor, "*grid"], truth: UInt8[Tensor, "*grid"], num_classes: int
) -> tuple[Bool[Tensor, "*grid"], Int[Tensor, " counted"]]:
    """The voxels that count, those whose truth is not 255, and ``truth * num_classes + prediction``
    of each, from what ``checked_ids`` returns.
    """
    counted = truth != IGNORE
    return counted, truth[counted].long() * num_classes + prediction[counted].long()


def occupancy_scores(
    confusion: Int[Tensor, "truth prediction"], labels: LabelSet = NUSCENES
) -> OccupancyScores:
    """IoU and mIoU of a confusion matrix, as ``OccupancyScore`` defines them.

    Args:
        confusion: number of voxels by true and predicted class id.
        labels: meaning of the class ids.
    """
    counts = confusion.cpu().double()
    hits = counts.diagonal()
    per_class = hits / (counts.sum(0) + counts.sum(1) - hits)  # 0 / 0 = NaN
    if labels.absent == "zero":
        per_class = per_class.nan_to_num(0.0)
    empty, occupied = labels.empty, labels.occupied
    both_occupied = counts[occupied][:, occupied].sum()
    either_occupied = counts.sum() - counts[empty, empty]
    mean = per_class[occupied].mean() if labels.absent == "nan" else per_class[occupied].nanmean()
    return OccupancyScores(
        iou=(both_occupied / either_occupied).item() if either_occupied else math.nan,
        miou=mean.item(),
        per_class=dict(zip(labels.occupied_names, per_class[occupied].tolist(), strict=True)),
    )
