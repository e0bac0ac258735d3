"""Teaches the image branch of a recipe's model alone, before the training of the whole:
``python -m training.pretrain_images image_context_streets --start-from C --to P``.

A pretrained backbone that is kept (``backbone_rate`` 0) makes the same of an image in every step.
Its maps are computed once per variation of an image, so that a step on 36 images takes a tenth of
the time of a training step on two keyframes. What follows the backbone learns from them the class
and the depth of every cell. The LiDAR branch and what follows both branches are taken from
``--start-from``; the features that are lifted (``view_transform.context``) start anew and are left
to the training of the whole.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from occ_core.checkpoint import save_checkpoint
from occ_core.datasets.samples import LabelledFrames
from occ_core.engine import bf16_is_fast
from occ_core.files import check_target
from occ_core.image_encoder import ImageEncoder
from occ_core.losses.cross_entropy import class_weights
from occ_core.ops.allocator import keep_freed_memory
from training.learning.config import TrainConfig
from training.learning.examples import TrainingExamples, count_voxels
from training.learning.image_cells import (
    ImageBranch,
    ImageCells,
    StoredCells,
    image_cells,
    image_losses,
)
from training.learning.loader import split_frames
from training.learning.pretrained import initial_model
from training.learning.schedule import warmup_cosine
from training.recipes import RECIPES

TAUGHT_ANEW = ("image_encoder", "image_classes", "view_transform")
"""Parts of the trained model that are not taken over."""


@dataclass(frozen=True, kw_only=True)
class PretrainImagesConfig:
    """Which image branch is taught, from which weights, and for how long."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Name of the recipe that trains the whole model; its data, augmentation and weights of losses
    are used.
    """
    start_from: Path
    """Checkpoint that the other parts are taken from."""
    to: Path
    """The .safetensors file to write."""
    data: Path | None = None
    """Data root in place of the recipe's."""
    passes: int = 5
    """Variations of every keyframe. Each takes half a megabyte of memory, twice that at the
    peak.
    """
    steps: int = 8000
    images: int = 36
    """Images per step."""
    learning_rate: float = 2e-3
    """The highest, after a tenth of the steps; it falls to a hundredth."""
    seed: int = 1

    def __post_init__(self) -> None:
        names = [recipe.__name__ for recipe in RECIPES]
        if self.recipe not in names:
            raise ValueError(f"no recipe is called '{self.recipe}'; choose from {', '.join(names)}")
        if self.to.suffix != ".safetensors":
            raise ValueError(f"to must be a .safetensors file, got '{self.to}'")
        for name in ("passes", "steps", "images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def training(self) -> TrainConfig:
        """The recipe, starting from the given weights."""
        (recipe,) = (each() for each in RECIPES if each.__name__ == self.recipe)
        return replace(
            recipe,
            data=self.data or recipe.data,
            start_from=self.start_from,
            start_without=TAUGHT_ANEW,
        )


def pretrain_images(config: PretrainImagesConfig, training: TrainConfig) -> dict[str, float]:
    """Teaches the branch, writes the checkpoint, and returns the means of the last losses.

    Raises:
        FileNotFoundError: data or the checkpoint are missing.
        ValueError: the model has no classes of cells, its backbone would be trained further, or
            there is no image.
        FloatingPointError: the loss is not finite.
    """
    check_target(config.to, "file")
    if training.backbone_rate != 0:
        raise ValueError(
            "the recipe trains its image backbone further, so that its maps would not stay what "
            f"they are: backbone_rate is {training.backbone_rate}, and must be 0"
        )
    torch.manual_seed(config.seed)
    # evaluation mode: a ResNet's batch norms would follow the images, and its maps with them
    model = initial_model(training).eval()
    branch = ImageBranch.of(model)
    frames, _ = split_frames(training)
    stored = StoredCells(_cells(branch.encoder, frames, config, training))
    losses = _fit(branch, stored, config, training, frames)
    command = shlex.join(["python", "-m", "training.pretrain_images", *sys.argv[1:]])
    made_by = {"command": command, "seed": config.seed, "step": config.steps, "losses": losses}
    save_checkpoint(config.to, model, made_by)
    return losses


def _cells(
    encoder: ImageEncoder,
    frames: LabelledFrames,
    config: PretrainImagesConfig,
    training: TrainConfig,
) -> Iterator[ImageCells]:
    """The images of all variations of all keyframes."""
    examples = TrainingExamples(
        frames,
        training.model.cascade_ratio,
        training.augment,
        config.seed,
        empty=training.model.labels.empty,
        masked_inputs=training.model.masked_inputs,
    )
    keys = [
        (variation, index) for variation in range(config.passes) for index in range(len(frames))
    ]
    loader: DataLoader[Any] = DataLoader(
        examples, batch_size=None, sampler=keys, num_workers=training.workers
    )
    for example in tqdm(loader, desc="backbone", unit="keyframe"):
        cells = image_cells(encoder, example, training)
        if len(cells.classes):
            yield cells


def _fit(
    branch: ImageBranch,
    stored: StoredCells,
    config: PretrainImagesConfig,
    training: TrainConfig,
    frames: LabelledFrames,
) -> dict[str, float]:
    """Means of the losses over the last tenth of the steps."""
    weights = training.losses
    of_classes = class_weights(
        count_voxels(frames, label_set=training.model.labels),
        weights.class_balance,
        training.model.labels.empty,
    )
    optimiser = torch.optim.AdamW(
        branch.taught, config.learning_rate, weight_decay=training.weight_decay
    )
    rates = partial(warmup_cosine, warmup_steps=config.steps // 10, steps=config.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates)
    generator = torch.Generator().manual_seed(config.seed)
    last: list[dict[str, float]] = []
    bar = tqdm(stored.batches(config.images, config.steps, generator), total=config.steps)
    for step, cells in enumerate(bar):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_fast(torch.device("cpu"))):
            losses = image_losses(branch, cells, of_classes)
            total = (weights.image_classes or 1.0) * losses["image_classes"]
            total = total + weights.depth * losses["depth"]
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {step + 1}")
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(branch.taught, training.clip_norm)
        optimiser.step()
        schedule.step()
        values = {name: loss.item() for name, loss in losses.items()}
        bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
        if step >= config.steps - max(1, config.steps // 10):
            last.append(values)
    return {name: sum(each[name] for each in last) / len(last) for name in last[0]}


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        config = tyro.cli(
            PretrainImagesConfig, prog="training.pretrain_images", description=__doc__
        )
        losses = pretrain_images(config, config.training)
    except (OSError, ValueError) as err:
        sys.exit(f"training.pretrain_images: {err}")
    print(
        f"taught: {config.to}, last losses {', '.join(f'{k} {v:.3f}' for k, v in losses.items())}"
    )


if __name__ == "__main__":
    main()
