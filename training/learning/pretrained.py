"""Trained weights that a training starts from, and the learning rate that keeps a backbone's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from torch import nn

from occ_core.backbones.efficientnet_lite import EfficientNetLite
from occ_core.backbones.resnet import ResNet
from occ_core.build import build_model
from occ_core.checkpoint import start_from
from occ_core.image_encoder import ImageEncoder
from occ_core.interface import VoxelModel
from training.learning.config import TrainConfig


def initial_model(config: TrainConfig) -> VoxelModel:
    """The model of a recipe before its first step, with the weights that it starts from.

    Raises:
        CheckpointError: see ``start_from``.
        FileNotFoundError, ModuleNotFoundError, ValueError: see ``load_backbone``.
    """
    model = build_model(config.model)
    if config.backbone_weights is not None:
        load_backbone(model, config.backbone_weights)
    if config.start_from is not None:
        start_from(model, config.start_from, config.start_without)
    return model


def load_backbone(model: VoxelModel, weights: Path | Literal["imagenet"]) -> None:
    """Loads pretrained weights into the backbone of a model; one without cameras has none.

    Args:
        weights: as ``TrainConfig.backbone_weights``.

    Raises:
        ValueError: the weights are for another backbone.
        FileNotFoundError: the folder does not exist.
        ModuleNotFoundError: the pip package with the ImageNet weights is not installed.
    """
    if not isinstance(model.image_encoder, ImageEncoder):
        return
    backbone = model.image_encoder.backbone
    if isinstance(backbone, EfficientNetLite) and weights == "imagenet":
        backbone.load_pretrained()
    elif isinstance(backbone, ResNet) and isinstance(weights, Path):
        backbone.load_pretrained(weights)
    else:
        raise ValueError(
            f"backbone_weights '{weights}' do not fit a {type(backbone).__name__}: give 'imagenet' "
            "with an EfficientNetLite, and the folder of a saved transformers ResNetModel with a "
            "ResNet"
        )


def parameter_groups(
    model: VoxelModel, others: Iterable[nn.Parameter], rate: float, backbone_rate: float | None
) -> list[dict[str, Any]]:
    """Parameters by learning rate, for the optimiser.

    Args:
        others: parameters outside the model, which learn like the rest of it.
        rate: learning rate of everything but the backbone.
        backbone_rate: factor on ``rate`` of the image backbone; None is 1. With 0 the backbone
            stays as it is: it needs no gradients then, and is in no group.
    """
    slow: list[nn.Parameter] = []
    if backbone_rate is not None and isinstance(model.image_encoder, ImageEncoder):
        slow = list(model.image_encoder.backbone.parameters())
    kept = {id(parameter) for parameter in slow}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in kept]
    groups = [{"params": [*rest, *others], "lr": rate}]
    if backbone_rate == 0:
        for parameter in slow:
            parameter.requires_grad_(False)
    elif slow:
        assert backbone_rate is not None
        groups.append({"params": slow, "lr": rate * backbone_rate})
    return groups
