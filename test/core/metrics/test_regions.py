"""Scores by region, on single voxels and against ``OccupancyScore`` on random grids."""

import math

import pytest
import torch
from torch import Tensor

from occ_core.metrics import OccupancyScore, visible_only
from occ_core.metrics.regions import RegionScore
from occ_core.taxonomy import CLASS_ID, EMPTY, IGNORE
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-50.0, -50.0, 0.0, 50.0, 50.0, 12.5), 12.5)  # 8 x 8 x 1 voxels
CAR, TRUCK = CLASS_ID["car"], CLASS_ID["truck"]


def empty() -> Tensor:
    return torch.full(GRID.shape, EMPTY, dtype=torch.uint8)


def test_the_range_is_the_larger_of_x_and_y() -> None:
    score = RegionScore(GRID)
    truth, prediction = empty(), empty()
    # centres (6.25, -6.25), (-6.25, 31.25) and (43.75, 18.75): first, third and fourth range
    truth[4, 3, 0] = truth[3, 6, 0] = truth[7, 5, 0] = CAR
    prediction[4, 3, 0], prediction[3, 6, 0] = CAR, TRUCK
    score.update(prediction, truth, None, "rain")
    scores = score.compute()
    by_range = scores["by_range"]
    assert list(by_range) == ["0-12.5", "12.5-25", "25-37.5", "37.5-50"]
    assert by_range["0-12.5"] == {"iou": 1.0, "miou": 1.0}
    assert math.isnan(by_range["12.5-25"]["iou"])
    assert by_range["25-37.5"] == {"iou": 1.0, "miou": 0.0}  # occupied, by the wrong class
    assert by_range["37.5-50"] == {"iou": 0.0, "miou": 0.0}
    assert scores["iou"] == 2 / 3 and scores["vehicle"]["iou"] == 2 / 3
    # car: 1 hit of 3 true; truck: never right
    assert scores["miou"] == pytest.approx((1 / 3 + 0) / 2)
    assert scores["by_weather"] == {"rain": {"iou": scores["iou"], "miou": scores["miou"]}}
    assert "camera_mask" not in scores


def test_the_camera_mask_leaves_out_what_no_camera_sees() -> None:
    score = RegionScore(GRID)
    truth, prediction, seen = empty(), empty(), torch.zeros(GRID.shape, dtype=torch.bool)
    truth[4, 4, 0] = truth[0, 0, 0] = CAR
    prediction[4, 4, 0] = CAR
    seen[4, 4, 0] = True
    score.update(prediction, truth, seen, "clear")
    scores = score.compute()
    assert scores["iou"] == 1 / 2 and scores["camera_mask"]["iou"] == 1.0
    assert scores["camera_mask"]["classes"]["car"]["recall"] == 1.0


def test_every_region_agrees_with_a_score_of_that_region_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    regions, whole, seen = RegionScore(GRID), OccupancyScore(), OccupancyScore()
    by_weather = {"clear": OccupancyScore(), "night": OccupancyScore()}
    for weather in ("clear", "night", "clear"):
        truth, prediction = (
            torch.randint(0, 17, GRID.shape, generator=generator, dtype=torch.uint8)
            for _ in range(2)
        )
        truth[torch.rand(GRID.shape, generator=generator) < 0.1] = IGNORE
        mask = torch.rand(GRID.shape, generator=generator) < 0.5
        regions.update(prediction, truth, mask, weather)
        whole.update(prediction, truth)
        by_weather[weather].update(prediction, truth)
        seen.update(prediction, visible_only(truth, mask))
    scores = regions.compute()
    for part, expected in ((scores, whole), (scores["camera_mask"], seen)):
        assert part["miou"] == expected.compute()["miou"]
        assert part["iou"] == expected.compute()["iou"]
        ious = {name: each["iou"] for name, each in part["classes"].items()}
        assert ious == pytest.approx(expected.compute()["per_class"], nan_ok=True)
    for weather, expected in by_weather.items():
        assert scores["by_weather"][weather]["miou"] == expected.compute()["miou"]


def test_wrong_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="prediction holds class ids from 17 to 17"):
        RegionScore(GRID).update(empty() + 17, empty(), None, "clear")


def test_nothing_counted_is_not_a_number() -> None:
    scores = RegionScore(GRID).compute()
    assert math.isnan(scores["iou"]) and math.isnan(scores["by_range"]["0-12.5"]["miou"])
    assert scores["by_weather"] == {}
