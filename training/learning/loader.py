"""From a training's configuration to its data: frames of both splits, and one clip per step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.splits import split_scenes
from training.learning.config import TrainConfig
from training.learning.examples import Example, TrainingExamples, collate, drives
from training.learning.samplers import ClipSampler, StepSampler


def split_frames(config: TrainConfig) -> tuple[NuScenesFrames, NuScenesFrames]:
    """Frames for training and for validation.

    Raises:
        FileNotFoundError: data are missing.
        ValueError: no scene is left for training.
    """
    model = config.model
    training, validation = (
        NuScenesFrames(
            config.data, config.version, scenes, model.image_size, config.sweeps, model.grid
        )
        for scenes in _split(config)
    )
    return training, validation


def _split(config: TrainConfig) -> tuple[list[str], list[str]]:
    """Names of the scenes for training and for validation."""
    if config.split is not None:
        splits = (config.split, config.split.replace("train", "val"))
        training, validation = (
            split_scenes(config.data, config.version, split) for split in splits
        )
        return training, validation
    names = sorted(scene["name"] for scene in NuScenes(config.data, config.version).scenes)
    if len(names) <= config.validation_scenes:
        raise ValueError(
            f"'{config.data}' has {len(names)} scenes, of which {config.validation_scenes} are "
            "for validation: none is left for training"
        )
    return names[: -config.validation_scenes], names[-config.validation_scenes :]


def load_clips(
    frames: NuScenesFrames, config: TrainConfig, rank: int, first_step: int
) -> Iterator[list[Example]]:
    """One clip per step from ``first_step`` on.

    Drive by drive, a clip holds consecutive keyframes in the order of their forward passes;
    otherwise it holds a single example with a batch of keyframes.
    """
    by_drive = config.model.temporal is not None or config.by_drive
    examples = TrainingExamples(
        frames,
        config.model.cascade_ratio,
        config.augment,
        config.seed,
        whole_drives=by_drive,
        rendered=None if config.rendering is None else config.model.coarse_grid,
    )
    # every process draws its own order, so that DDP needs no further sampler
    seed = config.seed + 1000 * rank
    steps, batch_size = config.steps, config.batch_size
    sampler: Sampler[list[tuple[int, int]]]
    if by_drive:
        sampler = ClipSampler(
            drives(frames), config.streams, batch_size, config.clip, steps, seed, first_step
        )
    else:
        sampler = StepSampler(len(frames), batch_size, steps, seed, first_step)
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_sampler=sampler,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        collate_fn=list if by_drive else _single,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _single(examples: list[Example]) -> list[Example]:
    return [collate(examples)]


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
