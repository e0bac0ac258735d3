"""What each benchmark counts and prints: the official scores of a confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from occ_core.labels.benchmarks import BENCHMARKS, OccupancyBenchmark


@dataclass(frozen=True, kw_only=True)
class ScoringProtocol:
    """The official counting of a benchmark, beyond what its label set says."""

    benchmark: OccupancyBenchmark
    camera_mask: bool = False
    """Only voxels that a camera has seen count."""
    geometry: bool = True
    """An IoU of occupied against empty voxels is reported."""
    precision_recall: bool = False
    """Precision and recall of occupied voxels are reported."""
    percent: bool = False
    """Scores are percentages, not fractions."""
    digits: int | None = None
    """Decimals of the scores; None leaves them unrounded."""
    class_epsilon: float = 0.0
    """Added to the denominator of every class's IoU."""
    geometry_epsilon: float = 0.0
    """Added to the denominators of precision and recall."""
    no_hit_is_zero: bool = False
    """Geometry without a single hit scores 0 even where nothing could have been hit."""
    ray_iou: bool = False
    """RayIoU is reported too."""
    upsamples_logits: bool = False
    """A coarser model's logits are interpolated to the benchmark's grid; otherwise its classes are
    repeated.
    """
    notes: tuple[str, ...] = ()
    """What is counted, for a reader."""


SURROUNDOCC_NOTES = (
    "Labels: 17 classes, 0 empty; the files' 0 is noise, read as 255 and ignored on both sides.",
    "Voxels: all with a label, whether a camera saw them or not.",
    "IoU: occupied against empty. mIoU: plain mean of the 16 classes, counts over the data set.",
    "A class that occurs neither in truth nor in prediction makes the mIoU NaN (null here).",
    "Printed: fractions, not rounded. Precision and recall are not reported.",
    "Trap: with ignore_index=0 false positives in empty space go free: the mIoU nearly doubles.",
)
OPENOCCUPANCY_NOTES = (
    "Labels: 17 classes, 0 empty, 512x512x40 voxels of 0.2 m; the files' 0 is noise, ignored.",
    "Voxels: all with a label; the logits of coarser models are interpolated to the full grid.",
    "IoU ('SC non-empty'): occupied against empty. mIoU ('SSC mean'): plain mean of 16 classes.",
    "A class that occurs neither in truth nor in prediction makes the mIoU NaN (null here).",
    "Printed: fractions with 3 decimals.",
)
OCC3D_NOTES = (
    "Labels: 18 classes, 17 free; class 0 'others' counts as a class.",
    "Voxels: those in mask_camera alone; errors on free voxels count against the classes.",
    "mIoU: mean of the 17 classes but free; a class that occurs neither in truth nor in prediction "
    "is left out. (SparseOcc's copy also leaves out one that is only predicted.)",
    "No IoU of geometry is reported. Printed: percent with 2 decimals.",
    "RayIoU (SparseOcc): no mask; 14,040 rays from at most 8 positions of the LiDAR, thresholds 1, "
    "2, 4 m; depth where the hit voxel is left; ties cross z, then y, then x; fractions with 3 "
    "decimals.",
)
SEMANTIC_KITTI_NOTES = (
    "Labels: 20 classes, 0 empty; raw ids without a class, and voxels marked invalid, are ignored.",
    "Voxels: all valid ones, occluded or not.",
    "IoU: completion. mIoU: mean of the 19 classes; one that occurs nowhere counts as 0.",
    "Precision and recall: of occupied voxels, whatever their class.",
    "Printed: percent with 2 decimals; classes as fractions with 3.",
)
KITTI_360_NOTES = (
    "Labels: 19 classes, 0 empty; raw ids without a class, and invalid empty voxels, are ignored.",
    "Voxels: all valid ones; 'invalid' holds one byte a voxel, and is void where a label stands.",
    "IoU: completion. mIoU: mean of the 18 classes; one that occurs nowhere counts as 0; 1e-5 is "
    "added to the denominators.",
    "Precision, recall and IoU are 0 where nothing was hit. Printed: percent with 4 decimals.",
)

PROTOCOLS: dict[str, ScoringProtocol] = {
    each.benchmark.name: each
    for each in (
        ScoringProtocol(benchmark=BENCHMARKS["surroundocc"], notes=SURROUNDOCC_NOTES),
        ScoringProtocol(
            benchmark=BENCHMARKS["openoccupancy"],
            digits=3,
            upsamples_logits=True,
            notes=OPENOCCUPANCY_NOTES,
        ),
        ScoringProtocol(
            benchmark=BENCHMARKS["occ3d"],
            camera_mask=True,
            geometry=False,
            percent=True,
            digits=2,
            ray_iou=True,
            notes=OCC3D_NOTES,
        ),
        ScoringProtocol(
            benchmark=BENCHMARKS["semantic_kitti"],
            precision_recall=True,
            percent=True,
            digits=2,
            class_epsilon=1e-15,
            geometry_epsilon=float(np.finfo(np.float32).eps),
            notes=SEMANTIC_KITTI_NOTES,
        ),
        ScoringProtocol(
            benchmark=BENCHMARKS["kitti360"],
            precision_recall=True,
            percent=True,
            digits=4,
            class_epsilon=1e-5,
            no_hit_is_zero=True,
            notes=KITTI_360_NOTES,
        ),
    )
}
"""The protocols by the name of their benchmark."""


def official_scores(
    confusion: Int[Tensor, "truth prediction"] | np.ndarray, protocol: ScoringProtocol
) -> dict[str, Any]:
    """The scores of a confusion matrix as the benchmark's own code prints them.

    Args:
        confusion: number of voxels by true and predicted class id, over the whole data set.
        protocol: how they are counted.

    Returns:
        ``unit`` (``percent`` or ``fraction``), ``miou`` and ``per_class``; ``iou``, ``precision``
        and ``recall`` where the benchmark reports them. A score that nothing counted for is NaN.

    Raises:
        ValueError: the matrix has another number of classes than the benchmark.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    labels = protocol.benchmark.labels
    classes = len(labels.names)
    if counts.shape != (classes, classes):
        raise ValueError(
            f"the confusion matrix of '{labels.name}' must be {classes} x {classes}, got "
            f"{' x '.join(map(str, counts.shape))}"
        )
    occupied = labels.occupied
    hits = counts.diagonal()
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    with np.errstate(invalid="ignore"):
        iou = hits / (union + protocol.class_epsilon)
    if labels.absent == "zero":
        iou = np.where(union == 0, 0.0, iou)
    known = iou[occupied]
    if labels.absent == "left_out":
        known = known[~np.isnan(known)]
    scores = _geometry(counts, protocol)
    scores["miou"] = float(np.mean(known)) if len(known) else math.nan
    # semantic-kitti-api prints classes as fractions beside totals in percent
    class_percent = protocol.percent and labels.name != "semantic_kitti"
    class_digits = 3 if labels.name == "semantic_kitti" else protocol.digits
    return {
        "unit": "percent" if protocol.percent else "fraction",
        **{
            name: _printed(value, protocol.percent, protocol.digits)
            for name, value in scores.items()
        },
        "per_class": {
            labels.names[label]: _printed(float(iou[label]), class_percent, class_digits)
            for label in occupied
        },
    }


def _geometry(counts: np.ndarray, protocol: ScoringProtocol) -> dict[str, float]:
    """IoU, precision and recall of occupied against empty, as far as they are reported."""
    if not protocol.geometry:
        return {}
    labels = protocol.benchmark.labels
    occupied = labels.occupied
    hit = counts[np.ix_(occupied, occupied)].sum()
    predicted, true = counts[:, occupied].sum(), counts[occupied].sum()
    scores = {"iou": _quotient(hit, counts.sum() - counts[labels.empty, labels.empty])}
    if protocol.precision_recall:
        scores["precision"] = _quotient(hit, predicted + protocol.geometry_epsilon)
        scores["recall"] = _quotient(hit, true + protocol.geometry_epsilon)
    if protocol.no_hit_is_zero and not hit:
        scores = dict.fromkeys(scores, 0.0)
    return scores


def _quotient(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _printed(value: float, percent: bool, digits: int | None) -> float:
    scaled = 100 * value if percent else value
    return scaled if digits is None or math.isnan(scaled) else float(np.round(scaled, digits))
