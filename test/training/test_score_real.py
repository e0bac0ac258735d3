"""Scores of real drives, with a stub for the model."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from occ_core.taxonomy import CLASS_ID
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.figures.confusion import draw_confusion
from training.score_real import score_labelled_scans


class RoadEverywhere:
    """An engine that answers "road" for every voxel, and counts its resets."""

    def __init__(self) -> None:
        config = SimpleNamespace(grid=SURROUNDOCC_GRID, image_size=(32, 64))
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


def test_the_confusion_picture_is_written(tmp_path: Path) -> None:
    confusion = np.zeros((17, 17), dtype=np.int64)
    confusion[CLASS_ID["car"], CLASS_ID["truck"]] = 3
    draw_confusion(confusion, tmp_path / "new" / "confusion.png")
    assert (tmp_path / "new" / "confusion.png").stat().st_size > 1000
