"""Each benchmark's counting, on confusions ``[truth, prediction]`` that can be added by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from occ_core.labels.sets import OCC3D
from occ_core.metrics import OCC3D as PUBLIC_OCC3D
from occ_core.metrics import OccupancyScore, visible_only
from occ_core.metrics.protocols import PROTOCOLS, official_scores


def scores(name: str, *cells: tuple[int, int, int]) -> dict[str, Any]:
    """The official scores of ``(true id, predicted id, voxels)``."""
    classes = len(PROTOCOLS[name].benchmark.labels.names)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for true, predicted, voxels in cells:
        confusion[true, predicted] += voxels
    return official_scores(confusion, PROTOCOLS[name])


ALL_16 = [(label, label, 3) for label in range(1, 17)]


def test_every_benchmark_has_a_protocol_with_notes():
    assert set(PROTOCOLS) == {"surroundocc", "occ3d", "openoccupancy", "semantic_kitti", "kitti360"}
    assert all(len(protocol.notes) >= 4 for protocol in PROTOCOLS.values())
    assert PUBLIC_OCC3D is OCC3D


def test_surroundocc_counts_false_positives_in_empty_space():
    """16 classes with 3 hits each, and 3 voxels of empty space predicted as cars: the car's IoU is
    3 / (3 + 3) = 1/2, the mean (15 + 1/2) / 16 = 0.96875. Of 48 + 3 occupied voxels on either side
    48 are so on both: 48 / 51.
    """
    found = scores("surroundocc", *ALL_16, (0, 4, 3), (0, 0, 1000))
    assert found["per_class"]["car"] == 1 / 2 and found["miou"] == 0.96875
    assert found["iou"] == 48 / 51 and found["unit"] == "fraction"
    assert "precision" not in found


def test_surroundocc_and_openoccupancy_have_no_mean_without_every_class():
    for name in ("surroundocc", "openoccupancy"):
        found = scores(name, *ALL_16[1:], (0, 0, 9))
        assert math.isnan(found["per_class"]["barrier"]) and math.isnan(found["miou"])
        assert found["per_class"]["car"] == 1.0 and found["iou"] == 1.0


def test_openoccupancy_rounds_to_three_decimals():
    """Car: 1 of 3, 0.333; the mean (15 + 1/3) / 16 = 0.958333; IoU 46 / 48 = 0.958333."""
    cells = [cell for cell in ALL_16 if cell[0] != 4]
    found = scores("openoccupancy", *cells, (4, 4, 1), (4, 0, 2), (0, 0, 5))
    assert found["per_class"]["car"] == 0.333
    assert found["miou"] == 0.958 and found["iou"] == 0.958


def test_occ3d_counts_others_leaves_out_the_absent_and_prints_percent():
    """Others (0): 1 hit, 1 taken for a car: 1 / 2. Car (4): 2 hits, 1 false: 2 / 3. Free (17) has
    no part in the mean of the two: 7 / 12 = 58.33 %; the 15 others occur nowhere.
    """
    found = scores("occ3d", (0, 0, 1), (0, 4, 1), (4, 4, 2), (17, 17, 50))
    assert found["per_class"]["others"] == 50.0 and found["per_class"]["car"] == 66.67
    assert found["miou"] == 58.33 and found["unit"] == "percent"
    assert "iou" not in found and "free" not in found["per_class"]


def test_occ3d_a_class_only_predicted_counts_as_zero():
    """As in the challenge's code; SparseOcc's copy leaves such a class out. Car 1, bus 0: 50 %."""
    found = scores("occ3d", (4, 4, 1), (17, 3, 1), (17, 17, 9))
    assert found["per_class"]["bus"] == 0.0 and found["miou"] == 50.0


def test_occ3d_is_scored_where_a_camera_sees():
    """Two cars right and seen, one missed and hidden: 2 / 2 with the mask, 2 / 3 without."""
    truth = np.array([4, 4, 4], dtype=np.uint8)
    prediction = np.array([4, 4, 17], dtype=np.uint8)
    seen = torch.tensor([True, True, False])
    masked, whole = OccupancyScore(OCC3D), OccupancyScore(OCC3D)
    masked.update(prediction, visible_only(torch.from_numpy(truth), seen))
    whole.update(prediction, truth)
    assert official_scores(masked.confusion, PROTOCOLS["occ3d"])["miou"] == 100.0
    assert official_scores(whole.confusion, PROTOCOLS["occ3d"])["miou"] == 66.67


def test_semantic_kitti_counts_an_absent_class_as_zero():
    """Car: 3 hits, 3 missed, 1 false: 3 / 7 = 0.429. Truck: never right. The other 17 classes occur
    nowhere. The mean is 3 / 7 / 19 = 2.26 %.

    Of the occupied voxels, 5 are predicted and 4 of them are so (a car taken for a truck among
    them), of 6 that are true: precision 80 %, recall 66.67 %, IoU 4 / (5 + 6 - 4) = 57.14 %.
    """
    found = scores("semantic_kitti", (1, 1, 3), (1, 4, 1), (1, 0, 2), (0, 1, 1), (0, 0, 90))
    assert found["per_class"]["car"] == 0.429 and found["per_class"]["road"] == 0.0
    assert found["miou"] == 2.26
    assert found["precision"] == 80.0 and found["recall"] == 66.67 and found["iou"] == 57.14


def test_kitti_360_adds_an_epsilon_and_prints_four_decimals():
    """Car: 1 / (3 + 1e-5) = 33.3332 %; over 18 classes 1.8518 %. Geometry: 1 of 3 voxels."""
    found = scores("kitti360", (1, 1, 1), (1, 0, 2), (0, 0, 7))
    assert found["per_class"]["car"] == 33.3332 and found["miou"] == 1.8518
    assert (found["iou"], found["precision"], found["recall"]) == (33.3333, 100.0, 33.3333)
    nothing = scores("kitti360", (1, 0, 2), (0, 0, 7))
    assert (nothing["iou"], nothing["precision"], nothing["recall"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_nothing_counted_divides_by_nothing(name: str):
    found = scores(name)
    absent = PROTOCOLS[name].benchmark.labels.absent
    assert found["miou"] == 0.0 if absent == "zero" else math.isnan(found["miou"])


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="'occ3d' must be 18 x 18, got 17 x 17"):
        official_scores(np.zeros((17, 17)), PROTOCOLS["occ3d"])


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_the_score_of_a_label_set_is_the_protocol_s_unrounded(name: str):
    """Every class occurs: the rules for absent ones, and the rounding, make no difference."""
    labels = PROTOCOLS[name].benchmark.labels
    truth = np.arange(len(labels.names)).repeat(40).astype(np.uint8)
    prediction = np.roll(truth, 7)
    score = OccupancyScore(labels)
    score.update(prediction, truth)
    official = official_scores(score.confusion, PROTOCOLS[name])
    unit = 100 if PROTOCOLS[name].percent else 1
    assert score.compute()["miou"] * unit == pytest.approx(official["miou"], abs=5e-3 * unit)
