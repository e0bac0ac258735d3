"""From a training's configuration to its data: frames of both splits, and one clip per step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from occ_core.datasets.benchmark_data import benchmark_of, check_images, drive_names, open_frames
from occ_core.datasets.samples import LabelledFrames
from occ_core.labels.benchmarks import BENCHMARKS
from training.learning.config import TrainConfig
from training.learning.examples import Example, TrainingExamples, collate, drives
from training.learning.repeat_factors import mean_voxels, repeat_factors
from training.learning.samplers import ClipSampler, StepSampler


def split_frames(config: TrainConfig) -> tuple[LabelledFrames, LabelledFrames]:
    """Frames for training and for validation, from the data set that has labels of the model's
    classes.

    Raises:
        FileNotFoundError: data are missing.
        ValueError: no scene is left for training, or the data set has no labels for the model's
            grid.
    """
    model = config.model
    name = benchmark_of(model.labels.name)
    frame = BENCHMARKS[name].grid_frame
    if model.grid_frame != frame:
        raise ValueError(
            f"the labels of {name} lie in the frame '{frame}', but the model's grid is fixed in "
            f"'{model.grid_frame}'; set --model.grid-frame {frame}"
        )
    training, validation = (
        open_frames(
            name,
            config.data,
            drives,
            model.image_size,
            model.grid,
            config.version,
            config.sweeps,
            config.damaged,
        )
        for drives in _split(config)
    )
    if model.camera:
        check_images(training)
        check_images(validation)
    return training, validation


def _split(config: TrainConfig) -> tuple[list[str], list[str]]:
    """Names of the drives for training and for validation.

    Raises:
        ValueError: a drive is in both, or none is left for training.
    """
    name = benchmark_of(config.model.labels.name)
    if config.split is not None:
        splits = (config.split, config.split.replace("train", "val"))
        training, validation = (
            drive_names(name, config.data, split, config.version) for split in splits
        )
        both = sorted(set(training) & set(validation))
        if both:
            raise ValueError(
                f"--split {config.split} validates on drives that it trains on: {len(both)}, such "
                f"as {both[:3]}. Give a split with 'train' in its name, whose counterpart with "
                "'val' validates, or --split None, which holds out the last scenes"
            )
        return training, validation
    names = sorted(drive_names(name, config.data, None, config.version))
    if len(names) <= config.validation_scenes:
        raise ValueError(
            f"'{config.data}' has {len(names)} scenes, of which {config.validation_scenes} are "
            "for validation: none is left for training"
        )
    return names[: -config.validation_scenes], names[-config.validation_scenes :]


def load_clips(
    frames: LabelledFrames, config: TrainConfig, first_step: int, share: tuple[int, int] = (0, 1)
) -> Iterator[list[Example]]:
    """One clip per step from ``first_step`` on.

    Drive by drive, a clip holds consecutive keyframes in the order of their forward passes;
    otherwise it holds ``config.accumulate`` examples with a batch of keyframes each.

    Args:
        share: (rank, processes) of a process that trains together with others.
    """
    by_drive = config.model.temporal is not None or config.by_drive
    examples = TrainingExamples(
        frames,
        config.model.cascade_ratio,
        config.augment,
        config.seed,
        whole_drives=by_drive,
        rendered=None if config.rendering is None else config.model.coarse_grid,
        empty=config.model.labels.empty,
        masked_inputs=config.model.masked_inputs,
    )
    steps, batch_size, seed = config.steps, config.batch_size, config.seed
    units = drives(frames) if by_drive else [[index] for index in range(len(frames))]
    repeats = None
    if config.repeat_rare is not None:
        repeats = repeat_factors(
            mean_voxels(frames, units, config.model.labels), config.repeat_rare
        )
    sampler: Sampler[list[tuple[int, int]]]
    if by_drive:
        seed += 1000 * share[0]  # every process has drives of its own under way
        sampler = ClipSampler(
            units, config.streams, batch_size, config.clip, steps, seed, first_step, repeats
        )
    else:
        of_step = batch_size * (config.accumulate or 1)
        sampler = StepSampler(len(units), of_step, steps, seed, first_step, repeats, share)
    loader: DataLoader[Any] = DataLoader(
        examples,
        batch_sampler=sampler,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        collate_fn=list if by_drive else partial(_batches, batch_size),
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _batches(size: int, examples: list[Example]) -> list[Example]:
    return [collate(examples[start : start + size]) for start in range(0, len(examples), size)]


def _one_thread(_: int) -> None:
    # Not cv2's: after a fork its setNumThreads may wait forever for threads that are gone.
    torch.set_num_threads(1)
