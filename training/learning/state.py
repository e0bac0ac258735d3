"""Everything that changes in the course of a training: what ``state.pt`` keeps for ``--resume``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from occ_core.interface import VoxelModel
from occ_core.losses.gauss_render.loss import GaussRenderLoss
from occ_core.losses.sequential.renderer import SequentialRenderer
from occ_core.types import HeadOutput, TemporalMemory
from training.learning.sequential_rendering import Past
from training.learning.text_encoder import TextEncoder, trainable_state

Drive = tuple[int, int]
"""A pass through a drive: (epoch, index of the drive's first keyframe)."""


@dataclass
class TrainingState:
    """The state between two steps. Torch's global random state on the CPU is part of it."""

    model: VoxelModel
    average: AveragedModel
    """Exponential moving average of the model's weights."""
    optimiser: Optimizer
    schedule: LRScheduler
    renderer: SequentialRenderer | None = None
    encoder: TextEncoder | None = None
    gauss_render: GaussRenderLoss | None = None
    """GaussRender's loss, which may have an opacity network to learn."""
    memories: dict[Drive, TemporalMemory] = field(default_factory=dict)
    """Memories of the drives under way."""
    pasts: dict[Drive, tuple[Past, ...]] = field(default_factory=dict)
    """Views of the last keyframes of the drives under way, for the renderer."""
    step: int = 0
    """Number of steps taken."""

    def state_dict(self) -> dict[str, Any]:
        """The state in plain containers: Fabric stores no dataclasses."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "memories": {drive: _to_dict(memory) for drive, memory in self.memories.items()},
            "pasts": {
                drive: [past._asdict() for past in views] for drive, views in self.pasts.items()
            },
            "renderer": {} if self.renderer is None else self.renderer.state_dict(),
            "encoder": trainable_state(self.encoder),
            "gauss_render": {} if self.gauss_render is None else self.gauss_render.state_dict(),
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Takes over a state; nothing may draw random numbers between this and the next step."""
        self.model.load_state_dict(stored["model"])
        self.average.load_state_dict(stored["average"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.schedule.load_state_dict(stored["schedule"])
        self.step = stored["step"]
        self.memories = {drive: _memory(kept) for drive, kept in stored["memories"].items()}
        self.pasts = {
            drive: tuple(Past(**past) for past in kept) for drive, kept in stored["pasts"].items()
        }
        if self.renderer is not None:
            self.renderer.load_state_dict(stored["renderer"])
        if self.encoder is not None:
            self.encoder.load_state_dict(stored["encoder"], strict=False)  # only LoRA's weights
        if self.gauss_render is not None:  # earlier states have none
            self.gauss_render.load_state_dict(stored.get("gauss_render", {}))
        torch.set_rng_state(stored["rng"].cpu())


def _to_dict(memory: TemporalMemory) -> dict[str, Any]:
    stored = {entry.name: getattr(memory, entry.name) for entry in fields(memory)}
    return stored | {"head": tuple(memory.head or ())}


def _memory(stored: dict[str, Any]) -> TemporalMemory:
    head = HeadOutput(*stored["head"]) if stored["head"] else None
    return TemporalMemory(**stored | {"head": head})
