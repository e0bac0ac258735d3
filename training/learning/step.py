"""One optimisation step: a clip of frames in, losses out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from occ_core.adaptive_fusion import anneal
from occ_core.head import dense_logits
from occ_core.interface import Prediction
from occ_core.losses.gauss_render.loss import GaussRenderLoss
from occ_core.ops.interpolate import upsample
from occ_core.rendering.cameras import frame_cameras
from occ_core.types import Frame, TemporalMemory
from training.learning.config import TrainConfig
from training.learning.examples import Example
from training.learning.objective import objective
from training.learning.passthrough import FrameInput, FrameOutput, Opaque
from training.learning.processes import average_gradients, average_losses
from training.learning.prompt_noise import perturb_context
from training.learning.random_streams import Purpose, random_stream
from training.learning.sequential_rendering import Past, total_loss
from training.learning.state import TrainingState

Losses = dict[str, Tensor]
"""Scalars by name; ``total`` is the one that is minimised."""


@dataclass(frozen=True)
class StepSetup:
    """What stays the same from step to step."""

    config: TrainConfig
    fabric: Fabric
    wrapped: nn.Module
    """The ``FabricPassthrough`` around the state's model, as wrapped by Fabric."""
    class_weights: Float[Tensor, " class"]
    gauss_render: GaussRenderLoss | None


class StepResult(NamedTuple):
    """What a step reports."""

    losses: Losses
    """Means over the frames of the clip and over all processes."""
    prediction: Prediction
    """The last frame's, without its memory."""


def optimise(state: TrainingState, clip: list[Example], setup: StepSetup) -> StepResult:
    """Takes one step on a clip and advances the state by it.

    Raises:
        FloatingPointError: the total loss is not finite.
    """
    config, fabric = setup.config, setup.fabric
    step = state.step + 1
    setup.wrapped.train()
    anneal(state.model, step / config.steps)
    state.optimiser.zero_grad()
    per_frame = []
    for number, example in enumerate(clip):
        memory, past = state.memories.pop(example.drive, None), state.pasts.pop(example.drive, ())
        losses, output = _forward(example.to(fabric.device), memory, past, step, number, setup)
        if config.accumulate is not None:  # nothing links the frames: free each one's graph at once
            fabric.backward(losses["total"] / len(clip))
            losses = {name: loss.detach() for name, loss in losses.items()}
        per_frame.append(losses)
        memory, past = output.memory.value, output.past.value
        goes_on = config.model.temporal is not None and not example.ends_drive
        if goes_on and memory is not None:
            state.memories[example.drive] = memory
        if goes_on and past:
            state.pasts[example.drive] = past
    state.memories = {drive: memory.detach() for drive, memory in state.memories.items()}
    means = {name: torch.stack([each[name] for each in per_frame]).mean() for name in per_frame[0]}
    shared = average_losses(fabric, means)
    if not torch.isfinite(shared["total"]):
        values = {name: loss.item() for name, loss in shared.items()}
        raise FloatingPointError(f"the loss of step {step} is not finite: {values}")
    if config.accumulate is None:
        fabric.backward(means["total"])
    average_gradients(fabric, setup.wrapped.parameters())
    fabric.clip_gradients(setup.wrapped, state.optimiser, max_norm=config.clip_norm)
    state.optimiser.step()
    state.schedule.step()
    state.average.update_parameters(state.model)
    state.step = step
    return StepResult(shared, output.prediction)


def _forward(
    example: Example,
    memory: TemporalMemory | None,
    past: tuple[Past, ...],
    step: int,
    number: int,
    setup: StepSetup,
) -> tuple[Losses, FrameOutput]:
    """Losses and forward pass of the clip's frame ``number``."""
    config, rank = setup.config, setup.fabric.global_rank
    frame, prompted = example.frame, None
    if config.language is not None:
        stream = random_stream(config.seed, step, number, Purpose.CONTEXT, rank)
        frame, prompted = perturb_context(
            frame, example.labels, config.language, stream, config.model.labels
        )
    stream = random_stream(config.seed, step, number, Purpose.FORGETTING, rank)
    if stream.random() < (config.forget or 0):
        memory = None
    output = setup.wrapped(
        Opaque(FrameInput(frame, memory, past, example.extras, prompted, begins_step=number == 0))
    )
    losses = objective(
        output.prediction,
        frame,
        example.labels,
        example.coarse_labels,
        setup.class_weights,
        config.losses,
        config.model,
    )
    if config.rendering is not None:
        total = total_loss(losses["total"], output.rendering, config.rendering)
        losses |= output.rendering._asdict() | {"total": total}
    if setup.gauss_render is not None and step > (config.gauss_render_from or 0) * config.steps:
        stream = random_stream(config.seed, step, number, Purpose.VIRTUAL_CAMERAS)
        losses = add_gauss_render(
            losses, setup.gauss_render, output.prediction, frame, example.labels, stream
        )
    return losses, output


def add_gauss_render(
    losses: Losses,
    gauss_render: GaussRenderLoss,
    prediction: Prediction,
    frame: Frame,
    labels: UInt8[Tensor, "batch x y z"],
    random: np.random.Generator,
) -> Losses:
    """The losses with GaussRender's terms, which are added to the total too (Eq. 1)."""
    cameras = [frame_cameras(frame, sample) for sample in range(frame.batch_size)]
    if gauss_render.opacity is None:
        rendered = gauss_render.from_cascade(prediction.head, labels, cameras, random)
    else:
        logits, features = (
            dense_logits(prediction.head, labels.shape[1] // prediction.head.coarse.shape[2]),
            upsample(prediction.volume, labels.shape[1] // prediction.volume.shape[2]),
        )
        rendered = gauss_render(logits, labels, cameras, random, features)
    terms = {f"rendered_{name}": value for name, value in rendered._asdict().items()}
    del terms["rendered_total"]
    return losses | terms | {"total": losses["total"] + rendered.total}
