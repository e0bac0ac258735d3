"""The definition of a benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Benchmark:
    """Several ways to compute the same result from the same input."""

    candidate: Callable[[], Any]
    """The implementation of this repository."""
    baselines: dict[str, Callable[[], Any]]
    """Other implementations by name."""
    same: Callable[[Any, Any], bool]
    """Whether the results of the candidate and of a baseline agree."""
    clock: Callable[[], float] = time.perf_counter
    """``time.process_time`` for work of one thread, which other programs then hardly disturb."""
    max_repeats: int = 1_000_000
    """Limit for benchmarks whose baselines are slow."""
