from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.types import Frame
from training.learning.config import TrainConfig
from training.scoring.drive_metrics import drive_metrics


class _ChangedFrames(NuScenesFrames):
    """Frames that are changed as they are read."""

    change: Callable[[Frame], Frame] = staticmethod(lambda frame: frame)

    def __getitem__(self, index: int):
        frame, labels = super().__getitem__(index)
        return self.change(frame), labels


@pytest.fixture
def engine(smallest: TrainConfig) -> OccupancyEngine:
    torch.manual_seed(0)
    return OccupancyEngine(build_model(smallest.model).eval(), torch.device("cpu"), "fp32")


def _frames(
    root: Path, engine: OccupancyEngine, change: Callable[[Frame], Frame] = lambda frame: frame
) -> NuScenesFrames:
    shape = engine.model.config
    frames = _ChangedFrames(root, None, None, shape.image_size, 1, shape.grid)
    frames.change = change
    return frames


def test_metrics_are_those_of_the_grid_the_mask_the_sweep_and_the_weather(
    engine: OccupancyEngine, box_town: Path
):
    metrics = drive_metrics(engine, _frames(box_town, engine), keyframes=1)
    assert set(metrics) == {
        f"{sweeps}{place}{name}"
        for sweeps in ("", "one_sweep_")
        for place in ("", "camera_mask_")
        for name in ("miou", "iou", "miou_clear")
    }


def test_a_blind_model_is_scored_without_images(engine: OccupancyEngine, box_town: Path):
    """Noise in place of the images changes the scores of a model that sees them, not of a blind
    one.
    """

    def noise(frame: Frame) -> Frame:
        random = torch.Generator().manual_seed(1)
        images = torch.randint(0, 256, frame.images.shape, generator=random, dtype=torch.uint8)
        return replace(frame, images=images)

    as_taken, noisy = _frames(box_town, engine), _frames(box_town, engine, noise)
    assert drive_metrics(engine, as_taken) != drive_metrics(engine, noisy)
    blind = drive_metrics(engine, as_taken, blind=True)
    assert blind == drive_metrics(engine, noisy, blind=True)
    assert blind != drive_metrics(engine, as_taken)
