import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.taxonomy import CLASS_ID, EMPTY, IGNORE
from occ_core.types import Frame, Occupancy
from training.evaluate import EvaluateConfig, evaluate, main, score_frames


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model(debug()), {"command": "none", "seed": 0})
    return path


class CarsEverywhere:
    """An engine that predicts a car in every voxel."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self, reason: str) -> None:
        self.resets += 1

    def step(self, frame: Frame) -> Occupancy:
        grid = debug().grid
        labels = torch.full((1, *grid.shape), CLASS_ID["car"], dtype=torch.uint8)
        return Occupancy(labels, torch.ones(labels.shape), grid, frame.stamp_ns, "lidar")


def test_surroundocc_scores(
    checkpoint: Path, box_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blank = np.zeros((8, 8, 3), np.uint8)  # drawing takes longer than everything else
    monkeypatch.setattr("training.figures.keyframe.keyframe_picture", lambda *_, **__: blank)
    scores = evaluate(
        EvaluateConfig(data=box_town, checkpoint=checkpoint, pictures=tmp_path / "pictures")
    )
    assert scores["frames"] == 6 and len(list((tmp_path / "pictures").glob("*.png"))) == 6
    assert 0 <= scores["iou"] <= 1 and set(scores["per_class"]) >= {"car", "driveable_surface"}
    assert scores["iou_over_lidar"] == pytest.approx(scores["iou"] / scores["lidar_iou"])
    assert 0 < scores["lidar_iou"] < 1
    assert 0 <= scores["flicker"] <= 1 and 0 <= scores["ray_iou"] <= 1
    for part in (scores, scores["visible"]):
        assert 0 <= part["bev"]["iou"] <= 1 and 0 <= part["image"]["miou"] <= 1
        assert part["depth_l1_m"] >= 0
    assert scores["visible"].keys() == {"iou", "miou", "bev", "image", "depth_l1_m"}
    overall = {"iou": scores["iou"], "miou": scores["miou"]}
    assert list(scores["by_range"]) == ["25", "50", "100"]
    assert scores["by_range"]["100"] == overall  # the whole grid
    assert list(scores["by_weather"]) == ["clear"]  # the weather of all box drives
    assert str(scores["by_weather"]["clear"]) == str(overall)


def test_visible_voxels_are_scored_separately(box_town: Path, tmp_path: Path):
    """Where everything is predicted occupied, the IoU is the occupied fraction of known voxels."""
    frames = NuScenesFrames(box_town, None, None, debug().image_size, 0, debug().grid)
    known, occupied = torch.zeros(2), torch.zeros(2)  # of all voxels, of the visible ones
    for index in range(len(frames)):
        labels = frames.labels(index)
        for row, mask in enumerate((torch.ones_like(labels, dtype=bool), frames.visible(index))):
            known[row] += (mask & (labels != IGNORE)).sum()
            occupied[row] += (mask & (labels != IGNORE) & (labels != EMPTY)).sum()
    assert 0 < known[1] < known[0]
    engine = CarsEverywhere()
    scores = score_frames(engine, frames, range(len(frames)))
    assert scores["iou"] == pytest.approx((occupied / known)[0].item())
    assert scores["visible"]["iou"] == pytest.approx((occupied / known)[1].item())
    assert engine.resets == 3  # at the first keyframe of each drive

    data = tmp_path / "without_masks"
    shutil.copytree(box_town, data)
    shutil.rmtree(data / "nuscenes_occ" / "masks")
    frames = NuScenesFrames(data, None, None, debug().image_size, 0, debug().grid)
    without = score_frames(engine, frames, range(len(frames)))
    assert "visible" not in without and without["iou"] == scores["iou"]


def test_only_consecutive_keyframes_share_a_memory(box_town: Path):
    frames = NuScenesFrames(box_town, None, None, debug().image_size, 0, debug().grid)
    engine = CarsEverywhere()
    score_frames(engine, frames, [0, 1, 5])  # 0 and 1 are one drive, 5 is another
    assert engine.resets == 2
    score_frames(engine, frames, [1, 3])
    assert engine.resets == 4


def test_keyframe_scores_of_a_network_that_sees_cars_everywhere(checkpoint: Path, box_town: Path):
    """With a bias of 1000 for "car", every hit voxel is occupied and every vehicle point right."""
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint)
    for name in ("head.coarse.bias", "head.refine.3.bias"):
        weights[name][4] = 1000.0
    save_file(weights, checkpoint)
    scores = evaluate(EvaluateConfig(data=box_town, checkpoint=checkpoint, benchmark="keyframe"))
    assert scores == {"hit_recall": 1.0, "car_point_accuracy": 1.0, "frames": 6, "skipped": 0}


def test_command_line_writes_json(
    checkpoint: Path, box_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "deep" / "scores.json"
    arguments = [
        "--data",
        str(box_town),
        "--checkpoint",
        str(checkpoint),
        "--json",
        str(out),
        "--no-rendered",
    ]
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    main()
    assert {"iou", "miou", "per_class", "frames"} <= json.loads(out.read_text()).keys()


def test_errors_end_with_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "sys.argv",
        ["evaluate", "--data", str(tmp_path / "nowhere"), "--checkpoint", str(checkpoint)],
    )
    with pytest.raises(SystemExit, match="nowhere"):
        main()


@pytest.mark.parametrize("option", ["--json", "--write-predictions", "--pictures"])
def test_where_nothing_can_be_written_ends_with_one_line_before_the_work(
    option: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A path under a file; and for scores a folder, for folders a file."""
    (tmp_path / "file").touch()
    wrong = tmp_path if option == "--json" else tmp_path / "file"
    for path in (wrong, tmp_path / "file" / "new"):
        arguments = ["--data", "nowhere", "--checkpoint", str(checkpoint), option, str(path)]
        monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
        with pytest.raises(
            SystemExit, match=r"training\.evaluate: cannot write the f.*another path"
        ):
            main()


def test_real_keyframe_is_scored(checkpoint: Path, real_data: Path):
    scores = evaluate(
        replace(EvaluateConfig(data=real_data, checkpoint=checkpoint), benchmark="keyframe")
    )
    assert scores["frames"] == 1
    assert 0 <= scores["hit_recall"] <= 1 and 0 <= scores["car_point_accuracy"] <= 1


def test_preprocessing_scores_by_weather(box_town: Path, tmp_path: Path):
    scores = evaluate(EvaluateConfig(data=box_town, benchmark="preprocessing", pictures=tmp_path))
    assert scores["frames"] == 6 and len(list(tmp_path.glob("*.png"))) == 6
    assert scores["all"] == scores["clear"]  # the weather of all box drives
    assert scores["all"]["noise_recall"] is None  # without rain there is no noise
    assert scores["all"]["sky_recall"] > 0.4  # low, as the images are 64 pixels high
    assert scores["all"]["sky_false_positive"] < 0.02
    assert scores["all"]["surface_loss"] < 0.05


def test_preprocessing_without_true_sky_has_pictures_alone(box_town: Path, tmp_path: Path):
    data = tmp_path / "real"
    shutil.copytree(box_town, data)
    shutil.rmtree(data / "nuscenes_occ")
    config = EvaluateConfig(data=data, benchmark="preprocessing", pictures=tmp_path / "pictures")
    assert evaluate(config) == {"frames": 6, "skipped": 0}
    with pytest.raises(ValueError, match="real has no true sky masks, .* by --pictures"):
        evaluate(replace(config, pictures=None))


def test_scans_of_semantic_kitti_are_joined_over_the_time_of_the_sweeps(tmp_path, monkeypatch):
    (tmp_path / "sequences").mkdir()
    joined_s = []

    def score(*_: object, history_s: float, **__: object) -> dict:
        joined_s.append(history_s)
        return {}

    monkeypatch.setattr("training.evaluate.score_labelled_scans", score)
    for sweeps in (0, 9):
        evaluate(EvaluateConfig(data=tmp_path, benchmark="real", sweeps=sweeps))
    assert joined_s == [0, pytest.approx(9 / 20)]  # nuScenes' LiDAR turns 20 times a second
    with pytest.raises(ValueError, match="--sweeps must be 0 or more, got -1"):
        EvaluateConfig(sweeps=-1)
