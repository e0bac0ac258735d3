"""Scores of a confusion matrix, on a few counts worked out by hand."""

import math

import numpy as np
import pytest

from occ_core.metrics.confusion import (
    GROUND,
    VEHICLES,
    predicted_as,
    scores_as_one,
    scores_by_class,
)
from occ_core.taxonomy import CLASS_ID, CLASS_NAMES, EMPTY, NUM_CLASSES

CAR, TRUCK, ROAD, PAVEMENT = (
    CLASS_ID[name] for name in ("car", "truck", "driveable_surface", "sidewalk")
)


@pytest.fixture
def confusion() -> np.ndarray:
    """4 cars: 2 right, 1 called a truck, 1 missed. 8 of road: 6 right, 2 called pavement. One
    voxel of air is called a car.
    """
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    counts[CAR, CAR], counts[CAR, TRUCK], counts[CAR, EMPTY] = 2, 1, 1
    counts[ROAD, ROAD], counts[ROAD, PAVEMENT] = 6, 2
    counts[EMPTY, CAR] = 1
    return counts


def test_every_class_has_iou_precision_and_recall(confusion: np.ndarray) -> None:
    scores = scores_by_class(confusion)
    assert list(scores) == list(CLASS_NAMES[1:])
    # car: 2 hits, 4 true, 3 predicted: 2 / 5, 2 / 3, 2 / 4
    assert scores["car"] == {"iou": 2 / 5, "precision": 2 / 3, "recall": 2 / 4}
    assert scores["driveable_surface"] == {"iou": 6 / 8, "precision": 1.0, "recall": 6 / 8}
    # predicted twice and never true
    assert scores["sidewalk"]["precision"] == 0.0 and math.isnan(scores["sidewalk"]["recall"])
    assert all(math.isnan(value) for value in scores["bus"].values())


def test_vehicles_are_one_class(confusion: np.ndarray) -> None:
    # 3 of 4 true vehicles are predicted one, and 3 of 4 predicted ones are one; the union is 5
    assert scores_as_one(confusion, VEHICLES) == {"iou": 3 / 5, "precision": 3 / 4, "recall": 3 / 4}


def test_what_is_missed_and_mistaken_adds_up(confusion: np.ndarray) -> None:
    assert predicted_as(confusion, GROUND) == {
        "driveable_surface": {"driveable_surface": 6 / 8, "sidewalk": 2 / 8}
    }
    assert predicted_as(confusion, [CAR]) == {"car": {"empty": 1 / 4, "car": 2 / 4, "truck": 1 / 4}}
