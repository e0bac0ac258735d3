"""Scores of a confusion matrix of classes: counts ``[truth, prediction]`` by class id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsInt, TypedDict

import numpy as np

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES

VEHICLES = tuple(NUSCENES.ids(NUSCENES.vehicles))
"""Counted as one class wherever a score is called a vehicle's."""
GROUND = tuple(NUSCENES.ids(NUSCENES.ground))
"""Flat classes, which differ in colour and texture more than in shape."""


class ClassScores(TypedDict):
    """Fractions in [0, 1], NaN where nothing was counted."""

    iou: float
    precision: float
    """Fraction of what is predicted the class that is of the class."""
    recall: float
    """Fraction of what is of the class that is predicted the class."""


def scores_by_class(confusion: np.ndarray, labels: LabelSet = NUSCENES) -> dict[str, ClassScores]:
    """The scores of every class but the empty one, by name."""
    return {labels.names[label]: scores_as_one(confusion, [label]) for label in labels.occupied}


def scores_as_one(confusion: np.ndarray, classes: Sequence[int]) -> ClassScores:
    """The scores of several classes that are not told apart."""
    chosen = np.isin(np.arange(len(confusion)), classes)
    true, predicted = confusion[chosen].sum(), confusion[:, chosen].sum()
    both = confusion[np.ix_(chosen, chosen)].sum()
    return ClassScores(
        iou=ratio(both, true + predicted - both),
        precision=ratio(both, predicted),
        recall=ratio(both, true),
    )


def predicted_as(
    confusion: np.ndarray, classes: Sequence[int], labels: LabelSet = NUSCENES
) -> dict[str, dict[str, float]]:
    """What becomes of each class: the fractions predicted as it, as empty, as every other one.

    Args:
        confusion: counts ``[truth, prediction]``.
        classes: ids of the true classes; those that do not occur are left out, and so are
            predictions that do not occur.
        labels: meaning of the class ids.
    """
    return {
        labels.names[label]: {
            labels.names[other]: ratio(confusion[label, other], confusion[label].sum())
            for other in range(len(confusion))
            if confusion[label, other]
        }
        for label in classes
        if confusion[label].any()
    }


def ratio(part: SupportsInt, whole: SupportsInt) -> float:
    """The quotient of two counts; NaN where the whole is 0."""
    return int(part) / int(whole) if int(whole) else math.nan
