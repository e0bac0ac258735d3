"""Labelled frames in the order of training: seeded, independent of workers, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.taxonomy import IGNORE, NUM_CLASSES
from occ_core.types import Frame, collate_frames
from occ_core.voxel_grid import VoxelGrid
from training.learning.augment import AugmentConfig, augment
from training.learning.sequential_rendering import Surroundings, surroundings


class Example(NamedTuple):
    """A batch as training uses it."""

    frame: Frame
    labels: Tensor
    """uint8 [B, X, Y, Z]."""
    coarse_labels: Tensor
    """uint8, on the coarse grid."""
    drive: tuple[int, int] = (0, 0)
    """(epoch, first keyframe) of the drive: what a memory belongs to."""
    ends_drive: bool = False
    around: tuple[Surroundings, ...] = ()
    """Of each sample, where a renderer needs it."""


class TrainingExamples(Dataset[Example]):
    """Augmented examples; a key is (epoch, index), and the same key gives the same example for
    ever.

    Args:
        whole_drives: all keyframes of a drive are mirrored alike in an epoch, as a memory needs it.
        rendered: the grid of the volume that is rendered, where one is.

    Raises:
        FileNotFoundError: on reading an item without labels.
    """

    def __init__(
        self,
        frames: NuScenesFrames,
        cascade_ratio: int,
        config: AugmentConfig | None,
        seed: int,
        *,
        whole_drives: bool = False,
        rendered: VoxelGrid | None = None,
    ) -> None:
        self.frames, self.cascade_ratio, self.config, self.seed = (
            frames,
            cascade_ratio,
            config,
            seed,
        )
        self.whole_drives, self.rendered = whole_drives, rendered
        self.first_of_drive = np.concatenate(
            [[drive[0]] * len(drive) for drive in drives(frames)]
        ).tolist()

    def __getitem__(self, key: tuple[int, int]) -> Example:
        epoch, index = key
        frame, labels = self.frames[index]
        if labels is None:
            lidar = self.frames.keyframes[index].lidar.path
            raise FileNotFoundError(
                f"keyframe of {lidar} has no occupancy labels; training needs nuscenes_occ/ in the "
                "data root"
            )
        original = frame
        if self.config is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            flips = (
                np.random.default_rng([self.seed, epoch, self.first_of_drive[index]])
                if self.whole_drives
                else rng
            )
            frame, labels = augment(frame, labels, self.config, rng, flips)
        coarse = torch.from_numpy(coarsen_labels(labels.numpy(), self.cascade_ratio))
        around: tuple[Surroundings, ...] = ()
        if self.rendered is not None:
            mirrors = (
                (original.world_from_grid[0, :3, :3].T @ frame.world_from_grid[0, :3, :3])
                .diagonal()
                .round()
            )
            around = (surroundings(self.frames, index, original, mirrors, self.rendered),)
        drive = self.first_of_drive[index]
        ends_drive = self.first_of_drive[index + 1 : index + 2] != [drive]
        return Example(frame, labels[None], coarse[None], (epoch, drive), ends_drive, around)


def collate(examples: list[Example]) -> Example:
    """Joins examples along the batch dimension."""
    frames, labels, coarse, *_, around = zip(*examples, strict=True)
    return Example(
        collate_frames(list(frames)), torch.cat(labels), torch.cat(coarse), around=sum(around, ())
    )


def drives(frames: NuScenesFrames) -> list[list[int]]:
    """The indices of each scene's keyframes, in the order of time."""
    scenes: dict[str, list[int]] = {}
    for index, keyframe in enumerate(frames.keyframes):
        scenes.setdefault(keyframe.scene_name, []).append(index)
    return list(scenes.values())


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) keys from ``first_step`` to ``steps``; every epoch is a permutation
    of its own, seeded.
    """

    def __init__(
        self, length: int, batch_size: int, steps: int, seed: int, first_step: int = 0
    ) -> None:
        if length < 1:
            raise ValueError(
                "the training set is empty; is the data root right, and are the scenes of this "
                "split in it?"
            )
        self.length, self.batch_size, self.steps, self.seed, self.first_step = (
            length,
            batch_size,
            steps,
            seed,
            first_step,
        )

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.first_step, self.steps):
            batch = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
                batch.append((epoch, int(order[position % self.length])))
            yield batch


class ClipSampler(Sampler[list[tuple[int, int]]]):
    """Clips of consecutive keyframes as (epoch, index) keys, from ``first_step`` to ``steps``,
    ``batch_size`` clips a step.

    Several drives are under way at once, and each step advances the next few of them by a clip, so
    that successive steps differ. A stream goes through its drives whole, one after the other; every
    epoch deals them anew.
    """

    def __init__(
        self,
        drives: list[list[int]],
        streams: int,
        batch_size: int,
        clip: int,
        steps: int,
        seed: int,
        first_step: int = 0,
    ) -> None:
        if not drives:
            raise ValueError(
                "the training set is empty; is the data root right, and are the scenes of this "
                "split in it?"
            )
        self.drives, self.streams, self.seed = drives, min(streams, len(drives)), seed
        self.batch_size, self.clip = min(batch_size, self.streams), clip
        self.steps, self.first_step = steps, first_step

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        streams = [self._clips(stream) for stream in range(self.streams)]
        for step in range(self.steps):
            numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
            clips = [next(streams[number % self.streams]) for number in numbers]
            if step >= self.first_step:
                yield [key for clip in clips for key in clip]

    def _clips(self, stream: int) -> Iterator[list[tuple[int, int]]]:
        for epoch in count():
            dealt = np.random.default_rng([self.seed, epoch]).permutation(len(self.drives))[
                stream :: self.streams
            ]
            for drive in (self.drives[number] for number in dealt):
                for start in range(0, len(drive), self.clip):
                    yield [(epoch, index) for index in drive[start : start + self.clip]]


def count_voxels(frames: NuScenesFrames, at_most: int = 64) -> Tensor:
    """Voxels per class, float64 [class], over evenly spread keyframes."""
    counts = torch.zeros(NUM_CLASSES, dtype=torch.float64)
    for index in np.unique(np.linspace(0, len(frames) - 1, at_most).astype(int)):
        labels = frames.labels(int(index))
        if labels is not None:
            counts += torch.bincount(labels[labels != IGNORE].long(), minlength=NUM_CLASSES)
    return counts
