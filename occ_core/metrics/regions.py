"""Scores of voxels by range, by weather, and where a camera sees: one count gives them all."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.class_ids import ClassIds, checked_ids
from occ_core.metrics.confusion import predicted_as, scores_as_one, scores_by_class
from occ_core.metrics.occupancy import label_pairs, occupancy_scores
from occ_core.taxonomy import WEATHERS
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

RANGES_M = (12.5, 25.0, 37.5, 50.0)
"""Far ends of the ranges; the range of a voxel is the larger of |x| and |y| of its centre."""


class RegionScore:
    """Counts voxels over a whole data set by weather, range and visibility, then scores once.

    IoU and mIoU are those of ``OccupancyScore``. A voxel beyond the last range counts in the whole
    grid alone.

    Attributes:
        counts: by weather, number of voxels by range, visibility, true and predicted class id.
    """

    def __init__(self, grid: VoxelGrid = SURROUNDOCC_GRID, labels: LabelSet = NUSCENES) -> None:
        self.labels = labels
        centres = grid.all_centres()[:, :, 0, :2]
        self.range: Int[Tensor, "x y 1"] = torch.bucketize(
            centres.abs().amax(dim=-1), torch.tensor(RANGES_M), right=True
        )[:, :, None]
        self.counts: dict[str, Int[Tensor, "range visible truth prediction"]] = {}
        self.has_masks = False

    def update(
        self,
        prediction: ClassIds,
        truth: ClassIds,
        visible: Bool[Tensor, "x y z"] | None,
        weather: str,
    ) -> None:
        """Adds one grid of class ids; 255 in ``truth`` is ignored.

        Args:
            visible: the camera mask; None where the data have none.
            weather: one of ``taxonomy.WEATHERS``.

        Raises:
            ValueError: the shapes differ, or an id is not that of a class.
        """
        classes = len(self.labels.names)
        prediction, truth = checked_ids(prediction, truth, self.labels)
        counted, pairs = label_pairs(prediction, truth, classes)
        region = 2 * self.range.expand_as(truth)
        if visible is not None:
            region, self.has_masks = region + visible, True
        shape = (len(RANGES_M) + 1, 2, classes, classes)
        cells = region[counted] * classes**2 + pairs
        counts = torch.bincount(cells, minlength=math.prod(shape)).view(shape)
        self.counts[weather] = self.counts.get(weather, 0) + counts

    def compute(self) -> dict[str, Any]:
        """Scores of the whole grid, and under ``camera_mask`` the same of its visible voxels where
        the data have masks.

        ``iou``, ``miou``; ``classes``, with IoU, precision and recall of each; ``vehicle``, the
        same of all vehicles as one class; ``ground_as``, what voxels of each ground class are
        predicted as; ``by_range`` and ``by_weather``, with ``iou`` and ``miou``.
        """
        scores = _scores(
            {name: counts.sum(dim=1) for name, counts in self.counts.items()}, self.labels
        )
        if self.has_masks:
            visible = {name: counts[:, 1] for name, counts in self.counts.items()}
            scores["camera_mask"] = _scores(visible, self.labels)
        return scores


def _scores(
    counts: dict[str, Int[Tensor, "range truth prediction"]], labels: LabelSet
) -> dict[str, Any]:
    """The scores of one region, from its counts by weather."""
    classes = len(labels.names)
    nothing = torch.zeros(len(RANGES_M) + 1, classes, classes, dtype=torch.int64)
    by_range = sum(counts.values(), nothing)
    overall = by_range.sum(dim=0)
    starts_m = (0.0, *RANGES_M)
    return _iou_and_miou(overall, labels) | {
        "vehicle": scores_as_one(overall.numpy(), labels.ids(labels.vehicles)),
        "by_range": {
            f"{start:g}-{end:g}": _iou_and_miou(confusion, labels)
            for start, end, confusion in zip(starts_m, RANGES_M, by_range)
        },
        "by_weather": {
            weather: _iou_and_miou(counts[weather].sum(dim=0), labels)
            for weather in WEATHERS
            if weather in counts
        },
        "classes": scores_by_class(overall.numpy(), labels),
        "ground_as": predicted_as(overall.numpy(), labels.ids(labels.ground), labels),
    }


def _iou_and_miou(confusion: Int[Tensor, "truth prediction"], labels: LabelSet) -> dict[str, float]:
    scores = occupancy_scores(confusion, labels)
    return {"iou": scores["iou"], "miou": scores["miou"]}
