"""Scores of LiDAR points by the class of the voxel that contains them, for real drives whose voxels
nobody has labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from occ_core.geometry.boxes import Box, points_in_box
from occ_core.metrics.confusion import VEHICLES, predicted_as, ratio, scores_as_one
from occ_core.metrics.keyframe import MIN_BOX_POINTS
from occ_core.taxonomy import CLASS_NAMES, EMPTY, NUM_CLASSES
from occ_core.voxel_grid import VoxelGrid

BOX_RANGE_M = 40.0
"""Vehicles farther away are not annotated in every data set."""
BOX_MARGIN_M = 0.5
"""Boxes fit tightly: a voxel of a vehicle reaches out of them by up to its own size."""


class LabelledPointScore:
    """Confusion of labelled points, over a whole data set.

    Points outside the grid, and those without a class (0), do not count. A class that no point has
    is left out of ``point_miou``; predicting it counts against the classes that the points have.

    Attributes:
        confusion: int64 ``[truth, prediction]``.
    """

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self.confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)

    def update(self, prediction: np.ndarray, xyz_m: np.ndarray, classes: np.ndarray) -> None:
        """Adds a scan.

        Args:
            prediction: class ids ``[X, Y, Z]``.
            xyz_m: points ``[N, 3]``, metres in the grid frame.
            classes: ``[N]`` in 1..16, 0 where a point has none.
        """
        index, inside = self.grid.numpy_index(xyz_m)
        truth, predicted = classes[inside], prediction[tuple(index.T)]
        counted = truth != EMPTY
        self.confusion += _confusion(truth[counted], predicted[counted])

    def compute(self) -> dict[str, Any]:
        """``point_miou``, ``per_class`` (IoU), ``accuracy``, ``hit_recall`` (fraction of the points
        in voxels that are predicted occupied), ``vehicle_precision``, ``vehicle_recall`` (all
        vehicles as one class), and ``recall_as``: see ``confusion.predicted_as``.
        """
        counts, hits = self.confusion, self.confusion.diagonal()
        present = [label for label in range(1, NUM_CLASSES) if counts[label].any()]
        union = counts.sum(axis=0) + counts.sum(axis=1) - hits
        per_class = {CLASS_NAMES[label]: float(hits[label] / union[label]) for label in present}
        vehicle = scores_as_one(counts, VEHICLES)
        return {
            "point_miou": float(np.mean(list(per_class.values()))) if present else math.nan,
            "accuracy": ratio(hits.sum(), counts.sum()),
            "hit_recall": ratio(counts[:, 1:].sum(), counts.sum()),
            "vehicle_precision": vehicle["precision"],
            "vehicle_recall": vehicle["recall"],
            "per_class": per_class,
            "recall_as": predicted_as(counts, present),
        }


class BoxPointScore:
    """Points against annotated boxes, over a whole data set: for drives without point labels.

    ``vehicle_precision`` and ``vehicle_recall`` count points within ``BOX_RANGE_M`` of the sensor
    (the larger of |x| and |y|); a vehicle's box is grown by ``BOX_MARGIN_M`` on every side.
    ``exact_class_in_boxes`` takes boxes as they are, with ``MIN_BOX_POINTS`` points or more.

    Attributes:
        confusion: int64 ``[truth, prediction]`` of the points in such boxes, the class of the box
            being the truth.
    """

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self.confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
        self._true_vehicle = self._predicted_vehicle = self._both = 0
        self._points = self._occupied = 0

    def update(self, prediction: np.ndarray, xyz_m: np.ndarray, boxes: Iterable[Box]) -> None:
        """Adds a sweep.

        Args:
            prediction: class ids ``[X, Y, Z]``.
            xyz_m: points ``[N, 3]`` of the annotated sweep, metres in the grid frame.
            boxes: in the grid frame.
        """
        index, inside = self.grid.numpy_index(xyz_m)
        points, predicted = xyz_m[inside], prediction[tuple(index.T)]
        in_vehicle = np.zeros(len(points), dtype=bool)
        for box in boxes:
            if not box.class_id:
                continue
            in_box = points_in_box(points, box)
            if in_box.sum() >= MIN_BOX_POINTS:
                truth = np.full(in_box.sum(), box.class_id)
                self.confusion += _confusion(truth, predicted[in_box])
            if box.class_id in VEHICLES:
                grown = replace(box, size_wlh=np.asarray(box.size_wlh) + 2 * BOX_MARGIN_M)
                in_vehicle |= points_in_box(points, grown)
        near = np.abs(points[:, :2]).max(axis=1, initial=0.0) < BOX_RANGE_M
        as_vehicle = np.isin(predicted, VEHICLES)
        self._true_vehicle += int((in_vehicle & near).sum())
        self._predicted_vehicle += int((as_vehicle & near).sum())
        self._both += int((in_vehicle & as_vehicle & near).sum())
        self._points += len(points)
        self._occupied += int((predicted != EMPTY).sum())

    def compute(self) -> dict[str, Any]:
        """``vehicle_precision``, ``vehicle_recall``, ``hit_recall``, and ``exact_class_in_boxes``
        (class -> ``accuracy`` and ``points``).
        """
        points = self.confusion.sum(axis=1)
        return {
            "vehicle_precision": ratio(self._both, self._predicted_vehicle),
            "vehicle_recall": ratio(self._both, self._true_vehicle),
            "hit_recall": ratio(self._occupied, self._points),
            "exact_class_in_boxes": {
                CLASS_NAMES[label]: {
                    "accuracy": ratio(self.confusion[label, label], points[label]),
                    "points": int(points[label]),
                }
                for label in np.flatnonzero(points)
            },
        }


def _confusion(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """int64 ``[truth, prediction]``: how often each pair of class ids occurs."""
    pairs = np.bincount(truth.astype(np.int64) * NUM_CLASSES + prediction, minlength=NUM_CLASSES**2)
    return pairs.reshape(NUM_CLASSES, NUM_CLASSES)
