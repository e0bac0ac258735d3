"""Trains a recipe: ``python -m training.train tiny_town [--steps 100] [--resume]``. The loop is
below, top to bottom.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import tyro
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Sampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from occ_core.adaptive_fusion import AdaptiveFusion
from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint, start_from
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.splits import split_scenes
from occ_core.engine import OccupancyEngine, best_device, bf16_is_fast
from occ_core.interface import Prediction, VoxelModel
from occ_core.losses.cross_entropy import class_weights
from occ_core.losses.gauss_render.loss import GaussRenderLoss
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.losses.sequential.renderer import SequentialRenderer, View
from occ_core.ops.allocator import keep_freed_memory
from occ_core.prompts import PROMPTS
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.types import Frame, HeadOutput, TemporalMemory
from training.evaluate import score_frames
from training.figures.keyframe import keyframe_picture, write_picture
from training.learning.examples import (
    ClipSampler,
    Example,
    StepSampler,
    TrainingExamples,
    collate,
    count_voxels,
    drives,
)
from training.learning.objective import objective
from training.learning.prompt_noise import tell
from training.learning.sequential_rendering import Past, render, total
from training.learning.text_encoder import TextEncoder, learned, text_encoder
from training.recipes import RECIPES, TrainConfig


def train(config: TrainConfig, *, resume: bool = False) -> Path:
    """Runs a training to its end and returns the checkpoint with the averaged weights.

    ``resume`` continues from ``config.out/state.pt``; on the CPU the result is the same to the last
    bit as without the stop.

    Raises:
        FileNotFoundError: data are missing.
        FileExistsError: ``config.out`` holds a run already and ``resume`` is off.
    """
    state_path = config.out / "state.pt"
    if state_path.exists() and not resume:
        raise FileExistsError(
            f"'{config.out}' holds a training already; continue it with --resume or give another "
            "--out"
        )
    device = best_device() if config.device == "auto" else torch.device(config.device)
    fabric = Fabric(
        accelerator=device.type,
        devices="auto" if device.type != "cpu" else 1,
        precision=_precision(config, device),
    )
    fabric.launch()
    # on the CPU too some gradients are added by threads in any order; only so is a resumed run the
    # same to the last bit
    torch.use_deterministic_algorithms(fabric.device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.json").write_text(
        json.dumps(asdict(config), indent=2, default=str) + "\n"
    )

    torch.manual_seed(config.seed)
    raw_model = build_model(config.model)
    if config.backbone_weights is not None and raw_model.image_encoder is not None:
        raw_model.image_encoder.load_backbone(config.backbone_weights)
    if config.start_from is not None:
        start_from(raw_model, config.start_from)
    encoder = None if config.language is None else text_encoder(config.language.clip)
    if raw_model.prompts is not None and encoder is not None:
        raw_model.prompts.fill(encoder(list(PROMPTS)).detach())
    average = AveragedModel(
        raw_model, multi_avg_fn=partial(_average, config.ema_decay), use_buffers=True
    ).to(fabric.device)
    renderer = _renderer(config).to(fabric.device) if config.rendering is not None else None
    parameters = [*raw_model.parameters(), *(renderer.parameters() if renderer is not None else ())]
    if encoder is not None:
        parameters += [weight for weight in encoder.parameters() if weight.requires_grad]  # LoRA's
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _warmup_cosine(step, config)
    )
    model, optimiser = fabric.setup(
        _PastFabric(raw_model, renderer, encoder if learned(encoder) else None), optimiser
    )

    gauss_render = None
    if config.gauss_render is not None:
        cache = None if config.truth_renders is None else TruthCache(config.truth_renders)
        gauss_render = GaussRenderLoss(config.model.grid, config.gauss_render, cache=cache)
    training, validation = _frames(config)
    weights = class_weights(count_voxels(training)).to(fabric.device)
    state = fabric.load(state_path) if resume and state_path.exists() else None
    first_step = 0 if state is None else state["step"]
    memories: dict[tuple[int, int], TemporalMemory] = {}  # of the drives under way
    pasts: dict[tuple[int, int], Past] = {}  # of the same
    examples = _clips(training, config, fabric, first_step)
    if state is not None:
        raw_model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        memories = {drive: _memory(kept) for drive, kept in state["memories"].items()}
        pasts = {drive: _past(kept) for drive, kept in state["pasts"].items()}
        if renderer is not None:
            renderer.load_state_dict(state["renderer"])
        if encoder is not None:
            encoder.load_state_dict(state["encoder"], strict=False)
        torch.set_rng_state(state["rng"].cpu())  # last: the loader has drawn a number too

    writer = SummaryWriter(config.out / "curves", purge_step=first_step)
    bar = tqdm(
        total=config.steps,
        initial=first_step,
        unit="step",
        dynamic_ncols=True,
        disable=not fabric.is_global_zero,
    )
    for step, clip in enumerate(examples, start=first_step + 1):
        model.train()
        if isinstance(raw_model.fusion, AdaptiveFusion):
            raw_model.fusion.anneal(step / config.steps)
        per_frame = []
        for number, example in enumerate(clip):
            frame, labels = example.frame.to(fabric.device), example.labels.to(fabric.device)
            coarse_labels = example.coarse_labels.to(fabric.device)
            named = None
            if config.language is not None:
                drawn = np.random.default_rng([config.seed, step, number, 1 + fabric.global_rank])
                frame, named = tell(frame, labels, config.language, drawn)
            drawn = np.random.default_rng([config.seed, step, number, 1000 + fabric.global_rank])
            forgets = drawn.random() < (config.forget or 0)
            memory = memories.pop(example.drive, None)
            carried = SimpleNamespace(
                frame=frame,
                named=named,
                begins_step=number == 0,
                around=[one.to(fabric.device) for one in example.around],
                memory=None if forgets else memory,
                past=pasts.pop(example.drive, None),
            )
            prediction = model(carried)
            per_frame.append(
                objective(
                    prediction, frame, labels, coarse_labels, weights, config.losses, config.model
                )
            )
            if config.rendering is not None:
                per_frame[-1] |= carried.rendering._asdict()
                per_frame[-1]["total"] = total(
                    per_frame[-1]["total"], carried.rendering, config.rendering
                )
            if gauss_render is not None and step > (config.gauss_render_from or 0) * config.steps:
                random = np.random.default_rng([config.seed, step, number])
                per_frame[-1] = _projective(
                    gauss_render, prediction, frame, labels, random, per_frame[-1], config
                )
            if config.model.temporal is not None and not example.ends_drive:
                memories[example.drive] = carried.memory
                if carried.past is not None:
                    pasts[example.drive] = carried.past
        memories = {drive: memory.detach() for drive, memory in memories.items()}
        losses = {
            name: torch.stack([one[name] for one in per_frame]).mean() for name in per_frame[0]
        }
        if not torch.isfinite(losses["total"]):
            raise FloatingPointError(
                f"the loss of step {step} is not finite: "
                f"{ {name: float(loss) for name, loss in losses.items()} }"
            )
        optimiser.zero_grad()
        fabric.backward(losses["total"])
        fabric.clip_gradients(model, optimiser, max_norm=config.clip_norm)
        optimiser.step()
        schedule.step()
        average.update_parameters(raw_model)

        bar.update()
        if step % 20 == 0:
            bar.set_postfix(
                {
                    name: f"{loss.item():.3f}"
                    for name, loss in losses.items()
                    if name in ("total", "fine_lovasz")
                }
            )
            for name, loss in losses.items():
                writer.add_scalar(f"loss/{name}", loss.item(), step)
            writer.add_scalar("learning_rate", schedule.get_last_lr()[0], step)
            if config.model.adaptive_fusion is not None:
                for k, share in zip(
                    config.model.adaptive_fusion.candidates,
                    prediction.neighbour_shares(),
                    strict=True,
                ):
                    writer.add_scalar(f"neighbours/k{k}", share, step)
        if step % config.epoch_steps == 0 or step == config.steps:
            unfinished = state_path.with_suffix(
                ".part"
            )  # a stop while it is written must not cost the last one
            fabric.save(
                unfinished,
                {
                    "model": raw_model.state_dict(),
                    "average": average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "rng": torch.get_rng_state(),
                    "step": step,
                    "memories": {drive: _fields(memory) for drive, memory in memories.items()},
                    "pasts": {drive: _past_fields(past) for drive, past in pasts.items()},
                    "renderer": {} if renderer is None else renderer.state_dict(),
                    "encoder": learned(encoder),
                },
            )
            if fabric.is_global_zero:
                unfinished.replace(state_path)
                _report(cast(VoxelModel, average.module), validation, config, writer, step, encoder)
    if first_step >= config.steps:  # stopped between its last state and its last report
        _report(cast(VoxelModel, average.module), validation, config, writer, first_step, encoder)
    bar.close()
    writer.close()
    return config.out / "model.safetensors"


class _PastFabric(nn.Module):
    """Carries frames and memories through Fabric's wrapper, which would cast their float64 poses
    and refuses frozen classes.
    """

    def __init__(
        self, model: VoxelModel, renderer: SequentialRenderer | None, encoder: TextEncoder | None
    ) -> None:
        super().__init__()
        self.model = model
        self.renderer = renderer
        self.encoder = encoder

    def forward(self, carried: SimpleNamespace) -> Prediction:
        if self.encoder is not None and self.model.prompts is not None and carried.begins_step:
            self.model.prompts.fill(
                self.encoder(list(PROMPTS))
            )  # LoRA has changed since the step before
        prediction = self.model(carried.frame, carried.memory, carried.named)
        carried.memory = prediction.memory
        if self.renderer is not None:
            with torch.autocast(
                carried.frame.images.device.type, enabled=False
            ):  # a blend of hundreds needs float32
                carried.rendering, carried.past = render(
                    self.renderer, prediction, carried.frame, carried.around, carried.past
                )
        return prediction._replace(memory=None)


def _renderer(config: TrainConfig) -> SequentialRenderer:
    assert config.rendering is not None
    return SequentialRenderer(config.model.channels, config.model.coarse_grid, config.rendering)


def _projective(
    loss: GaussRenderLoss,
    prediction: Prediction,
    frame: Frame,
    labels: Tensor,
    random: np.random.Generator,
    losses: dict[str, Tensor],
    config: TrainConfig,
) -> dict[str, Tensor]:
    """The losses with GaussRender's among them and in the total (Eq. 1)."""
    cameras = [frame_cameras(frame, sample) for sample in range(frame.batch_size)]
    rendered = loss.of_cascade(prediction.head, labels, cameras, random)
    named = {
        f"rendered_{name}": value for name, value in rendered._asdict().items() if name != "total"
    }
    return losses | named | {"total": losses["total"] + rendered.total}


def _past_fields(past: Past) -> dict[str, Any]:
    """As ``_past`` takes it; Fabric saves no dataclasses."""
    cameras = {
        "intrinsics": past.view.cameras.intrinsics,
        "camera_from_grid": past.view.cameras.camera_from_grid,
    }
    images = {"images": past.view.images, "valid": past.view.valid}
    return cameras | images | {"world_from_grid": past.world_from_grid, "stamp_ns": past.stamp_ns}


def _past(kept: dict[str, Any]) -> Past:
    height, width = kept["images"].shape[-2:]
    cameras = Cameras(kept["intrinsics"], kept["camera_from_grid"], (height, width))
    return Past(
        View(0.0, cameras, kept["images"], kept["valid"]), kept["world_from_grid"], kept["stamp_ns"]
    )


def _report(
    model: VoxelModel,
    validation: NuScenesFrames,
    config: TrainConfig,
    writer: SummaryWriter,
    step: int,
    encoder: TextEncoder | None,
) -> None:
    """Scores the averaged model on the validation keyframes, writes the checkpoint, the scores and
    a picture.
    """
    was_training = model.training
    engine = OccupancyEngine(model, next(model.parameters()).device, config.precision)
    if config.model.temporal is None and config.model.language is None:
        chosen = np.unique(
            np.linspace(0, len(validation) - 1, config.validation_frames).astype(int)
        ).tolist()
    else:
        chosen = list(
            range(min(len(validation), config.validation_frames))
        )  # consecutive: there is something to remember
    scores = score_frames(engine, validation, chosen)
    for name in ("iou", "miou"):
        writer.add_scalar(f"validation/{name}", scores[name], step)
    made_by = {
        "command": shlex.join(["python", "-m", "training.train", *sys.argv[1:]]),
        "seed": config.seed,
        "step": step,
        "validation": scores,
    }
    if encoder is not None:
        made_by["text_encoder"] = encoder.described
    save_checkpoint(config.out / "model.safetensors", model, made_by)
    frame, labels = validation[chosen[len(chosen) // 2]]
    images = [image.permute(1, 2, 0).numpy() for image in frame.images[0]]
    prediction = engine.step(frame).labels[0].numpy()
    truth = None if labels is None else labels.numpy()
    picture = keyframe_picture(images, prediction, truth, config.model.grid, title=f"step {step}")
    write_picture(picture, config.out / "pictures" / f"step_{step:06d}.png")
    tqdm.write(
        f"step {step}: IoU {scores['iou']:.3f}, mIoU {scores['miou']:.3f} over {scores['frames']} "
        "validation keyframes"
    )
    model.train(was_training)


def _frames(config: TrainConfig) -> tuple[NuScenesFrames, NuScenesFrames]:
    """Training and validation frames."""
    if config.split is not None:
        train_scenes = split_scenes(config.data, config.version, config.split)
        validation_scenes = split_scenes(
            config.data, config.version, config.split.replace("train", "val")
        )
    else:
        names = sorted(scene["name"] for scene in NuScenes(config.data, config.version).scenes)
        if len(names) <= config.validation_scenes:
            raise ValueError(
                f"'{config.data}' has {len(names)} scenes, of which {config.validation_scenes} are "
                "for validation: none is left"
            )
        train_scenes, validation_scenes = (
            names[: -config.validation_scenes],
            names[-config.validation_scenes :],
        )
    return (
        NuScenesFrames(
            config.data,
            config.version,
            train_scenes,
            config.model.image_size,
            config.sweeps,
            config.model.grid,
        ),
        NuScenesFrames(
            config.data,
            config.version,
            validation_scenes,
            config.model.image_size,
            config.sweeps,
            config.model.grid,
        ),
    )


def _clips(
    frames: NuScenesFrames, config: TrainConfig, fabric: Fabric, first_step: int
) -> Iterator[list[Example]]:
    """For every step a batch of examples of one instant each, as a clip of one; or consecutive
    examples, ``by_drive``.
    """
    by_drive = config.model.temporal is not None or config.by_drive
    rendered = None if config.rendering is None else config.model.coarse_grid
    examples = TrainingExamples(
        frames,
        config.model.cascade_ratio,
        config.augment,
        config.seed,
        whole_drives=by_drive,
        rendered=rendered,
    )
    seed = (
        config.seed + 1000 * fabric.global_rank
    )  # every process draws its own order: DDP needs no further sampler
    sampler: Sampler[list[tuple[int, int]]]
    if by_drive:
        sampler = ClipSampler(
            drives(frames),
            config.streams,
            config.batch_size,
            config.clip,
            config.steps,
            seed,
            first_step,
        )
    else:
        sampler = StepSampler(len(frames), config.batch_size, config.steps, seed, first_step)
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_sampler=sampler,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        collate_fn=list if by_drive else _joined,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _joined(examples: list[Example]) -> list[Example]:
    return [collate(examples)]


def _fields(memory: TemporalMemory) -> dict[str, Any]:
    """As ``_memory`` takes it; Fabric saves no classes of ours."""
    return {field.name: getattr(memory, field.name) for field in fields(memory)} | {
        "head": tuple(memory.head or ())
    }


def _memory(kept: dict[str, Any]) -> TemporalMemory:
    return TemporalMemory(**kept | {"head": HeadOutput(*kept["head"]) if kept["head"] else None})


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _average(
    decay: float, averaged: list[Tensor], current: list[Tensor], updates: Tensor | int
) -> None:
    """Exponential moving average, in place; the first updates count more, so that the random start
    is forgotten.
    """
    decay = min(decay, (1 + int(updates)) / (10 + int(updates)))
    for mean, value in zip(averaged, current, strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _warmup_cosine(step: int, config: TrainConfig) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to 1 %."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, progress))))


def _precision(config: TrainConfig, device: torch.device) -> Any:
    fast = config.precision == "bf16" or (config.precision == "auto" and bf16_is_fast(device))
    return "bf16-mixed" if fast else "32-true"


def main() -> None:
    """Command line: the recipe's name, then any of its fields."""
    keep_freed_memory()
    arguments = sys.argv[1:]
    resume = "--resume" in arguments
    recipes = {recipe.__name__: (recipe.__doc__ or "", recipe()) for recipe in RECIPES}
    config = tyro.extras.overridable_config_cli(
        recipes,
        args=[argument for argument in arguments if argument != "--resume"],
        prog="training.train",
    )
    try:
        print(f"trained: {train(config, resume=resume)}")
    except (FileNotFoundError, FileExistsError, ValueError) as err:
        sys.exit(f"training.train: {err}")


if __name__ == "__main__":
    main()
