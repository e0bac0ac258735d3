import numpy as np
import pytest

from occ_core.labels.label_set import LabelSet
from training.labels.score import LabelScore, as_table

LABELS = LabelSet(("empty", "car", "tree"))


def test_scores_of_eight_voxels() -> None:
    score = LabelScore(LABELS)
    truth = np.array([0, 0, 1, 1, 1, 2, 255, 1], np.uint8).reshape(2, 2, 2)
    made = np.array([0, 1, 1, 2, 0, 2, 1, 1], np.uint8).reshape(2, 2, 2)
    observed = np.ones((2, 2, 2), bool)
    observed[1, 1, 1] = False  # the last one
    score.update(made, truth, observed)
    found = score.compute()
    # Counted are the first six. Occupied in both: 3 (car-car, car-tree, tree-tree); in either: 5.
    assert found["voxels"] == 6 and found["keyframes"] == 1
    assert found["iou"] == pytest.approx(3 / 5)
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(3 / 6)
    # car: 1 right, 3 true and 2 made: 1 / 4; of the 3 true 2 are occupied, of which 1 is a car
    assert found["per_class"]["car"] == {
        "iou": 1 / 4,
        "found": 2 / 3,
        "agreement": 1 / 2,
        "voxels": 3,
    }
    # all: of the 4 voxels of car and tree 3 are occupied
    assert "| all | 0.600 | 0.750 | 0.667 | 4 |" in as_table(found)
    assert "| car | 0.250 | 0.667 | 0.500 | 3 |" in as_table(found)


def test_an_occupied_voxel_of_no_class_is_found_but_not_compared() -> None:
    score = LabelScore(LABELS)
    truth = np.array([1, 1, 2, 0], np.uint8)
    made = np.array([255, 1, 0, 255], np.uint8)
    score.update(made, truth, np.ones(4, bool))
    found = score.compute()
    # Occupied in both: the first two, of which the second has a class, the right one.
    assert found["iou"] == pytest.approx(2 / 4)
    assert found["classed"] == pytest.approx(1 / 2)
    assert found["agreement"] == 1.0
    assert found["accuracy"] == pytest.approx(1 / 4)
    assert found["per_class"]["car"] == {"iou": 1 / 2, "found": 1.0, "agreement": 1.0, "voxels": 2}


def test_nothing_to_count_is_no_number() -> None:
    found = LabelScore(LABELS).compute()
    assert found["iou"] is None and found["per_class"]["tree"]["iou"] is None
    assert "| all | - | - | - | 0 |" in as_table(found)


def test_shapes_that_differ_are_refused() -> None:
    voxels = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"one shape.*\[2, 2, 1\]"):
        LabelScore(LABELS).update(voxels, voxels[..., :1], voxels.astype(bool))
