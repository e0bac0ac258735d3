"""Where a model is right on labelled drives, and what its sensors give it:
``python -m training.yardsticks --data D``.

Scores the whole grid and the voxels in the camera mask, by range, by weather and by class: with
everything that the sensors give, with one LiDAR sweep instead of ten, without cameras, and without
LiDAR. The last two say how much a model *relies* on a sensor; what the sensor is *worth* is the
difference to a model that was trained without it (``python -m training.sensor_worth``).
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from occ_core.checkpoint import SHIPPED
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine, Precision
from occ_core.files import write_atomically
from training.results.stored import to_json
from training.results.yardstick_tables import yardsticks_text
from training.scoring.labelled_drives import score_drives
from training.scoring.sensors import conditions


@dataclass(frozen=True, kw_only=True)
class YardsticksConfig:
    """Which checkpoint is scored, and on which data."""

    data: Path
    """nuScenes data root with labels, such as generated towns."""
    checkpoint: Path = SHIPPED
    version: str | None = None
    """Folder of tables; None takes the only v1.0-* folder."""
    keyframes: int | None = None
    """How many keyframes of every drive are scored, from its first on; None: all."""
    sweeps: int = 9
    """How many LiDAR sweeps before the keyframe are joined to it."""
    json: Path = Path("out/yardsticks.json")
    """File for the scores."""
    device: str = "cpu"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.keyframes is not None and self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")


def yardsticks(config: YardsticksConfig) -> dict[str, Any]:
    """Scores a checkpoint under all conditions, writes the JSON file and returns its contents.

    Raises:
        FileNotFoundError: a table, a LiDAR file or the labels are missing.
        ValueError: the checkpoint, a table or a file is malformed.
    """
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    model = engine.model.config
    frames = NuScenesFrames(
        config.data, config.version, None, model.image_size, config.sweeps, model.grid
    )
    document = {
        "command": shlex.join(["python", "-m", "training.yardsticks", *sys.argv[1:]]),
        "conditions": score_drives(engine, frames, conditions(model), config.keyframes),
    }
    write_atomically(config.json, to_json(document))
    return document


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(YardsticksConfig, prog="training.yardsticks", description=__doc__)
        print(yardsticks_text(yardsticks(config)))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.yardsticks: {err}")
    print(f"\nwritten to {config.json}")


if __name__ == "__main__":
    main()
