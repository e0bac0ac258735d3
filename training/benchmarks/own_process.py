"""What measurements of a whole model share: a process of its own, since peak memory can only be
read per process, and one keyframe that is answered again and again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine


def measure_in_own_process(module: str, name: str, options: Sequence[str]) -> dict[str, Any]:
    """What ``python -m MODULE --here OPTIONS`` prints as JSON in its last line.

    Args:
        name: what is measured, for the error.

    Raises:
        RuntimeError: the process failed.
    """
    measuring = subprocess.run(
        [sys.executable, "-m", module, "--here", *options], stdout=subprocess.PIPE, text=True
    )
    if measuring.returncode:
        raise RuntimeError(f"{name} ended with exit status {measuring.returncode}; see above")
    return dict(json.loads(measuring.stdout.splitlines()[-1]))


def repeated_answer(engine: OccupancyEngine, data: Path) -> Callable[[], None]:
    """A function that lets the engine answer the first keyframe of a nuScenes data root, half a
    second later each time, so that the memory of the last answer is used.
    """
    shape = engine.model.config
    frame, _ = NuScenesFrames(data, None, None, shape.image_size, 9, shape.grid)[0]
    stamps_ns = iter(range(frame.stamp_ns[0], sys.maxsize, 500_000_000))

    def step() -> None:
        engine.step(replace(frame, stamp_ns=(next(stamps_ns),)))

    return step
