"""``occ_offline --truth``: the scores of a bag's frames."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.surroundocc import label_path, write_labels
from occ_core.labels.sets import NUSCENES, SEMANTIC_KITTI
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.offline import OfflineConfig, main, run_offline
from occ_perception_ros.truth_scores import TruthScores

CAR, ROAD = 4, 11


@pytest.fixture
def labelled(small_drive: Path, tmp_path: Path) -> Path:
    """The drive with labels of its first two keyframes: 4 voxels of a car, 2 of road."""
    root = shutil.copytree(small_drive, tmp_path / "labelled")
    truth = np.zeros(SURROUNDOCC_GRID.shape, np.uint8)
    truth[10:14, 20, 5], truth[30:32, 20, 2] = CAR, ROAD
    for keyframe in NuScenes(root).keyframes()[:2]:
        write_labels(label_path(root, keyframe.lidar.path), truth)
    return root


def test_answers_are_scored_where_there_are_labels(labelled: Path) -> None:
    stamps_ns = [keyframe.stamp_ns for keyframe in NuScenes(labelled).keyframes()]
    answer = torch.zeros(SURROUNDOCC_GRID.shape, dtype=torch.uint8)
    answer[10:13, 20, 5], answer[50, 20, 5], answer[30:32, 20, 2] = CAR, CAR, ROAD
    scores = TruthScores(labelled, SURROUNDOCC_GRID, NUSCENES)
    assert scores.compute()["miou"] is None  # nothing was counted: null in JSON, not NaN
    for stamp_ns in (*stamps_ns, stamps_ns[0] + 1):  # no labels of the third; no such keyframe
        scores.update(stamp_ns, answer)
    result = scores.compute()
    assert result["frames"] == 2
    # Of each keyframe: 3 of 4 voxels of the car are hit and 1 beside it is wrong, 3 / (4 + 1);
    # all of the road; occupied are 6 in the truth, of which 5 are hit, and 1 wrong, 5 / 7.
    per_class = {name: iou for name, iou in result["per_class"].items() if iou is not None}
    assert per_class == {"car": pytest.approx(0.6), "driveable_surface": 1.0}
    assert result["miou"] == pytest.approx(0.8) and result["iou"] == pytest.approx(5 / 7)


def test_labels_of_other_classes_are_refused(labelled: Path) -> None:
    with pytest.raises(ValueError, match="labels of the set 'nuscenes', but the checkpoint"):
        TruthScores(labelled, SURROUNDOCC_GRID, SEMANTIC_KITTI)


def test_the_command_prints_the_scores_of_its_answers(
    labelled: Path,
    small_bag: Path,
    small_drive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = tmp_path / "debug.safetensors"
    save_checkpoint(checkpoint, build_model(debug()), {})
    out = tmp_path / "out"
    result = run_offline(
        OfflineConfig(bag=small_bag, checkpoint=checkpoint, truth=labelled, out=out)
    )
    expected = TruthScores(labelled, debug().grid, NUSCENES)
    for file in out.iterdir():
        answer = torch.from_numpy(np.load(file)["labels"])
        expected.update(int(file.stem), answer)
    assert expected.frames == 2 and result["scores"] == expected.compute()

    arguments = [str(small_bag), "--checkpoint", str(checkpoint), "--truth", str(small_drive)]
    monkeypatch.setattr(sys, "argv", ["occ_offline", *arguments])
    with pytest.raises(SystemExit, match="no frame of .* has labels in"):
        main()
    assert '"miou": null' in capsys.readouterr().out
