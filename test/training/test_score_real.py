"""Scores of real drives, with a stub for the model."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from occ_core.datasets.frames import NuScenesFrames
from occ_core.taxonomy import CLASS_ID
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.figures.confusion import draw_confusion
from training.score_real import score_keyframes, score_labelled_scans


class RoadEverywhere:
    """An engine that answers "road" for every voxel, and counts its resets."""

    def __init__(self) -> None:
        config = SimpleNamespace(grid=SURROUNDOCC_GRID, image_size=(32, 64), camera=True)
        self.model = SimpleNamespace(config=config)
        self.resets = 0

    def step(self, frame: Frame) -> Any:
        labels = torch.full((1, *SURROUNDOCC_GRID.shape), CLASS_ID["driveable_surface"])
        return SimpleNamespace(labels=labels.to(torch.uint8))

    def reset(self, reason: str) -> None:
        self.resets += 1


def test_road_everywhere_scores_the_share_of_road(real_data: Path) -> None:
    folder = real_data.parent / "semantickitti"
    if not folder.is_dir():
        pytest.skip(f"no SemanticKITTI at {folder}")
    engine = RoadEverywhere()
    scores = score_labelled_scans(engine, folder, every=5)  # type: ignore[arg-type]
    assert scores["frames"] == 4  # scans 0 and 5 of two sequences
    assert engine.resets == 2
    assert scores["hit_recall"] == 1.0
    # every point is called road: the accuracy is road's share of the points, which is its IoU too
    assert scores["accuracy"] == pytest.approx(scores["per_class"]["driveable_surface"])
    others = [iou for name, iou in scores["per_class"].items() if name != "driveable_surface"]
    assert others and not any(others)
    json.dumps(scores)


@pytest.fixture
def blank_keyframes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank pictures of keyframes: drawing takes longer than everything else."""
    blank = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr("training.figures.keyframe.keyframe_picture", lambda *_, **__: blank)


@pytest.mark.usefixtures("blank_keyframes")
def test_keyframes_with_lidarseg_are_scored_by_boxes_and_by_points(
    box_town: Path, tmp_path: Path
) -> None:
    frames = NuScenesFrames(box_town, image_size=(32, 64), sweeps=1)
    engine = RoadEverywhere()
    scores = score_keyframes(engine, frames, tmp_path)  # type: ignore[arg-type]
    assert scores["frames"] == 6 and engine.resets == 3
    assert scores["exact_class_in_boxes"]["car"]["accuracy"] == 0.0
    assert scores["vehicle_recall"] == 0.0 and scores["hit_recall"] == 1.0
    # every point is called road, so that the accuracy is the share of road
    classes = np.concatenate([keyframe.read_lidarseg() for keyframe in frames.keyframes])
    points = np.concatenate([keyframe.lidar.read()[:, :3] for keyframe in frames.keyframes])
    _, inside = SURROUNDOCC_GRID.numpy_index(points)
    counted = classes[inside & (classes > 0)]
    assert scores["accuracy"] == (counted == CLASS_ID["driveable_surface"]).mean()
    assert len(list(tmp_path.glob("0*.png"))) == 6
    assert (tmp_path / "confusion.png").stat().st_size > 1000


@pytest.mark.usefixtures("blank_keyframes")
def test_keyframes_without_lidarseg_are_scored_by_boxes_alone(
    box_town: Path, tmp_path: Path
) -> None:
    data = tmp_path / "boxes"
    shutil.copytree(box_town, data)
    (data / "v1.0-town" / "lidarseg.json").unlink()
    frames = NuScenesFrames(data, image_size=(32, 64), sweeps=0)
    scores = score_keyframes(RoadEverywhere(), frames, tmp_path)  # type: ignore[arg-type]
    assert scores.keys() == {
        "frames",
        "skipped",
        "vehicle_precision",
        "vehicle_recall",
        "hit_recall",
        "exact_class_in_boxes",
    }
    assert (tmp_path / "confusion.png").stat().st_size > 1000  # of the points in boxes


def test_the_confusion_picture_is_written(tmp_path: Path) -> None:
    confusion = np.zeros((17, 17), dtype=np.int64)
    confusion[CLASS_ID["car"], CLASS_ID["truck"]] = 3
    draw_confusion(confusion, tmp_path / "new" / "confusion.png")
    assert (tmp_path / "new" / "confusion.png").stat().st_size > 1000
