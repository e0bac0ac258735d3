from dataclasses import replace
from pathlib import Path

import pytest

from occ_core.losses.gauss_render.loss import GaussRenderConfig
from occ_core.losses.sequential.renderer import SequentialRendererConfig
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from training.learning.augment import other_sensors
from training.learning.objective import LossWeights
from training.learning.prompt_noise import LanguageTraining
from training.recipes import debug

MODEL = debug().model
REMEMBERS = replace(MODEL, temporal=TemporalConfig())
PROMPTED = replace(MODEL, language=LanguageConfig())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "TrainConfig.steps must be at least 1, got 0"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\), got 1.0"),
        ({"model": REMEMBERS, "forget": 1.5}, r"forget must be in \[0, 1\], got 1.5"),
        ({"repeat_rare": 0.0}, r"repeat_rare must be in \(0, 4\] or None, got 0.0"),
        ({"forget": 0.5}, "forget is 0.5, but the model has no memory"),
        (
            {"model": REMEMBERS, "batch_size": 2, "streams": 1},
            "streams must be at least batch_size 2, got 1",
        ),
        (
            {"losses": LossWeights(daga=0.2), "model": replace(MODEL, lidar=False)},
            "daga 0.2 aligns camera and LiDAR, but the model has only one",
        ),
        ({"truth_renders": Path("renders")}, "truth_renders needs TrainConfig.gauss_render"),
        ({"gauss_render_from": 0.5}, "gauss_render_from needs TrainConfig.gauss_render"),
        (
            {"gauss_render": GaussRenderConfig(), "gauss_render_from": 1.0},
            r"gauss_render_from must be in \[0, 1\), got 1",
        ),
        (
            {"rendering": SequentialRendererConfig(), "augment": other_sensors()},
            "rendering draws the images as they were taken",
        ),
        (
            {
                "gauss_render": GaussRenderConfig(),
                "truth_renders": Path("renders"),
                "augment": other_sensors(),
            },
            "the cameras look elsewhere in every epoch",
        ),
        ({"model": PROMPTED}, "must be given together"),
        ({"language": LanguageTraining()}, "must be given together"),
        (
            {
                "model": PROMPTED,
                "language": LanguageTraining(clip=Path("clip")),
                "start_from": Path("model.safetensors"),
            },
            "no LoRA weights",
        ),
    ],
)
def test_a_contradiction_is_refused_by_name_and_value(changes: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(debug(), **changes)
