"""The order of training examples: seeded, independent of workers, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count, islice

import numpy as np
from jaxtyping import Float
from torch.utils.data import Sampler

EMPTY_SET = "the training set is empty; check the data root and that it holds the split's scenes"


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (pass, index) keys; every epoch is a seeded permutation of its own.

    Args:
        length: number of examples.
        steps: number of batches of the whole training.
        first_step: number of batches to leave out, those before a stop.
        repeats: how often each example is drawn in an epoch, on average; None: once.
        share: (rank, processes) of a process that trains together with others: of each step's
            ``processes`` batches it gets the one at its rank.

    Raises:
        ValueError: there are no examples, or not a number of repeats for each.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        steps: int,
        seed: int,
        first_step: int = 0,
        repeats: Float[np.ndarray, " example"] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if length < 1:
            raise ValueError(EMPTY_SET)
        self.repeats = _checked(repeats, length)
        self.length = length
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.first_step = first_step
        self.rank, self.processes = share

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        keys = chain.from_iterable(_epochs(self.repeats, self.seed))
        for step in range(self.steps):
            of_all = list(islice(keys, self.batch_size * self.processes))
            if step >= self.first_step:
                yield of_all[self.rank * self.batch_size :][: self.batch_size]


class ClipSampler(Sampler[list[tuple[int, int]]]):
    """Clips of consecutive keyframes as (pass, index) keys, ``batch_size`` clips per step.

    Several drives are under way at once, and each step advances the next few of them by a clip, so
    that successive steps differ. A stream finishes one drive before it starts the next; every epoch
    deals the drives to the streams in a new order.

    Args:
        drives: indices of every drive's keyframes, in temporal order.
        streams: number of drives under way, at most the number of drives.
        clip: number of keyframes per clip; the last clip of a drive may be shorter.
        steps: number of steps of the whole training.
        first_step: number of steps to leave out, those before a stop.
        repeats: how often each drive is driven in an epoch, on average; None: once.

    Raises:
        ValueError: there are no drives, or not a number of repeats for each.
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
        repeats: Float[np.ndarray, " drive"] | None = None,
    ) -> None:
        if not drives:
            raise ValueError(EMPTY_SET)
        self.repeats = _checked(repeats, len(drives))
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
        for epoch in _epochs(self.repeats, self.seed):
            for number, chosen in epoch[stream :: self.streams]:
                drive = self.drives[chosen]
                for start in range(0, len(drive), self.clip):
                    yield [(number, index) for index in drive[start : start + self.clip]]


def _checked(repeats: Float[np.ndarray, " unit"] | None, length: int) -> Float[np.ndarray, " unit"]:
    if repeats is None:
        return np.ones(length)
    if len(repeats) != length or not (repeats >= 1).all():
        raise ValueError(
            f"repeats must hold {length} numbers of at least 1, got {repeats.tolist()[:5]} of "
            f"{len(repeats)}"
        )
    return repeats


def _epochs(repeats: Float[np.ndarray, " unit"], seed: int) -> Iterator[list[tuple[int, int]]]:
    """(pass, index) keys of one epoch after the other, forever.

    A pass counts the times that the index has been drawn before, so that no key comes twice;
    without repeats it is the number of the epoch.
    """
    passes = [0] * len(repeats)
    for epoch in count():
        rng = np.random.default_rng([seed, epoch])
        (chances,) = rng.spawn(1)
        # Rounded up or down at random, so that the mean over epochs is exact.
        copies = np.floor(repeats) + (chances.random(len(repeats)) < repeats % 1)
        keys = []
        for index in rng.permutation(np.repeat(np.arange(len(repeats)), copies.astype(int))):
            keys.append((passes[index], int(index)))
            passes[index] += 1
        yield keys
