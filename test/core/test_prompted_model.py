"""Prompts in the whole model: what they change, what is carried from frame to frame, and what is
not needed for it.
"""

from dataclasses import replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.config import OccupancyConfig, debug
from occ_core.engine import OccupancyEngine
from occ_core.model import OccupancyModel
from occ_core.prompts import PROMPTS, UNSEEN_BELOW, LanguageConfig
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from occ_core.temporal import TemporalConfig
from occ_core.types import DriveContext, Frame, TemporalMemory

WHOLE = {
    "language": LanguageConfig(width=6),
    "adaptive_fusion": AdaptiveFusionConfig(strides=(1, 2)),
    "temporal": TemporalConfig(),
}
BUS = CLASS_ID["bus"]


def made(**parts: object) -> OccupancyModel:
    torch.manual_seed(0)
    model = build_model(replace(debug(), **({"language": LanguageConfig(width=6)} | parts))).eval()
    model.prompts.fill(torch.randn(len(PROMPTS), 6))
    return model


def drive(make_frame, count: int) -> list[Frame]:
    """Frames of one place, half a second apart, in rain in Boston."""
    context = (DriveContext("rain", "boston-seaport"),)
    return [
        replace(make_frame(), stamp_ns=(number * 500_000_000,), context=context)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({}, id="concat"),
        pytest.param({"fusion": "add"}, id="add"),
        pytest.param({"fusion": "conv"}, id="conv"),
        pytest.param(WHOLE, id="tacocc_with_memory"),
        pytest.param(
            {"lidar": False, "language": LanguageConfig(width=6, weather=False)}, id="camera_alone"
        ),
        pytest.param(
            {"camera": False, "language": LanguageConfig(width=6, weather=False)}, id="lidar_alone"
        ),
    ],
)
@torch.inference_mode()
def test_weather_and_region_matter_to_every_host(parts: dict, make_frame):
    model, frame = made(**parts), make_frame()
    volumes = [
        model(replace(frame, context=(context,))).volume
        for context in (DriveContext(), DriveContext("rain"), DriveContext(region="boston-seaport"))
    ]
    assert not torch.equal(volumes[0], volumes[1])
    assert torch.equal(volumes[0], volumes[2]) == (
        model.image_attention is None and model.lidar_attention is None
    )


@torch.inference_mode()
def test_the_weights_are_of_the_weather_and_of_what_is_there(make_frame):
    model, frame = made(language=LanguageConfig(width=6, instances=False)), make_frame()
    rain = model(replace(frame, context=(DriveContext("rain"),))).sensor_weights
    assert rain.sum() == pytest.approx(1.0) and not torch.equal(rain, model(frame).sensor_weights)
    blind = model(replace(frame, camera_mask=torch.zeros(1, 3, dtype=torch.bool)))
    deaf = model(replace(frame, points=(torch.zeros(0, 5),)))
    assert blind.sensor_weights.tolist() == [[0.0, 1.0]] and deaf.sensor_weights.tolist() == [
        [1.0, 0.0]
    ]
    assert torch.isfinite(blind.head.coarse).all() and torch.isfinite(deaf.head.coarse).all()


@torch.inference_mode()
def test_a_table_never_filled_says_nothing(make_frame):
    torch.manual_seed(0)
    model = build_model(replace(debug(), language=LanguageConfig(width=6, weather=False))).eval()
    frame = make_frame()
    rain = model(replace(frame, context=(DriveContext("rain"),)))
    assert torch.equal(rain.volume, model(frame).volume)


def remembering(frame: Frame, *names: int) -> TemporalMemory:
    classes = torch.zeros(1, NUM_CLASSES, dtype=torch.bool)
    classes[0, list(names)] = True
    return TemporalMemory(
        world_from_grid=(frame.world_from_grid,), stamp_ns=(frame.stamp_ns,), classes=classes
    )


@torch.inference_mode()
def test_the_classes_seen_make_the_next_prompts(make_frame):
    model = made()
    before, frame = drive(make_frame, 2)
    named = torch.zeros(1, NUM_CLASSES, dtype=torch.bool)
    named[0, BUS] = True
    recalled, told = model(frame, remembering(before, BUS)), model(frame, None, named)
    assert torch.equal(recalled.volume, told.volume)
    assert not torch.equal(recalled.volume, model(frame).volume)


@torch.inference_mode()
def test_a_wrong_class_is_gone_after_the_next_frame(make_frame):
    """A head that is sure of a class nowhere: whatever the prompts said, the frame after is told of
    nothing.
    """
    model = made()
    before, frame = drive(make_frame, 2)
    after = model(frame, remembering(before, BUS))
    assert after.head.fine.softmax(dim=1)[:, BUS].max() < UNSEEN_BELOW
    assert not after.memory.classes[0, BUS]


@torch.inference_mode()
def test_classes_are_forgotten_with_the_memory(make_frame):
    """After a gap the prompt is the general one, with a ConvLSTM and without."""
    for parts in ({}, WHOLE):
        engine = OccupancyEngine(made(**parts))
        first, late = (
            drive(make_frame, 1)[0],
            replace(drive(make_frame, 1)[0], stamp_ns=(9_000_000_000,)),
        )
        engine.step(first)
        engine.memory = replace(engine.memory, classes=remembering(first, BUS).classes)
        result = engine.step(late)
        assert "9.000 s after" in result.memory_reset
        fresh = OccupancyEngine(engine.model).step(late)
        assert torch.equal(result.probability, fresh.probability)


@torch.inference_mode()
def test_the_engine_reports_the_weights(make_frame):
    occupancy = OccupancyEngine(made()).step(make_frame())
    assert len(occupancy.sensor_weights) == 2 and sum(occupancy.sensor_weights) == pytest.approx(
        1.0
    )
    assert OccupancyEngine(build_model(debug())).step(make_frame()).sensor_weights == ()


def test_gradient_reaches_every_part(make_frame):
    model = made(**WHOLE).train()
    first, second = drive(make_frame, 2)
    named = torch.ones(1, NUM_CLASSES, dtype=torch.bool)
    before = model(first, None, named)
    prediction = model(second, before.memory, named)
    (prediction.head.coarse.square().sum() + prediction.head.fine.square().sum()).backward()
    parts = (model.image_attention, model.lidar_attention, model.weather_fusion)
    assert all(
        weight.grad is not None and weight.grad.any()
        for part in parts
        for weight in part.parameters()
    )


def test_parts_that_cannot_be_are_refused():
    with pytest.raises(
        ValueError, match="language.weather weighs camera and lidar, of which one is off"
    ):
        OccupancyConfig(lidar=False, language=LanguageConfig())
