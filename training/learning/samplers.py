"""The order of training examples: seeded, independent of workers, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from torch.utils.data import Sampler

EMPTY_SET = "the training set is empty; check the data root and that it holds the split's scenes"


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) keys; every epoch is a seeded permutation of its own.

    Args:
        length: number of examples.
        steps: number of batches of the whole training.
        first_step: number of batches to leave out, those before a stop.

    Raises:
        ValueError: there are no examples.
    """

    def __init__(
        self, length: int, batch_size: int, steps: int, seed: int, first_step: int = 0
    ) -> None:
        if length < 1:
            raise ValueError(EMPTY_SET)
        self.length = length
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.first_step = first_step

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
    """Clips of consecutive keyframes as (epoch, index) keys, ``batch_size`` clips per step.

    Several drives are under way at once, and each step advances the next few of them by a clip, so
    that successive steps differ. A stream finishes one drive before it starts the next; every epoch
    deals the drives to the streams in a new order.

    Args:
        drives: indices of every drive's keyframes, in temporal order.
        streams: number of drives under way, at most the number of drives.
        clip: number of keyframes per clip; the last clip of a drive may be shorter.
        steps: number of steps of the whole training.
        first_step: number of steps to leave out, those before a stop.

    Raises:
        ValueError: there are no drives.
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
            raise ValueError(EMPTY_SET)
        self.drives = drives
        self.streams = min(streams, len(drives))
        self.batch_size = min(batch_size, self.streams)
        self.clip = clip
        self.steps = steps
        self.seed = seed
        self.first_step = first_step

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
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.drives))
            for number in order[stream :: self.streams]:
                drive = self.drives[number]
                for start in range(0, len(drive), self.clip):
                    yield [(epoch, index) for index in drive[start : start + self.clip]]
