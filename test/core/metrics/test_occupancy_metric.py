"""Scores against sums done by hand."""

import math

import numpy as np
import pytest
import torch

from occ_core.geometry.boxes import Box
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import OCC3D, SEMANTIC_KITTI, SSCBENCH_KITTI_360, SURROUNDOCC
from occ_core.metrics.keyframe import car_point_accuracy, hit_recall, voxelise_points
from occ_core.metrics.occupancy import OccupancyScore, visible_only
from occ_core.taxonomy import CLASS_ID, CLASS_NAMES
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 4.0, 1.0, 1.0), 1.0)  # four voxels in a row


def grid(*ids: int) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.uint8)


def test_hand_computed_scores():
    #                  truth: barrier  barrier  bicycle  empty    empty    ignored
    truth = grid(1, 1, 2, 0, 0, 255)
    prediction = grid(1, 2, 2, 1, 0, 1)
    score = OccupancyScore(LabelSet(("empty", "barrier", "bicycle")))
    score.update(prediction, truth)
    scores = score.compute()
    # Occupied in both: 3; in either: 3 and the false barrier.
    assert scores["iou"] == pytest.approx(3 / 4)
    # Barrier: 1 hit, 1 missed, 1 false. Bicycle: 1 hit, 0 missed, 1 false.
    assert scores["per_class"] == {"barrier": pytest.approx(1 / 3), "bicycle": pytest.approx(1 / 2)}
    assert scores["miou"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_counts_are_summed_over_the_data_set_not_averaged():
    score = OccupancyScore()
    score.update(grid(4, 4, 4, 4), grid(4, 4, 4, 4))  # IoU of car in this frame: 4 / 4
    score.update(grid(0), grid(4))  # in this one: 0 / 1
    assert score.compute()["per_class"]["car"] == pytest.approx(4 / 5)
    assert score.compute()["iou"] == pytest.approx(4 / 5)


def test_a_class_that_never_occurs_is_nan_and_left_out():
    score = OccupancyScore()
    score.update(grid(4, 0), grid(4, 7))
    scores = score.compute()
    assert math.isnan(scores["per_class"]["bus"])
    assert scores["per_class"]["pedestrian"] == 0.0
    assert scores["miou"] == pytest.approx(0.5)  # car 1, pedestrian 0
    assert tuple(scores["per_class"]) == CLASS_NAMES[1:]


def test_nothing_counted_is_nan():
    scores = OccupancyScore().compute()
    assert math.isnan(scores["iou"]) and math.isnan(scores["miou"])
    score = OccupancyScore()
    score.update(grid(3, 3), grid(255, 255))
    assert score.confusion.sum() == 0


def test_confusions_of_processes_add_up():
    rng = torch.Generator().manual_seed(0)
    truth, prediction = (
        torch.randint(0, 17, (2, 8, 8, 4), generator=rng, dtype=torch.uint8) for _ in range(2)
    )
    whole, halves = OccupancyScore(), [OccupancyScore(), OccupancyScore()]
    whole.update(prediction, truth)
    for half, p, t in zip(halves, prediction, truth, strict=True):
        half.update(p, t)
    halves[0].confusion += halves[1].confusion
    assert halves[0].compute() == whole.compute()


def test_wrong_ids_and_shapes_are_refused():
    score = OccupancyScore()
    with pytest.raises(
        ValueError, match="prediction holds class ids from 17 to 17, expected 0 to 16"
    ):
        score.update(grid(17), grid(0))
    with pytest.raises(ValueError, match="truth holds class ids from 99 to 99"):
        score.update(grid(1), grid(99))
    with pytest.raises(ValueError, match="the same shape"):
        score.update(grid(1, 2), grid(1))
    with pytest.raises(ValueError, match="2 to 255 classes"):
        LabelSet(("empty",))
    with pytest.raises(ValueError, match="empty = 2"):
        LabelSet(("empty", "car"), empty=2)


def test_occ3d_counts_others_and_has_free_last():
    """Free is 17 and "others" 0; the camera did not see the fifth voxel."""
    #            others  car  free  free  unseen
    truth = grid(0, 4, 17, 17, 4)
    prediction = grid(0, 0, 17, 4, 17)
    score = OccupancyScore(OCC3D)
    score.update(prediction, visible_only(truth, torch.tensor([True, True, True, True, False])))
    scores = score.compute()
    # Others: 1 hit, 1 false -> 1/2; car: 1 missed, 1 false -> 0. Occupied in both: 2, in either: 3.
    assert scores["per_class"]["others"] == 0.5 and scores["per_class"]["car"] == 0.0
    assert scores["miou"] == pytest.approx(1 / 4) and scores["iou"] == pytest.approx(2 / 3)
    assert "free" not in scores["per_class"] and len(scores["per_class"]) == 17


@pytest.mark.parametrize(
    ("labels", "classes", "some"),
    [
        (SURROUNDOCC, 16, {4: "car", 11: "driveable_surface", 16: "vegetation"}),
        (
            SEMANTIC_KITTI,
            19,
            {1: "car", 7: "bicyclist", 9: "road", 13: "building", 16: "trunk", 19: "traffic-sign"},
        ),
        (
            SSCBENCH_KITTI_360,
            18,
            {1: "car", 7: "road", 11: "building", 14: "terrain", 18: "other-object"},
        ),
    ],
)
def test_the_benchmarks_classes_have_their_ids(
    labels: LabelSet, classes: int, some: dict[int, str]
):
    assert (
        len(labels.occupied) == len(set(labels.names)) - 1 == classes
        and labels.names[labels.empty] == "empty"
    )
    assert {label: labels.names[label] for label in some} == some


def test_voxelised_points():
    points = np.array(
        [[0.5, 0.5, 0.5], [0.6, 0.5, 0.5], [3.9, 0.1, 0.1], [9, 0, 0], [-0.1, 0.5, 0.5]]
    )
    assert voxelise_points(points, GRID)[:, 0, 0].tolist() == [True, False, False, True]


def test_hit_recall_counts_each_voxel_once():
    points = np.array([[0.5, 0.5, 0.5]] * 5 + [[1.5, 0.5, 0.5], [2.5, 0.5, 0.5], [9, 9, 9]])
    prediction = np.array([4, 0, 11, 16], dtype=np.uint8).reshape(GRID.shape)
    # Hit: voxels 0, 1, 2. Occupied of these: 0 and 2.
    assert hit_recall(prediction, points, GRID) == pytest.approx(2 / 3)
    assert math.isnan(hit_recall(prediction, np.zeros((0, 3)), GRID))


def a_box(center_x: float, class_name: str) -> Box:
    """A 1 m cube around (x, 0.5, 0.5)."""
    return Box(
        center=np.array([center_x, 0.5, 0.5]),
        size_wlh=np.ones(3),
        rotation=np.eye(3),
        velocity=np.zeros(3),
        category=class_name,
        class_id=CLASS_ID[class_name],
        num_lidar_pts=0,
        instance_token="",
    )


def test_car_point_accuracy():
    points = np.array(
        [[0.5, 0.5, 0.5]] * 6
        + [[1.5, 0.5, 0.5]] * 9
        + [[2.5, 0.5, 0.5]] * 4
        + [[3.5, 0.5, 0.5]] * 7
    )
    boxes = [a_box(0.5, "car"), a_box(1.5, "bus"), a_box(2.5, "truck"), a_box(3.5, "pedestrian")]
    prediction = np.array([10, 16, 4, 4], dtype=np.uint8).reshape(GRID.shape)
    # The truck has only 4 points, and the pedestrian is not a vehicle. Car: 6 points predicted
    # truck, right; bus: 9 predicted vegetation, wrong.
    assert car_point_accuracy(prediction, points, boxes, GRID) == pytest.approx(6 / 15)
    # Overlapping boxes do not count a point twice.
    assert car_point_accuracy(
        prediction, points, [*boxes, a_box(0.5, "truck")], GRID
    ) == pytest.approx(6 / 15)
    assert math.isnan(car_point_accuracy(prediction, points, boxes[2:], GRID))


def test_a_prediction_of_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"must have shape \[4, 1, 1\], got \[2, 1, 1\]"):
        hit_recall(np.zeros((2, 1, 1)), np.zeros((1, 3)), GRID)


def test_only_what_was_in_view_counts():
    """Two of four voxels are right and in view, one is wrong and in view, one is wrong and out of
    view: the IoU is 2 / 3 instead of 2 / 4.
    """
    truth = torch.tensor([4, 4, 4, 4], dtype=torch.uint8)
    prediction = torch.tensor([4, 4, 0, 0], dtype=torch.uint8)
    score, in_view = OccupancyScore(), OccupancyScore()
    score.update(prediction, truth)
    in_view.update(prediction, visible_only(truth, torch.tensor([True, True, True, False])))
    assert score.compute()["iou"] == 2 / 4 and in_view.compute()["iou"] == 2 / 3
