"""Prompts in training: true classes, weather and region with gaps and errors, as a robot gets them.

The paper prompts with the true classes in training and with the previously predicted ones at
inference (VLMFusionOcc3D, section III-A). A model that only ever sees true prompts would trust any
prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.taxonomy import UNKNOWN, WEATHERS
from occ_core.types import DriveContext, Frame


@dataclass(frozen=True, kw_only=True)
class LanguageTraining:
    """The text encoder, and how often prompts are incomplete or wrong; probabilities are per frame
    unless noted.
    """

    clip: Path | None = None
    """Local Hugging Face folder of CLIP, whose text tower is adapted by LoRA; None takes the frozen
    sentence encoder.
    """
    no_classes: float = 0.2
    """Only the general prompt is given, as in the first frame of a drive."""
    drop_class: float = 0.3
    """A class in the scene is left out; per class."""
    add_class: float = 0.05
    """A class that is not in the scene is mentioned; per class."""
    unknown_weather: float = 0.1
    wrong_weather: float = 0.05
    unknown_region: float = 0.1

    def __post_init__(self) -> None:
        for name in (
            "no_classes",
            "drop_class",
            "add_class",
            "unknown_weather",
            "wrong_weather",
            "unknown_region",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"LanguageTraining.{name} must be in [0, 1], got {getattr(self, name)}"
                )


def perturb_context(
    frame: Frame,
    labels: UInt8[Tensor, "batch x y z"],
    config: LanguageTraining,
    random: np.random.Generator,
    label_set: LabelSet = NUSCENES,
) -> tuple[Frame, Bool[Tensor, "batch class"]]:
    """The frame with a perturbed context, and the classes that its prompts mention.

    Args:
        labels: class ids; 255 is ignored.
        label_set: meaning of the class ids.
    """
    count = len(label_set.names)
    contexts, prompted = [], []
    for truth, context, pose in zip(labels, frame.context, frame.world_from_grid, strict=True):
        perturbed = _context(context, config, random)
        if torch.det(pose[:3, :3]) < 0:  # mirrored: traffic drives on the wrong side for the region
            perturbed = replace(perturbed, region=UNKNOWN)
        contexts.append(perturbed)
        present = np.isin(np.arange(count), truth.unique().cpu().numpy())
        flip_rate = np.where(present, config.drop_class, config.add_class)
        flipped = random.random(count) < flip_rate
        mentioned = (present ^ flipped) & (random.random() >= config.no_classes)
        mentioned[label_set.empty] = False
        prompted.append(torch.from_numpy(mentioned))
    return replace(frame, context=tuple(contexts)), torch.stack(prompted).to(labels.device)


def _context(
    truth: DriveContext, config: LanguageTraining, random: np.random.Generator
) -> DriveContext:
    weather, region = truth.weather, truth.region
    draw = random.random()
    if draw < config.unknown_weather:
        weather = UNKNOWN
    elif draw < config.unknown_weather + config.wrong_weather:
        weather = str(random.choice([other for other in WEATHERS[1:] if other != weather]))
    if random.random() < config.unknown_region:
        region = UNKNOWN
    return DriveContext(weather, region)
