"""Timing of several functions, and a description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def medians_ms(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median time of each function in milliseconds.

    The functions take turns, so that a busy moment of the machine affects all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = clock()
            function()
            times[name].append((clock() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def describe_machine() -> str:
    """Processor, the vector instructions that torch uses, number of cores, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    processor = next(models, platform.processor())
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{processor} ({vectors}), {os.cpu_count()} cores; {versions}"
