"""Prompts in training: the classes that are there, told with gaps and errors, as a robot would be
told of them.

The paper prompts with the true classes in training and with those predicted before at inference
(VLMFusionOcc3D, section III-A). Told the truth alone, a model would believe whatever it is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from occ_core.taxonomy import EMPTY, NUM_CLASSES, WEATHERS
from occ_core.types import UNKNOWN, DriveContext, Frame


@dataclass(frozen=True, kw_only=True)
class LanguageTraining:
    """The text encoder, and how often prompts say less or other than the truth; shares of frames
    unless said otherwise.
    """

    clip: Path | None = None
    """Local Hugging Face folder of CLIP, whose text tower LoRA adapts; None takes the frozen
    sentence encoder.
    """
    no_classes: float = 0.2
    """The general prompt alone, as in a drive's first frame."""
    drop_class: float = 0.3
    """Per class that is there: it is not named."""
    add_class: float = 0.05
    """Per class that is not there: it is named."""
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


def tell(
    frame: Frame,
    labels: UInt8[Tensor, "batch x y z"],
    config: LanguageTraining,
    random: np.random.Generator,
) -> tuple[Frame, Bool[Tensor, "batch class"]]:
    """The frame with the context it is told, and the classes that its prompts name."""
    contexts, named = [], []
    for truth, context, pose in zip(labels, frame.context, frame.world_from_grid, strict=True):
        told = _context(context, config, random)
        if (
            torch.det(pose[:3, :3]) < 0
        ):  # mirrored: traffic keeps to the other side than the region's does
            told = replace(told, region=UNKNOWN)
        contexts.append(told)
        there = np.isin(np.arange(NUM_CLASSES), truth.unique().cpu().numpy())
        turned = random.random(NUM_CLASSES) < np.where(there, config.drop_class, config.add_class)
        classes = (there ^ turned) & (random.random() >= config.no_classes)
        classes[EMPTY] = False
        named.append(torch.from_numpy(classes))
    return replace(frame, context=tuple(contexts)), torch.stack(named).to(labels.device)


def _context(
    truth: DriveContext, config: LanguageTraining, random: np.random.Generator
) -> DriveContext:
    weather, region = truth.weather, truth.region
    draw = random.random()
    if draw < config.unknown_weather:
        weather = UNKNOWN
    elif draw < config.unknown_weather + config.wrong_weather:
        weather = str(random.choice([one for one in WEATHERS[1:] if one != weather]))
    if random.random() < config.unknown_region:
        region = UNKNOWN
    return DriveContext(weather, region)
