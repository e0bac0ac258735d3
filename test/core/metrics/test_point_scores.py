"""Scores of LiDAR points, on a handful of points worked out by hand."""

import math

import numpy as np
import pytest

from occ_core.geometry.boxes import Box
from occ_core.metrics.point_scores import BoxPointScore, LabelledPointScore
from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 8.0, 2.0, 2.0), 2.0)  # four voxels along x
CAR, TRUCK, ROAD = (CLASS_ID[name] for name in ("car", "truck", "driveable_surface"))
CENTRES = np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [5.0, 1.0, 1.0], [7.0, 1.0, 1.0]])


def prediction(*classes: int) -> np.ndarray:
    """One class per voxel along x, from x = 0 on."""
    return np.array(classes, dtype=np.uint8).reshape(GRID.shape)


def box(name: str, centre_x_m: float, points: int = 5) -> Box:
    """A box of 1 m length around x, wide and high enough for all points."""
    return Box(
        center=np.array([centre_x_m, 1.0, 1.0]),
        size_wlh=np.array([4.0, 1.0, 4.0]),
        rotation=np.eye(3),
        velocity=np.full(3, np.nan),
        category=f"vehicle.{name}",
        class_id=CLASS_ID[name],
        num_lidar_pts=points,
        instance_token=name,
    )


def test_labelled_points_are_counted_by_the_class_of_their_voxel() -> None:
    score = LabelledPointScore(GRID)
    points = np.concatenate([CENTRES, [[9.0, 1.0, 1.0]], CENTRES[:1]])
    # truth: car, car, road, road; one point outside the grid; one without a class
    classes = np.array([CAR, CAR, ROAD, ROAD, CAR, 0], dtype=np.uint8)
    score.update(prediction(CAR, TRUCK, ROAD, 0), points, classes)
    scores = score.compute()
    # car: 1 hit of 2 true and 1 predicted, union 2; road: 1 hit, union 2
    assert scores["per_class"] == {"car": 0.5, "driveable_surface": 0.5}
    assert scores["point_miou"] == 0.5
    assert scores["accuracy"] == 2 / 4
    assert scores["hit_recall"] == 3 / 4  # the last road point lies in an empty voxel
    assert scores["vehicle_precision"] == 1.0  # predicted car, truck; both are true cars
    assert scores["vehicle_recall"] == 1.0
    assert scores["recall_as"]["car"] == {"car": 0.5, "truck": 0.5}
    assert scores["recall_as"]["driveable_surface"] == {"empty": 0.5, "driveable_surface": 0.5}


def test_a_model_that_calls_everything_a_truck_has_low_precision() -> None:
    score = LabelledPointScore(GRID)
    classes = np.array([CAR, ROAD, ROAD, ROAD], dtype=np.uint8)
    score.update(prediction(TRUCK, TRUCK, TRUCK, TRUCK), CENTRES, classes)
    scores = score.compute()
    assert scores["vehicle_recall"] == 1.0
    assert scores["vehicle_precision"] == 1 / 4
    assert scores["point_miou"] == 0.0


def test_nothing_counted_is_not_a_number() -> None:
    scores = LabelledPointScore(GRID).compute()
    assert math.isnan(scores["point_miou"]) and math.isnan(scores["accuracy"])
    assert math.isnan(BoxPointScore(GRID).compute()["vehicle_precision"])


def test_boxes_grow_for_precision_and_not_for_their_class() -> None:
    score = BoxPointScore(GRID)
    # The car's box spans 2.5 to 3.5 m along x, grown 2.0 to 4.0 m.
    x_m = [2.2, 2.6, 2.8, 3.0, 3.2, 3.4, 5.0, 7.0]
    points = np.array([[x, 1.0, 1.0] for x in x_m])
    score.update(prediction(0, CAR, TRUCK, 0), points, [box("car", 3.0)])
    scores = score.compute()
    assert scores["exact_class_in_boxes"] == {"car": {"accuracy": 1.0, "points": 5}}
    assert scores["vehicle_precision"] == 6 / 7  # six in the grown box, one truck at 5 m
    assert scores["vehicle_recall"] == 1.0
    assert scores["hit_recall"] == 7 / 8
    assert score.confusion[CAR, CAR] == score.confusion.sum() == 5


@pytest.mark.parametrize(("points", "judged"), [(4, False), (5, True)])
def test_boxes_with_few_points_are_not_judged(points: int, judged: bool) -> None:
    score = BoxPointScore(GRID)
    xyz_m = np.tile([[3.0, 1.0, 1.0]], (points, 1))
    score.update(prediction(0, CAR, 0, 0), xyz_m, [box("car", 3.0)])
    assert bool(score.compute()["exact_class_in_boxes"]) is judged


def test_vehicles_beyond_the_range_do_not_count() -> None:
    grid = VoxelGrid((0.0, 0.0, 0.0, 50.0, 2.0, 2.0), 2.0)
    score = BoxPointScore(grid)
    labels = np.full(grid.shape, CAR, dtype=np.uint8)
    score.update(labels, np.array([[39.0, 1.0, 1.0], [41.0, 1.0, 1.0]]), [])
    # only the nearer of two points that are predicted a vehicle counts, and it lies in no box
    assert score.compute()["vehicle_precision"] == 0.0
    assert math.isnan(score.compute()["vehicle_recall"])
