"""Tables of scores by region, of the probe, and of sensors' worth."""

import json
from pathlib import Path
from typing import Any

from training.results.statistics import summarise
from training.results.yardstick_tables import (
    class_scores_table,
    ground_table,
    probe_table,
    real_table,
    regions_table,
    worth_table,
)


def region(miou: float) -> dict[str, Any]:
    both = {"iou": 0.5, "miou": miou}
    return both | {
        "vehicle": {"iou": 0.25, "precision": 0.5, "recall": None},
        "by_range": {"0-12.5": both},
        "by_weather": {"night": both},
        "classes": {"traffic_cone": {"iou": 0.125, "precision": 0.5, "recall": float("nan")}},
        "ground_as": {"sidewalk": {"empty": 0.25, "sidewalk": 0.5, "terrain": 0.125, "car": 0.125}},
    }


def scores(miou: float) -> dict[str, Any]:
    return {"frames": 3, "ray_iou": 0.75, **region(miou), "camera_mask": region(2 * miou)}


def test_conditions_stand_side_by_side() -> None:
    table = regions_table({"all_sensors": scores(0.4), "one_sweep": scores(0.2)}).splitlines()
    assert table[0] == "| % | all sensors | one sweep |"
    assert "| RayIoU | 75.0 | 75.0 |" in table
    assert "| whole grid: mIoU, 0-12.5 m | 40.0 | 20.0 |" in table
    assert "| camera mask: mIoU, night | 80.0 | 40.0 |" in table
    assert "| whole grid: vehicle IoU | 25.0 | 25.0 |" in table
    assert "| camera mask: vehicle recall | – | – |" in table


def test_data_without_masks_have_no_camera_mask() -> None:
    without = {name: value for name, value in scores(0.4).items() if name != "camera_mask"}
    assert "camera mask" not in regions_table({"all_sensors": without})
    assert class_scores_table(without).splitlines()[0] == "| % | IoU | precision | recall |"


def test_classes_show_iou_precision_and_recall() -> None:
    assert class_scores_table(scores(0.4)).splitlines()[2:] == [
        "| traffic cone | 12.5 | 50.0 | – | 12.5 |"
    ]


def test_what_is_no_ground_is_summed() -> None:
    head, _, row = ground_table(scores(0.4)).splitlines()
    assert head == (
        "| truth, % | missed | driveable surface | other flat | sidewalk | terrain | another |"
    )
    # 1 - 0.25 - 0.5 - 0.125 are called a car
    assert row == "| sidewalk | 25.0 | 0.0 | 0.0 | 50.0 | 12.5 | 12.5 |"


def test_the_probe_shows_a_row_for_each_kind_of_feature() -> None:
    image = {"miou": 0.2, "miou_beyond_20m": 0.1, "accuracy": 0.5, "miou_trained_on": 0.25}
    assert probe_table({"features": {"fused_and_image": image}}).splitlines()[2:] == [
        "| fused and image | 20.0 | 10.0 | 50.0 | 25.0 |"
    ]


def test_worth_shows_both_sides_and_their_difference() -> None:
    # differences 0.1 and 0.2: mean 0.15, standard error sqrt(0.005) / sqrt(2) = 0.05
    sides = {
        "with": summarise([0.4, 0.6]),
        "without": summarise([0.3, 0.4]),
        "worth": summarise([0.1, 0.2]),
    }
    assert worth_table({"worth": {"cameras": {"one_sweep_miou": sides}}}).splitlines() == [
        "| % | trained without cameras | trained with cameras | difference |",
        "| --- | --- | --- | --- |",
        "| one sweep mIoU | 35.0 | 50.0 | +15.00 ± 5.00 |",
    ]


def test_real_drives_stand_side_by_side(tmp_path: Path) -> None:
    labelled = {
        "point_miou": 0.25,
        "accuracy": 0.5,
        "recall_as": {"car": {"car": 0.75, "bus": 0.25}, "bus": {"car": 1.0}},
    }
    boxes = {"exact_class_in_boxes": {"car": {"accuracy": 0.5, "points": 8}}}
    both = {"frames": 2, "vehicle_precision": 0.125, "vehicle_recall": 0.5, "hit_recall": 1.0}
    for name, scores in (("semantic_kitti", labelled), ("nuscenes", boxes), ("ddad", boxes)):
        (tmp_path / "real").mkdir(exist_ok=True)
        (tmp_path / "real" / f"{name}.json").write_text(json.dumps(scores | both))
    table = real_table(tmp_path).splitlines()
    assert "| point mIoU | 25.0 | – | – |" in table
    assert "| vehicle precision | 12.5 | 12.5 | 12.5 |" in table
    assert "| bus, right | 0.0 | – | – |" in table
    assert "| car, right | 75.0 | 50.0 | 50.0 |" in table
