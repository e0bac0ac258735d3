"""Scores of a confusion matrix of classes: counts ``[truth, prediction]`` by class id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsInt, TypedDict

import numpy as np

from occ_core.taxonomy import CLASS_ID, CLASS_NAMES, EMPTY, NUM_CLASSES

VEHICLES = tuple(
    CLASS_ID[name] for name in ("car", "truck", "bus", "trailer", "construction_vehicle")
)
"""Counted as one class wherever a score is called a vehicle's."""
GROUND = tuple(
    CLASS_ID[name] for name in ("driveable_surface", "other_flat", "sidewalk", "terrain")
)
"""Flat classes, which differ in colour and texture more than in shape."""


class ClassScores(TypedDict):
    """Fractions in [0, 1], NaN where nothing was counted."""

    iou: float
    precision: float
    """Fraction of what is predicted the class that is of the class."""
    recall: float
    """Fraction of what is of the class that is predicted the class."""


def scores_by_class(confusion: np.ndarray) -> dict[str, ClassScores]:
    """The scores of every class but ``empty``, by name."""
    return {
        CLASS_NAMES[label]: scores_as_one(confusion, [label])
        for label in range(NUM_CLASSES)
        if label != EMPTY
    }


def scores_as_one(confusion: np.ndarray, classes: Sequence[int]) -> ClassScores:
    """The scores of several classes that are not told apart."""
    chosen = np.isin(np.arange(NUM_CLASSES), classes)
    true, predicted = confusion[chosen].sum(), confusion[:, chosen].sum()
    both = confusion[np.ix_(chosen, chosen)].sum()
    return ClassScores(
        iou=ratio(both, true + predicted - both),
        precision=ratio(both, predicted),
        recall=ratio(both, true),
    )


def predicted_as(confusion: np.ndarray, classes: Sequence[int]) -> dict[str, dict[str, float]]:
    """What becomes of each class: the fractions predicted as it, as ``empty``, as every other one.

    Args:
        classes: ids of the true classes; those that do not occur are left out, and so are
            predictions that do not occur.
    """
    return {
        CLASS_NAMES[label]: {
            CLASS_NAMES[other]: ratio(confusion[label, other], confusion[label].sum())
            for other in range(NUM_CLASSES)
            if confusion[label, other]
        }
        for label in classes
        if confusion[label].any()
    }


def ratio(part: SupportsInt, whole: SupportsInt) -> float:
    """The quotient of two counts; NaN where the whole is 0."""
    return int(part) / int(whole) if int(whole) else math.nan
