"""Tables of scores by region, of the point probe, of sensors' worth and of real drives.

A score that nothing counted for is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from occ_core.metrics.confusion import GROUND
from occ_core.taxonomy import CLASS_NAMES
from training.results.result_tables import Column, markdown, plain, signed
from training.results.stored import load_json

REAL_DRIVES = {"semantic_kitti": "SemanticKITTI", "nuscenes": "nuScenes", "ddad": "DDAD"}
"""Real drives that were scored: file name and title."""
MEASURES = {"iou": "IoU", "precision": "precision", "recall": "recall"}


def percent(value: float | None) -> str:
    """A fraction in %."""
    return "–" if value is None or math.isnan(value) else plain(100 * value, 1)


def regions_table(conditions: Mapping[str, Any]) -> str:
    """Scores of the whole grid and of the camera mask, a column for every condition."""
    columns = [_regions(scores) for scores in conditions.values()]
    rows = [[title, *(percent(column[title]) for column in columns)] for title in columns[0]]
    return markdown(["%", *map(_words, conditions)], rows)


def class_scores_table(scores: Mapping[str, Any]) -> str:
    """IoU, precision and recall of every class in the whole grid, and IoU in the camera mask."""
    rows = [
        [_words(name), *(percent(each[measure]) for measure in MEASURES)]
        for name, each in scores["classes"].items()
    ]
    head = ["%", *MEASURES.values()]
    if "camera_mask" in scores:
        head.append("IoU, seen")
        for row, each in zip(rows, scores["camera_mask"]["classes"].values(), strict=True):
            row.append(percent(each["iou"]))
    return markdown(head, rows)


def ground_table(scores: Mapping[str, Any]) -> str:
    """What voxels of each ground class are predicted as, in the whole grid."""
    ground = [CLASS_NAMES[label] for label in GROUND]
    rows = []
    for name, predicted in scores["ground_as"].items():
        shares = [predicted.get(other, 0.0) for other in (CLASS_NAMES[0], *ground)]
        others = math.fsum(predicted.values()) - math.fsum(shares)
        rows.append([_words(name), *map(percent, [*shares, abs(others)])])
    return markdown(["truth, %", "missed", *map(_words, ground), "another"], rows)


def yardsticks_text(document: Mapping[str, Any]) -> str:
    """All tables of what ``python -m training.yardsticks`` measured."""
    conditions = document["conditions"]
    scores = next(iter(conditions.values()))
    tables = regions_table(conditions), class_scores_table(scores), ground_table(scores)
    return "\n\n".join(tables)


def probe_table(document: Mapping[str, Any]) -> str:
    """What each kind of feature knows about the classes of LiDAR points."""
    titles = {
        "miou": "mIoU",
        "miou_beyond_20m": "mIoU beyond 20 m",
        "accuracy": "accuracy",
        "miou_trained_on": "mIoU on the drives it was trained on",
    }
    rows = [
        [_words(name), *(percent(scores[key]) for key in titles)]
        for name, scores in document["features"].items()
    ]
    return markdown(["features, %", *titles.values()], rows)


def worth_table(document: Mapping[str, Any]) -> str:
    """What each sensor is worth: the difference in points, ± its standard error over the pairs."""
    sections = []
    for sensor, metrics in document["worth"].items():
        rows = [
            [
                _words(name),
                percent(sides["without"]["mean"]),
                percent(sides["with"]["mean"]),
                signed(sides["worth"], Column(name, name)),
            ]
            for name, sides in metrics.items()
        ]
        head = ["%", f"trained without {sensor}", f"trained with {sensor}", "difference"]
        sections.append(markdown(head, rows))
    return "\n\n".join(sections)


def yardsticks_table(results: Path) -> str:
    """The stored scores by region, and what becomes of the ground."""
    conditions = load_json(results / "yardsticks.json")["conditions"]
    ground = ground_table(next(iter(conditions.values())))
    return f"{regions_table(conditions)}\n\n{ground}"


def point_probe_table(results: Path) -> str:
    """The stored scores of the probe."""
    return probe_table(load_json(results / "point_probe.json"))


def real_table(results: Path) -> str:
    """Real drives side by side: scores of points, and the fraction of each class that is right."""
    drives = [load_json(results / "real" / f"{name}.json") for name in REAL_DRIVES]
    titles = {
        "point mIoU": "point_miou",
        "points of the right class": "accuracy",
        "vehicle precision": "vehicle_precision",
        "vehicle recall": "vehicle_recall",
        "points in voxels predicted occupied": "hit_recall",
    }
    rows = [
        [title, *(percent(scores.get(key)) for scores in drives)] for title, key in titles.items()
    ]
    right = [_right_by_class(scores) for scores in drives]
    for name in CLASS_NAMES:
        if any(name in each for each in right):
            rows.append([f"{_words(name)}, right", *(percent(each.get(name)) for each in right)])
    rows.append(["frames", *(str(scores["frames"]) for scores in drives)])
    return markdown(["%", *REAL_DRIVES.values()], rows)


def _right_by_class(scores: Mapping[str, Any]) -> dict[str, float]:
    """The fraction of each class's points that are predicted this class, labelled or in boxes."""
    if "recall_as" in scores:
        return {name: each.get(name, 0.0) for name, each in scores["recall_as"].items()}
    return {name: each["accuracy"] for name, each in scores["exact_class_in_boxes"].items()}


def _regions(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """Every score but those of single classes, by title; the whole grid comes first."""
    rows: dict[str, float | None] = {"RayIoU": scores["ray_iou"]}
    for name in ("whole grid", "camera mask"):
        part = scores if name == "whole grid" else scores.get("camera_mask")
        if part is None:
            continue
        rows |= {f"{name}: mIoU": part["miou"], f"{name}: IoU": part["iou"]}
        for measure, title in MEASURES.items():
            rows[f"{name}: vehicle {title}"] = part["vehicle"][measure]
        for group, unit in (("by_range", " m"), ("by_weather", "")):
            for key, each in part[group].items():
                rows[f"{name}: mIoU, {key}{unit}"] = each["miou"]
    return rows


def _words(key: str) -> str:
    """A key as words, with the usual capitals."""
    capitals = {"miou": "mIoU", "iou": "IoU", "lidar": "LiDAR"}
    return " ".join(capitals.get(word, word) for word in key.split("_"))
