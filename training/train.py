"""Trains a recipe: ``python -m training.train tiny_town [--steps 100] [--resume]``.

``train`` sets up, loops over the steps and reports; ``training/learning/step.py`` is one step.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import tyro
from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from occ_core.checkpoint import save_checkpoint
from occ_core.datasets.samples import LabelledFrames
from occ_core.engine import OccupancyEngine, best_device, bf16_is_fast, checked_device
from occ_core.files import check_target
from occ_core.interface import VoxelModel
from occ_core.losses.cross_entropy import class_weights
from occ_core.losses.gauss_render.loss import GaussRenderLoss
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.losses.sequential.renderer import SequentialRenderer
from occ_core.ops.allocator import keep_freed_memory
from occ_core.prompts import all_prompts
from training.figures.keyframe import keyframe_picture, write_picture
from training.learning.config import TrainConfig
from training.learning.examples import count_voxels
from training.learning.label_set_option import label_set_option
from training.learning.loader import load_clips, split_frames
from training.learning.passthrough import FabricPassthrough
from training.learning.pretrained import initial_model, parameter_groups
from training.learning.processes import MeanGradientStrategy, started_by_torchrun
from training.learning.schedule import warmup_cosine
from training.learning.state import TrainingState
from training.learning.step import StepResult, StepSetup, optimise
from training.learning.text_encoder import text_encoder, trainable_state
from training.learning.validation import labelled_frames, validate
from training.recipes import RECIPES
from training.results.stored import to_json

LOG_STEPS = 20
"""Number of steps between points of the curves."""


def train(config: TrainConfig, *, resume: bool = False) -> Path:
    """Runs a training to its end and returns the checkpoint with the averaged weights.

    Args:
        resume: continue from ``config.out/state.pt`` if there is one; on the CPU the result is bit
            for bit the same as without the stop.

    Raises:
        FileNotFoundError: data are missing.
        FileExistsError: ``config.out`` holds a training and ``resume`` is off.
        ValueError: the data have too few scenes, or ``config.out`` cannot be made.
    """
    check_target(config.out, "folder")
    state_path = config.out / "state.pt"
    if state_path.exists() and not resume:
        raise FileExistsError(
            f"'{config.out}' already holds a training; continue it with --resume or choose another "
            "--out"
        )
    fabric = _launch(config)
    if fabric.is_global_zero:
        _write_config(config)
    training, validation = split_frames(config)
    state, setup = _set_up(config, fabric, training)
    stored = fabric.load(state_path, weights_only=True) if state_path.exists() else None
    clips = load_clips(
        training,
        config,
        first_step=0 if stored is None else stored["step"],
        share=(fabric.global_rank, fabric.world_size),
    )
    if stored is not None:  # after the loader, which has drawn a random number
        state.load_state_dict(stored)

    writer = SummaryWriter(config.out / "curves", purge_step=state.step)
    bar = tqdm(
        total=config.steps,
        initial=state.step,
        unit="step",
        dynamic_ncols=True,
        disable=not fabric.is_global_zero,
    )
    if state.step >= config.steps:  # stopped between its last state and its last report
        _report(state, validation, config, fabric, writer)
    for clip in clips:
        result = optimise(state, clip, setup)
        bar.update()
        if state.step % LOG_STEPS == 0:
            _log(result, state, config, writer, bar)
        if state.step % config.epoch_steps == 0 or state.step == config.steps:
            # a stop while the file is being written must not cost the previous one
            part = state_path.with_suffix(".part")
            fabric.save(part, state.state_dict())
            if fabric.is_global_zero:
                part.replace(state_path)
            _report(state, validation, config, fabric, writer)
    bar.close()
    writer.close()
    return config.out / "model.safetensors"


def _launch(config: TrainConfig) -> Fabric:
    """Devices and precision.

    Raises:
        ValueError: torch does not see the device, or torchrun has started another number of
            processes than ``config.processes``.
    """
    device = best_device() if config.device == "auto" else checked_device(config.device)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and bf16_is_fast(device))
    started = started_by_torchrun()
    if started is not None and config.processes not in (None, started[0]):
        raise ValueError(
            f"torchrun has started {started[0]} processes on this machine, but --processes is "
            f"{config.processes}; leave it out"
        )
    processes, machines = started or (config.processes or 1, 1)
    alone = started is None and device.type != "cpu"
    several = processes * machines > 1 or (alone and torch.cuda.device_count() > 1)
    fabric = Fabric(
        accelerator=device.type,
        devices="auto" if alone else processes,
        num_nodes=machines,
        strategy=MeanGradientStrategy() if several else "auto",
        precision="bf16-mixed" if bf16 else "32-true",
    )
    fabric.launch()
    if processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    # On the CPU too, threads may add up some gradients in any order; a resumed run could then not
    # be the same to the last bit.
    torch.use_deterministic_algorithms(fabric.device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return fabric


def _write_config(config: TrainConfig) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(config), indent=2, default=str)
    (config.out / "config.json").write_text(text + "\n")


def _set_up(
    config: TrainConfig, fabric: Fabric, training: LabelledFrames
) -> tuple[TrainingState, StepSetup]:
    """The state before the first step, and what stays the same in every step."""
    state, wrapped = _initial_state(config, fabric)
    weights = class_weights(
        count_voxels(training, label_set=config.model.labels),
        config.losses.class_balance,
        config.model.labels.empty,
    ).to(fabric.device)
    return state, StepSetup(config, fabric, wrapped, weights, state.gauss_render)


def _gauss_render(config: TrainConfig) -> GaussRenderLoss | None:
    """GaussRender's loss, if it takes part."""
    if config.gauss_render is None:
        return None
    return GaussRenderLoss(
        config.model.grid,
        config.gauss_render,
        len(config.model.labels.names),
        config.model.volume_channels if config.gauss_render.learned_opacity else 0,
        cache=None if config.truth_renders is None else TruthCache(config.truth_renders),
        empty=config.model.labels.empty,
    )


def _initial_state(config: TrainConfig, fabric: Fabric) -> tuple[TrainingState, nn.Module]:
    """The state before the first step, and its model as wrapped by Fabric."""
    torch.manual_seed(config.seed)
    model = initial_model(config)
    encoder = None if config.language is None else text_encoder(config.language.clip)
    if encoder is not None:
        model.prompts.fill(encoder(list(all_prompts(config.model.labels))).detach())
    average = AveragedModel(
        model, multi_avg_fn=partial(_update_average, config.ema_decay), use_buffers=True
    ).to(fabric.device)
    renderer = None
    if config.rendering is not None:
        channels, grid = config.model.channels, config.model.coarse_grid
        renderer = SequentialRenderer(channels, grid, config.rendering).to(fabric.device)
    gauss_render = _gauss_render(config)
    others = [] if renderer is None else list(renderer.parameters())
    if gauss_render is not None:
        others += list(gauss_render.to(fabric.device).parameters())  # of the learned opacity
    if encoder is not None:
        others += [weight for weight in encoder.parameters() if weight.requires_grad]  # LoRA's
    optimiser = torch.optim.AdamW(
        parameter_groups(model, others, config.learning_rate, config.backbone_rate),
        weight_decay=config.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, partial(warmup_cosine, warmup_steps=config.warmup_steps, steps=config.steps)
    )
    trained_encoder = encoder if trainable_state(encoder) else None
    wrapped, optimiser = fabric.setup(
        FabricPassthrough(model, renderer, trained_encoder, gauss_render), optimiser
    )
    state = TrainingState(model, average, optimiser, schedule, renderer, encoder, gauss_render)
    return state, wrapped


def _update_average(
    decay: float, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int
) -> None:
    """Exponential moving average, in place. The first updates count more, so that the random
    initial weights are soon forgotten.
    """
    decay = min(decay, (1 + int(updates)) / (10 + int(updates)))
    for mean, value in zip(averaged, current, strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _log(
    result: StepResult, state: TrainingState, config: TrainConfig, writer: SummaryWriter, bar: tqdm
) -> None:
    """A point of every curve, and the main losses in the progress bar."""
    values = {name: loss.item() for name, loss in result.losses.items()}
    bar.set_postfix({name: f"{values[name]:.3f}" for name in ("fine_lovasz", "total")})
    for name, value in values.items():
        writer.add_scalar(f"loss/{name}", value, state.step)
    writer.add_scalar("learning_rate", state.schedule.get_last_lr()[0], state.step)
    if config.model.adaptive_fusion is not None:
        candidates = config.model.adaptive_fusion.candidates
        for k, fraction in zip(candidates, result.prediction.neighbour_shares(), strict=True):
            writer.add_scalar(f"neighbours/k{k}", fraction, state.step)


def _report(
    state: TrainingState,
    validation: LabelledFrames,
    config: TrainConfig,
    fabric: Fabric,
    writer: SummaryWriter,
) -> None:
    """Validates the averaged model, every process on its share of the keyframes; the first one
    writes checkpoint, scores and a picture.
    """
    model = cast(VoxelModel, state.average.module)
    was_training = model.training
    engine = OccupancyEngine(model, next(model.parameters()).device, config.precision)
    chosen = np.array_split(_validation_indices(len(validation), config), fabric.world_size)[
        fabric.global_rank
    ].tolist()
    scores = validate(engine, validation, chosen)
    if not fabric.is_global_zero:
        model.train(was_training)
        return
    for name in ("iou", "miou"):
        writer.add_scalar(f"validation/{name}", scores[name], state.step)
    save_checkpoint(config.out / "model.safetensors", model, _made_by(state, config, scores))
    middle = len(chosen) // 2
    _, (frame, labels) = next(iter(labelled_frames(validation, chosen[middle:] + chosen[:middle])))
    images = [image.permute(1, 2, 0).numpy() for image in frame.images[0]]
    prediction = engine.step(frame).labels[0].numpy()
    title = f"step {state.step}"
    shape = config.model
    picture = keyframe_picture(
        images, prediction, labels.numpy(), shape.grid, title, shape.labels, shape.grid_frame
    )
    write_picture(picture, config.out / "pictures" / f"step_{state.step:06d}.png")
    tqdm.write(
        f"step {state.step}: IoU {scores['iou']:.3f}, mIoU {scores['miou']:.3f} in validation"
    )
    model.train(was_training)


def _validation_indices(length: int, config: TrainConfig) -> list[int]:
    """Evenly spread keyframes; consecutive ones for a model that uses the previous keyframe."""
    if config.model.temporal is None and config.model.language is None:
        spread = np.linspace(0, length - 1, config.validation_frames).astype(int)
        return np.unique(spread).tolist()
    return list(range(min(length, config.validation_frames)))


def _made_by(state: TrainingState, config: TrainConfig, scores: dict[str, Any]) -> dict[str, Any]:
    """The origin of a checkpoint, as its description records it."""
    made_by = {
        "command": shlex.join(["python", "-m", "training.train", *sys.argv[1:]]),
        "seed": config.seed,
        "step": state.step,
        "validation": json.loads(to_json(scores)),  # null where nothing counted
    }
    if state.encoder is not None:
        made_by["text_encoder"] = state.encoder.described
    return made_by


def main() -> None:
    """Command line: the name of a recipe, then any of its fields as options."""
    keep_freed_memory()
    arguments = sys.argv[1:]
    resume = "--resume" in arguments
    recipes = {recipe.__name__: (recipe.__doc__ or "", recipe()) for recipe in RECIPES}
    config = tyro.extras.overridable_config_cli(
        recipes,
        args=[argument for argument in arguments if argument != "--resume"],
        prog="training.train",
        registry=label_set_option(),
    )
    try:
        checkpoint = train(config, resume=resume)
        rank_zero_only(print)(f"trained: {checkpoint}")
    except (OSError, ValueError) as err:
        sys.exit(f"training.train: {err}")


if __name__ == "__main__":
    main()
