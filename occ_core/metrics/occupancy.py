"""IoU and mIoU of semantic occupancy, as the public benchmarks count them."""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from occ_core.metrics.label_sets import SURROUNDOCC, LabelSet
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
    Voxels whose truth is 255 do not count. A class that occurs neither in truth nor in prediction
    has no IoU (NaN) and is left out of the mean, as in Occ3D's evaluation; the benchmarks agree
    wherever every class occurs.

    Args:
        labels: meaning of the class ids; see ``label_sets`` for those of the benchmarks.
        device: where to count.

    Attributes:
        confusion: number of voxels by true and predicted class id.
    """

    def __init__(self, labels: LabelSet = SURROUNDOCC, device: torch.device | str = "cpu") -> None:
        self.labels, self.num_classes = labels, len(labels.names)
        size = (self.num_classes, self.num_classes)
        self.confusion: Int[Tensor, "truth prediction"] = torch.zeros(
            size, dtype=torch.int64, device=device
        )

    def update(
        self, prediction: UInt8[Tensor, "*predicted"], truth: UInt8[Tensor, "*true"]
    ) -> None:
        """Adds one or more grids of class ids; 255 in ``truth`` is ignored.

        Raises:
            ValueError: the shapes differ, or an id is not that of a class.
        """
        device = self.confusion.device
        _, pairs = label_pairs(prediction.to(device), truth.to(device), self.num_classes)
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.confusion += counts.reshape(self.num_classes, self.num_classes)

    def compute(self) -> OccupancyScores:
        """The scores of everything counted so far, over all processes of a distributed run."""
        return occupancy_scores(sum_over_processes(self.confusion), self.labels)


def label_pairs(
    prediction: UInt8[Tensor, "*predicted"], truth: UInt8[Tensor, "*true"], num_classes: int
) -> tuple[Bool[Tensor, "*true"], Int[Tensor, " counted"]]:
    """The voxels that count, those whose truth is not 255, and ``truth * num_classes + prediction``
    of each.

    Raises:
        ValueError: the shapes differ, or an id is not that of a class.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must have the same shape, got {list(prediction.shape)} and "
            f"{list(truth.shape)}"
        )
    counted = truth != IGNORE
    true, predicted = truth[counted].long(), prediction[counted].long()
    for name, ids in (("truth", true), ("prediction", predicted)):
        if ids.numel() and (ids.min() < 0 or ids.max() >= num_classes):
            raise ValueError(
                f"{name} holds class ids from {ids.min()} to {ids.max()}, expected 0 to "
                f"{num_classes - 1}"
            )
    return counted, true * num_classes + predicted


def occupancy_scores(
    confusion: Int[Tensor, "truth prediction"], labels: LabelSet = SURROUNDOCC
) -> OccupancyScores:
    """IoU and mIoU of a confusion matrix, as ``OccupancyScore`` defines them.

    Args:
        confusion: number of voxels by true and predicted class id.
        labels: meaning of the class ids.
    """
    counts = confusion.cpu().double()
    hits = counts.diagonal()
    per_class = hits / (counts.sum(0) + counts.sum(1) - hits)  # 0 / 0 = NaN
    empty, occupied = labels.empty, labels.occupied
    both_occupied = counts[occupied][:, occupied].sum()
    either_occupied = counts.sum() - counts[empty, empty]
    names = [labels.names[label] for label in occupied]
    return OccupancyScores(
        iou=(both_occupied / either_occupied).item() if either_occupied else math.nan,
        miou=per_class[occupied].nanmean().item(),
        per_class=dict(zip(names, per_class[occupied].tolist(), strict=True)),
    )
