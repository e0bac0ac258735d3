"""The one module that Fabric wraps: everything that is trained, together."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from occ_core.interface import Prediction, VoxelModel
from occ_core.losses.gauss_render.loss import GaussRenderLoss
from occ_core.losses.sequential.renderer import SequentialRenderer, SequentialRendererLosses
from occ_core.prompts import all_prompts
from occ_core.types import Frame, TemporalMemory
from training.learning.sequential_rendering import Past, SkyAndMotion, render
from training.learning.text_encoder import TextEncoder

T = TypeVar("T")


class Opaque(Generic[T]):
    """A box that Fabric does not look into.

    In mixed precision Fabric casts every floating-point tensor that it finds in the tuples,
    dictionaries and dataclasses passed to a module and returned from it, poses in float64 among
    them, and it rejects frozen dataclasses.
    """

    def __init__(self, value: T) -> None:
        self.value = value


class FrameInput(NamedTuple):
    """One frame of a clip and everything that its forward pass reads."""

    frame: Frame
    memory: TemporalMemory | None
    past: tuple[Past, ...]
    extras: tuple[SkyAndMotion, ...]
    """One per sample, if the frame is to be rendered."""
    prompted: Bool[Tensor, "batch class"] | None
    """Classes that the prompts mention; None leaves the choice to the model."""
    begins_step: bool


class FrameOutput(NamedTuple):
    """What a forward pass hands back."""

    prediction: Prediction
    """Without its memory."""
    rendering: SequentialRendererLosses | None
    memory: Opaque[TemporalMemory | None]
    past: Opaque[tuple[Past, ...]]


class FabricPassthrough(nn.Module):
    """Runs model and renderer on one frame, with what Fabric must not cast in opaque boxes.

    Args:
        renderer: TACOcc's sequential renderer, if it takes part in training.
        encoder: text encoder that is trained too; None if the embedded prompts stay as they are.
        gauss_render: GaussRender's loss, whose weights are trained too; the step calls it.
    """

    def __init__(
        self,
        model: VoxelModel,
        renderer: SequentialRenderer | None,
        encoder: TextEncoder | None,
        gauss_render: GaussRenderLoss | None = None,
    ) -> None:
        super().__init__()
        self.gauss_render = gauss_render
        self.model = model
        self.renderer = renderer
        self.encoder = encoder

    def forward(self, boxed: Opaque[FrameInput]) -> FrameOutput:
        given = boxed.value
        if self.encoder is not None and given.begins_step:
            # the last step has changed LoRA's weights, and the prompts' embeddings with them
            self.model.prompts.fill(self.encoder(list(all_prompts(self.model.config.labels))))
        prediction = self.model(given.frame, given.memory, given.prompted)
        rendering, past = None, given.past
        if self.renderer is not None:
            # blending hundreds of Gaussians needs float32
            with torch.autocast(given.frame.images.device.type, enabled=False):
                rendering, past = render(
                    self.renderer,
                    prediction,
                    given.frame,
                    given.extras,
                    given.past,
                    self.model.config.labels.empty,
                )
        return FrameOutput(
            prediction._replace(memory=None), rendering, Opaque(prediction.memory), Opaque(past)
        )
