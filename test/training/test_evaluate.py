import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from training.evaluate import EvaluateConfig, evaluate, main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model(debug()), {"command": "none", "seed": 0})
    return path


def test_surroundocc_scores_and_the_lidar_beside_them(
    checkpoint: Path, box_town: Path, tmp_path: Path
):
    scores = evaluate(
        EvaluateConfig(data=box_town, checkpoint=checkpoint, pictures=tmp_path / "pictures")
    )
    assert scores["frames"] == 6 and len(list((tmp_path / "pictures").glob("*.png"))) == 6
    assert 0 <= scores["iou"] <= 1 and set(scores["per_class"]) >= {"car", "driveable_surface"}
    assert scores["iou_over_lidar"] == pytest.approx(scores["iou"] / scores["lidar_iou"])
    assert 0 < scores["lidar_iou"] < 1
    assert 0 <= scores["flicker"] <= 1 and 0 <= scores["ray_iou"] <= 1
    assert (
        0 <= scores["bev"]["iou"] <= 1
        and 0 <= scores["image"]["miou"] <= 1
        and scores["depth_l1_m"] > 0
    )
    assert list(scores["by_range"]) == ["25", "50", "100"]
    assert scores["by_range"]["100"] == {
        "iou": scores["iou"],
        "miou": scores["miou"],
    }  # the whole grid


def test_what_is_in_view_is_scored_by_itself(checkpoint: Path, box_town: Path, tmp_path: Path):
    scores = evaluate(EvaluateConfig(data=box_town, checkpoint=checkpoint))
    assert scores["visible"].keys() == {"iou", "miou", "bev", "image", "depth_l1_m"}
    assert scores["visible"]["iou"] != scores["iou"]
    data = tmp_path / "without_masks"
    shutil.copytree(box_town, data)
    shutil.rmtree(data / "nuscenes_occ" / "masks")
    without = evaluate(EvaluateConfig(data=data, checkpoint=checkpoint, rendered=False))
    assert "visible" not in without and without["iou"] == scores["iou"]


def test_keyframe_scores_of_a_network_that_sees_everything_occupied(
    checkpoint: Path, box_town: Path
):
    """With the logits of "car" raised over all others, every hit voxel is occupied and every
    vehicle point is right.
    """
    from safetensors.torch import load_file, save_file

    weights = load_file(checkpoint)
    for name in ("head.coarse.bias", "head.refine.3.bias"):
        weights[name][4] = 1000.0
    save_file(weights, checkpoint)
    scores = evaluate(EvaluateConfig(data=box_town, checkpoint=checkpoint, benchmark="keyframe"))
    assert scores == {"hit_recall": 1.0, "car_point_accuracy": 1.0, "frames": 6}


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


def test_real_keyframe_is_scored(checkpoint: Path, real_data: Path):
    scores = evaluate(
        replace(EvaluateConfig(data=real_data, checkpoint=checkpoint), benchmark="keyframe")
    )
    assert (
        scores["frames"] == 1
        and 0 <= scores["hit_recall"] <= 1
        and 0 <= scores["car_point_accuracy"] <= 1
    )


def test_preprocessing_scores_by_weather(box_town: Path, tmp_path: Path):
    scores = evaluate(EvaluateConfig(data=box_town, benchmark="preprocessing", pictures=tmp_path))
    assert scores["frames"] == 6 and len(list(tmp_path.glob("*.png"))) == 6
    assert scores["all"] == scores["clear"]  # box drives know one weather
    assert scores["all"]["noise_recall"] is None  # no drop falls in it
    assert (
        scores["all"]["sky_recall"] > 0.4
    )  # of images 64 pixels high; the figures of towns are in the README
    assert scores["all"]["sky_false_positive"] < 0.02
    assert scores["all"]["surface_loss"] < 0.05


def test_preprocessing_of_data_that_know_no_sky_makes_pictures_alone(
    box_town: Path, tmp_path: Path
):
    shutil.copytree(box_town, tmp_path / "real")
    shutil.rmtree(tmp_path / "real" / "nuscenes_occ")
    assert evaluate(EvaluateConfig(data=tmp_path / "real", benchmark="preprocessing")) == {
        "frames": 6
    }
