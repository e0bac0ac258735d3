"""Random numbers of a training step: the same for a step however often training was stopped."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are drawn for. The values seed the streams, so stored results depend on
    them.
    """

    VIRTUAL_CAMERAS = 0
    CONTEXT = 1
    FORGETTING = 1000


def random_stream(
    seed: int, step: int, number: int, purpose: Purpose, rank: int = 0
) -> np.random.Generator:
    """An independent stream for one purpose and one frame.

    Args:
        seed: of the training.
        step: counted from 1.
        number: of the frame in the step's clip, counted from 0.
        rank: of the process, where processes should draw different numbers.
    """
    return np.random.default_rng([seed, step, number, purpose + rank])
