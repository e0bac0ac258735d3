"""The step that is exported, run without exporting it: it must answer as the model does."""

from dataclasses import replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint
from occ_core.config import OccupancyConfig, TPVFormerConfig, debug
from occ_core.engine import OccupancyEngine
from occ_core.export.engine import sensor_tensors
from occ_core.export.memory import first_memory
from occ_core.export.step import ExportedStep, ExportError
from occ_core.interface import VoxelModel
from occ_core.temporal import TemporalConfig
from occ_core.types import Frame

FEW = 1e-3
"""Fraction of voxels that may differ: random weights leave some voxels between two classes, or at
the threshold of refinement, where rounding decides. Whatever is wrong changes far more.
"""


@torch.inference_mode()
def answers(model: VoxelModel, drive: list[Frame]) -> list[tuple[torch.Tensor, ...]]:
    """Of every frame: labels of the model and of its exported step, and both probabilities."""
    engine, step = OccupancyEngine(model, precision="fp32"), ExportedStep(model)
    memory, found = first_memory(model.config), []
    for frame in drive:
        expected = engine.step(frame)
        answer, memory = step(sensor_tensors(frame), memory)
        found.append(
            (expected.labels, answer["labels"], expected.probability, answer["probability"])
        )
    return found


def assert_equal(found: list[tuple[torch.Tensor, ...]]) -> None:
    for labels, exported_labels, probability, exported_probability in found:
        differ = (labels != exported_labels) | ((probability - exported_probability).abs() > 1e-3)
        assert differ.float().mean() <= FEW


@pytest.fixture(scope="module")
def small_model(small_checkpoint) -> VoxelModel:
    return load_checkpoint(small_checkpoint)[0]


def test_step_answers_as_the_model_with_and_without_memory_points_and_cameras(small_model, drive):
    found = answers(small_model, drive)
    assert_equal(found)
    alone = [answers(small_model, [frame])[0] for frame in drive]
    assert_equal(alone)
    # the test would see a memory that is not used
    changed = [(a[0] != b[0]).float().mean() for a, b in zip(found, alone, strict=True)]
    assert changed[0] == 0 and min(changed[1:]) > FEW


def test_the_weights_of_the_sensors_are_those_of_the_model(small_model, drive):
    engine = OccupancyEngine(small_model, precision="fp32")
    step, memory = ExportedStep(small_model), first_memory(small_model.config)
    with torch.inference_mode():
        for frame in drive:
            answer, _ = step(sensor_tensors(frame), memory)
            expected = torch.tensor([engine.step(frame).sensor_weights])
            torch.testing.assert_close(answer["sensor_weights"], expected)
    # the fourth frame has no point: the cameras alone count
    assert step(sensor_tensors(drive[3]), memory)[0]["sensor_weights"].tolist() == [[1, 0]]


def test_nothing_of_a_masked_camera_counts(small_model, drive):
    step, memory = ExportedStep(small_model), first_memory(small_model.config)
    sensors = sensor_tensors(drive[1])  # lacks the second camera
    spoilt = {name: tensor.clone() for name, tensor in sensors.items()}
    spoilt["images"][:, 1] = 255 - spoilt["images"][:, 1]
    spoilt["intrinsics"][:, 1] = 0  # cannot be inverted
    spoilt["grid_from_camera"][:, 1] = float("nan")
    with torch.inference_mode():
        first, second = step(sensors, memory)[0], step(spoilt, memory)[0]
    assert torch.equal(first["labels"], second["labels"])
    assert torch.equal(first["probability"], second["probability"])


@pytest.mark.parametrize(
    "config",
    [
        replace(debug(), adaptive_fusion=AdaptiveFusionConfig()),
        replace(debug(), camera=False),
        replace(debug(), lidar=False, temporal=TemporalConfig(filter_voxels=False)),
        replace(debug(), cascade_ratio=1, fusion="add", intensity_ranks=True),
    ],
    ids=["adaptive_fusion", "lidar", "camera", "no_cascade"],
)
def test_other_models_answer_alike(config: OccupancyConfig, drive):
    torch.manual_seed(0)
    assert_equal(answers(build_model(config).eval(), drive[:2]))


def test_what_cannot_be_exported_is_refused():
    window = replace(debug(), temporal=TemporalConfig(mode="window"))
    with pytest.raises(ExportError, match="mode 'window'"):
        ExportedStep(build_model(window))
    tpv = TPVFormerConfig(channels=16, heads=2, layers=1)
    encoder = replace(debug().image_encoder, stride=8)
    baseline = replace(debug(), tpvformer=tpv, image_encoder=encoder, lidar=False, cascade_ratio=1)
    with pytest.raises(ExportError, match="TPVFormer"):
        ExportedStep(build_model(baseline))
