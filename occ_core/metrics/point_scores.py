"""Scores of LiDAR points by the class of the voxel that contains them, for real drives whose voxels
nobody has labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, SupportsInt

import numpy as np

from occ_core.geometry.boxes import Box, points_in_box
from occ_core.metrics.keyframe import MIN_BOX_POINTS
from occ_core.taxonomy import CLASS_ID, CLASS_NAMES, EMPTY, NUM_CLASSES
from occ_core.voxel_grid import VoxelGrid

VEHICLES = tuple(
    CLASS_ID[name] for name in ("car", "truck", "bus", "trailer", "construction_vehicle")
)
"""Counted as one in ``vehicle_precision`` and ``vehicle_recall``."""
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
        truth, predicted = classes[inside].astype(np.int64), prediction[tuple(index.T)]
        counted = truth != EMPTY
        pairs = truth[counted] * NUM_CLASSES + predicted[counted]
        self.confusion += np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(
            NUM_CLASSES, NUM_CLASSES
        )

    def compute(self) -> dict[str, Any]:
        """``point_miou``, ``per_class`` (IoU), ``accuracy``, ``hit_recall`` (share of points in
        voxels that are predicted occupied), ``vehicle_precision``, ``vehicle_recall``, and
        ``recall_as``: of each class's points, the share that every class is predicted for.
        """
        counts, hits = self.confusion, self.confusion.diagonal()
        present = [label for label in range(1, NUM_CLASSES) if counts[label].any()]
        union = counts.sum(axis=0) + counts.sum(axis=1) - hits
        per_class = {CLASS_NAMES[label]: float(hits[label] / union[label]) for label in present}
        vehicles = np.isin(np.arange(NUM_CLASSES), VEHICLES)
        both = counts[np.ix_(vehicles, vehicles)].sum()
        return {
            "point_miou": float(np.mean(list(per_class.values()))) if present else math.nan,
            "accuracy": _ratio(hits.sum(), counts.sum()),
            "hit_recall": _ratio(counts[:, 1:].sum(), counts.sum()),
            "vehicle_precision": _ratio(both, counts[:, vehicles].sum()),
            "vehicle_recall": _ratio(both, counts[vehicles].sum()),
            "per_class": per_class,
            "recall_as": {
                CLASS_NAMES[label]: {
                    CLASS_NAMES[other]: float(counts[label, other] / counts[label].sum())
                    for other in range(NUM_CLASSES)
                    if counts[label, other]
                }
                for label in present
            },
        }


class BoxPointScore:
    """Points against annotated boxes, over a whole data set: for drives without point labels.

    ``vehicle_precision`` and ``vehicle_recall`` count points within ``BOX_RANGE_M`` of the sensor
    (the larger of |x| and |y|); a vehicle's box is grown by ``BOX_MARGIN_M`` on every side.
    ``exact_class_in_boxes`` takes boxes as they are, with ``MIN_BOX_POINTS`` points or more.
    """

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self._true_vehicle = self._predicted_vehicle = self._both = 0
        self._points = self._occupied = 0
        self._in_boxes: dict[str, list[int]] = {}  # class -> points right, points

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
                counts = self._in_boxes.setdefault(CLASS_NAMES[box.class_id], [0, 0])
                counts[0] += int((predicted[in_box] == box.class_id).sum())
                counts[1] += int(in_box.sum())
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
        """``vehicle_precision``, ``vehicle_recall``, ``exact_class_in_boxes`` (class ->
        ``accuracy`` and ``points``) and ``hit_recall``.
        """
        return {
            "vehicle_precision": _ratio(self._both, self._predicted_vehicle),
            "vehicle_recall": _ratio(self._both, self._true_vehicle),
            "hit_recall": _ratio(self._occupied, self._points),
            "exact_class_in_boxes": {
                name: {"accuracy": right / points, "points": points}
                for name, (right, points) in sorted(self._in_boxes.items())
            },
        }


def _ratio(part: SupportsInt, whole: SupportsInt) -> float:
    return int(part) / int(whole) if int(whole) else math.nan
