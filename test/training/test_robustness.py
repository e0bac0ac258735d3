import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.prompts import PROMPTS, LanguageConfig, Prompts
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.types import DriveContext, Frame, Occupancy
from training.robustness import RobustnessConfig, conditions, robustness, score, text


@pytest.fixture
def frame(box_town: Path):
    return NuScenesFrames(box_town, None, None, debug().image_size, 0, debug().grid)[0][0]


class BothSensorsNeeded:
    """An engine that is right where it has images and points, and else predicts empty voxels."""

    memory = None

    def __init__(self, frames: NuScenesFrames) -> None:
        self.grid = frames.grid
        self.truth = {}
        for index, keyframe in enumerate(frames.keyframes):
            labels = frames.labels(index)
            self.truth[keyframe.stamp_ns] = labels.masked_fill(labels == IGNORE, EMPTY)[None]

    def reset(self, reason: str) -> None: ...

    def step(self, frame: Frame) -> Occupancy:
        labels = self.truth[frame.stamp_ns[0]]
        if not (frame.camera_mask.any() and len(frame.points[0])):
            labels = torch.zeros_like(labels)
        return Occupancy(labels, torch.ones(labels.shape), self.grid, frame.stamp_ns, "lidar")


def test_failing_sensors_cost_what_they_contribute(box_town: Path):
    frames = NuScenesFrames(box_town, None, None, debug().image_size, 0, debug().grid)
    assert len({keyframe.stamp_ns for keyframe in frames.keyframes}) == len(frames)
    scores = score(BothSensorsNeeded(frames), frames, 2, conditions((1.0,)))
    iou = {condition: metrics["iou"] for condition, metrics in scores.items()}
    assert iou == {
        "as it is": 1.0,
        "weather unknown": 1.0,
        "weather wrong": 1.0,
        "cameras fail 100%": 0.0,
        "LiDAR fails 100%": 0.0,
        "general prompt": 1.0,
    }


def test_how_conditions_change_a_frame(frame):
    changes = conditions((0.25, 1.0))
    assert frame.context == (DriveContext("clear", "boston-seaport"),)
    assert changes["as it is"](frame, 0.0) is frame
    assert changes["weather unknown"](frame, 0.0).context == (
        DriveContext("unknown", "boston-seaport"),
    )
    assert changes["weather wrong"](frame, 0.0).context == (
        DriveContext("rain at night", "boston-seaport"),
    )
    assert changes["cameras fail 25%"](frame, 0.3) is frame
    assert not changes["cameras fail 25%"](frame, 0.2).camera_mask.any()
    lost = changes["LiDAR fails 100%"](frame, 0.99)
    assert len(lost.points[0]) == 0 and lost.camera_mask.all() and len(frame.points[0]) > 0


def test_rows_are_compared_seed_by_seed(box_town: Path, tmp_path: Path):
    for seed in (1, 2):
        torch.manual_seed(seed)
        for row in ("base", "full"):
            save_checkpoint(
                tmp_path / row / f"seed_{seed}" / "model.safetensors", build_model(debug()), {}
            )
    config = RobustnessConfig(
        rows=(tmp_path / "base", tmp_path / "full"),
        data=box_town,
        shares=(1.0,),
        keyframes=1,
        out=tmp_path / "table.json",
        picture=tmp_path / "curves.png",
    )
    table = robustness(config)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert table == json.loads(config.out.read_text())
    base, full = (row["conditions"] for row in table["rows"])
    for condition in (
        "as it is",
        "weather wrong",
        "cameras fail 100%",
        "LiDAR fails 100%",
        "general prompt",
    ):
        assert base[condition]["miou_over_first"]["values"] == [0.0, 0.0]
        values = [
            mine - first
            for mine, first in zip(
                *(row[condition]["iou"]["values"] for row in (full, base)), strict=True
            )
        ]
        assert full[condition]["iou_over_first"]["values"] == pytest.approx(values)
    # Models without prompts take no notice of the weather.
    assert base["weather wrong"] == base["as it is"] == base["general prompt"]
    assert base["as it is"]["miou"] == base["as it is"]["miou_clear"]  # the only weather
    assert "weather wrong" in text(table)


def test_prompts_get_the_weather_of_each_condition(box_town: Path):
    torch.manual_seed(0)
    model = build_model(replace(debug(), language=LanguageConfig(width=6)))
    model.prompts.fill(10 * torch.randn(len(PROMPTS), 6))
    frames = NuScenesFrames(box_town, None, None, debug().image_size, 0, debug().grid)
    seen: dict[str, list[Prompts]] = {}
    model.prompts.register_forward_hook(
        lambda _, inputs, prompts: seen.setdefault(inputs[0][0].weather, []).append(prompts)
    )
    score(OccupancyEngine(model), frames, 2, conditions((1.0,)))
    assert set(seen) == {"clear", "unknown", "rain at night"}
    drives, keyframes, unknown = 3, 2, seen["unknown"]
    assert len(unknown) == drives * keyframes
    # As it is, both failures, and the general prompt.
    assert len(seen["clear"]) == 4 * drives * keyframes


def test_a_folder_without_models_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="holds no seed_"):
        robustness(RobustnessConfig(rows=(tmp_path,)))
    with pytest.raises(ValueError, match="given twice"):
        RobustnessConfig(rows=(tmp_path, tmp_path))
    with pytest.raises(ValueError, match="shares in"):
        RobustnessConfig(rows=(tmp_path,), shares=(1.5,))
