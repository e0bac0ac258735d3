"""Prompts in the whole model: what they change, and what is remembered from frame to frame."""

from dataclasses import replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.config import debug
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


def make_model(**parts: object) -> OccupancyModel:
    """A model with prompts whose embeddings are random."""
    model = build_model(replace(debug(), **({"language": LanguageConfig(width=6)} | parts))).eval()
    model.prompts.fill(torch.randn(len(PROMPTS), 6))
    return model


def differ(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two results differ by far more than rounding."""
    return bool((first - second).abs().max() > 1e-3)


def drive(make_frame, count: int) -> list[Frame]:
    """Frames at one place, half a second apart, in rain in Boston."""
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
            {"lidar": False, "language": LanguageConfig(width=6, weather=False)}, id="camera_only"
        ),
        pytest.param(
            {"camera": False, "language": LanguageConfig(width=6, weather=False)}, id="lidar_only"
        ),
        pytest.param({"language": LanguageConfig(width=6, instances=False)}, id="weather_only"),
    ],
)
@torch.inference_mode()
def test_weather_and_region_change_the_volume(parts: dict, make_frame):
    """Without instance attention only the weather's prompt is used."""
    model, frame = make_model(**parts), make_frame()
    unknown, rain, boston = (
        model(replace(frame, context=(context,))).volume
        for context in (DriveContext(), DriveContext("rain"), DriveContext(region="boston-seaport"))
    )
    assert differ(unknown, rain)
    if model.config.language.instances:
        assert differ(unknown, boston)
    else:
        assert torch.equal(unknown, boston)


@torch.inference_mode()
def test_sensor_weights_depend_on_the_weather_and_on_the_data(make_frame):
    model, frame = make_model(language=LanguageConfig(width=6, instances=False)), make_frame()
    rain = model(replace(frame, context=(DriveContext("rain"),))).sensor_weights
    assert rain.sum() == pytest.approx(1.0) and differ(rain, model(frame).sensor_weights)
    no_images = model(replace(frame, camera_mask=torch.zeros(1, 3, dtype=torch.bool)))
    no_points = model(replace(frame, points=(torch.zeros(0, 5),)))
    assert no_images.sensor_weights.tolist() == [[0.0, 1.0]]
    assert no_points.sensor_weights.tolist() == [[1.0, 0.0]]
    for prediction in (no_images, no_points):
        assert torch.isfinite(prediction.head.coarse).all()


@torch.inference_mode()
def test_a_prompt_table_that_was_not_filled_has_no_influence(make_frame):
    model = build_model(replace(debug(), language=LanguageConfig(width=6, weather=False))).eval()
    frame = make_frame()
    rain = model(replace(frame, context=(DriveContext("rain"),)))
    assert torch.equal(rain.volume, model(frame).volume)


def memory_of(frame: Frame, *class_ids: int) -> TemporalMemory:
    """The memory after a frame in which these classes were seen."""
    classes = torch.zeros(1, NUM_CLASSES, dtype=torch.bool)
    classes[0, list(class_ids)] = True
    return TemporalMemory(
        world_from_grid=(frame.world_from_grid,), stamp_ns=(frame.stamp_ns,), classes=classes
    )


@torch.inference_mode()
def test_the_classes_seen_make_the_next_prompts(make_frame):
    model = make_model()
    before, frame = drive(make_frame, 2)
    bus = torch.zeros(1, NUM_CLASSES, dtype=torch.bool)
    bus[0, BUS] = True
    remembered, given = model(frame, memory_of(before, BUS)), model(frame, None, bus)
    assert torch.equal(remembered.volume, given.volume)
    assert differ(remembered.volume, model(frame).volume)


@torch.inference_mode()
def test_a_class_that_is_not_seen_is_not_prompted_again(make_frame):
    """A head with a bias of -10 for buses sees none, whatever the prompts named."""
    model = make_model()
    with torch.no_grad():
        model.head.refine[-1].bias[BUS] = -10.0
    before, frame = drive(make_frame, 2)
    after = model(frame, memory_of(before, BUS))
    assert after.head.fine.softmax(dim=1)[:, BUS].max() < UNSEEN_BELOW / 2
    assert not after.memory.classes[0, BUS]


@pytest.mark.parametrize("parts", [{}, WHOLE], ids=["without_convlstm", "with_convlstm"])
@torch.inference_mode()
def test_classes_are_discarded_with_the_memory(parts: dict, make_frame):
    """After a gap the prompt is the general one again."""
    engine = OccupancyEngine(make_model(**parts))
    (first,) = drive(make_frame, 1)
    late = replace(first, stamp_ns=(9_000_000_000,))
    engine.step(first)
    engine.memory = replace(engine.memory, classes=memory_of(first, BUS).classes)
    result = engine.step(late)
    assert "9.000 s after" in result.memory_reset
    fresh = OccupancyEngine(engine.model).step(late)
    assert torch.equal(result.probability, fresh.probability)


@torch.inference_mode()
def test_each_part_keeps_its_own_share_of_the_memory(make_frame):
    frame = make_frame()
    classes_only = make_model()(frame).memory
    assert classes_only.classes is not None
    assert classes_only.head is None and classes_only.state == () and classes_only.volumes == ()
    assert classes_only.stamp_ns == (frame.stamp_ns,) and len(classes_only.world_from_grid) == 1
    volumes_only = make_model(
        language=LanguageConfig(width=6, instances=False), temporal=TemporalConfig()
    )(frame).memory
    assert volumes_only.classes is None
    assert volumes_only.head is not None and len(volumes_only.state) == 2
    assert make_model(language=LanguageConfig(width=6, instances=False))(frame).memory is None


@torch.inference_mode()
def test_the_engine_reports_the_weights(make_frame):
    occupancy = OccupancyEngine(make_model()).step(make_frame())
    assert len(occupancy.sensor_weights) == 2
    assert sum(occupancy.sensor_weights) == pytest.approx(1.0)
    assert OccupancyEngine(build_model(debug())).step(make_frame()).sensor_weights == ()


def test_gradient_reaches_every_part(make_frame):
    model = make_model(**WHOLE).train()
    first, second = drive(make_frame, 2)
    every_class = torch.ones(1, NUM_CLASSES, dtype=torch.bool)
    before = model(first, None, every_class)
    prediction = model(second, before.memory, every_class)
    (prediction.head.coarse.square().sum() + prediction.head.fine.square().sum()).backward()
    parts = (model.image_attention, model.lidar_attention, model.weather_fusion)
    for weight in (weight for part in parts for weight in part.parameters()):
        assert weight.grad is not None and weight.grad.any()
