"""Time and memory of whole models on a device, and what GaussRender adds to a training step."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import PRESETS
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss
from occ_core.rendering.cameras import frame_cameras
from occ_core.temporal import TemporalConfig
from training.benchmarks.own_process import repeated_answer
from training.benchmarks.timing import medians_ms
from training.learning.examples import Example, TrainingExamples, collate
from training.learning.objective import LossWeights, objective


@dataclass(frozen=True)
class ModelCost:
    """What one answer costs."""

    latency_ms: float
    """Median over the answers."""
    memory_gb: float
    """Peak: on CUDA that of torch, otherwise the process's; in 1e9 bytes."""
    parameters: int


@dataclass(frozen=True)
class RenderingCost:
    """What GaussRender costs in training."""

    without_ms: float
    """Median of a training step without its loss."""
    with_ms: float

    @property
    def overhead(self) -> float:
        """The fraction by which a step takes longer."""
        return self.with_ms / self.without_ms - 1


def measure_preset(name: str, data: Path, device: torch.device, repeats: int) -> ModelCost:
    """Cost of a preset with TACOcc's adaptive fusion and memory, of random weights.

    Args:
        data: nuScenes data root, whose first keyframe is answered.
    """
    config = PRESETS[name]()
    config = replace(config, adaptive_fusion=AdaptiveFusionConfig(), temporal=TemporalConfig())
    torch.manual_seed(0)
    model = build_model(config).eval()
    model.image_encoder.fold()  # as on the robot
    step = repeated_answer(OccupancyEngine(model, device), data)
    step()  # the first one has no memory, and selects kernels
    latency_ms = medians_ms({"step": waiting(step, device)}, repeats)["step"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelCost(latency_ms, peak_bytes(device) / 1e9, parameters)


def measure_gauss_render(data: Path, device: torch.device, repeats: int) -> RenderingCost:
    """Cost of GaussRender's loss in a training step of the shipped model, without its memory.

    An untrained model would have half-occupied voxels everywhere, and draw them all.

    Args:
        data: nuScenes data root with occupancy labels, whose first keyframe is learned.
    """
    shipped, _ = load_checkpoint(SHIPPED)
    config = replace(shipped.config, temporal=None, language=None)
    model, trained = build_model(config).train(), shipped.state_dict()
    model.load_state_dict({name: trained[name] for name in model.state_dict()})
    model = model.to(device)
    frames = NuScenesFrames(data, None, None, config.image_size, 9, config.grid)
    example = collate([TrainingExamples(frames, config.cascade_ratio, None, seed=0)[0, 0]])
    example = example.to(device)
    loss = GaussRenderLoss(config.grid, GaussRenderConfig())
    classes = torch.ones(len(config.labels.names), device=device)

    def step(example: Example, *, renders: bool) -> None:
        model.zero_grad()
        prediction = model(example.frame, None, None)
        voxels = (example.labels, example.coarse_labels)
        losses = objective(prediction, example.frame, *voxels, classes, LossWeights(), config)
        total = losses["total"]
        if renders:
            cameras = [frame_cameras(example.frame, 0)]
            random = np.random.default_rng(0)
            total = total + loss.from_cascade(prediction.head, voxels[0], cameras, random).total
        total.backward()

    steps: dict[str, Callable[[], None]] = {
        "without": waiting(lambda: step(example, renders=False), device),
        "with": waiting(lambda: step(example, renders=True), device),
    }
    for each in steps.values():
        each()
    medians = medians_ms(steps, repeats)
    return RenderingCost(medians["without"], medians["with"])


def waiting(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """The function, which returns once the device has done what it asked for."""
    if device.type != "cuda":
        return function

    def run() -> None:
        function()
        torch.cuda.synchronize(device)

    return run


def peak_bytes(device: torch.device) -> float:
    """Peak memory of this process on the device."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
