"""What a sensor is worth: models trained with it against models trained without it, seed by seed.

``python -m training.sensor_worth --fused F1 F2 F3 --lidar-only L1 L2 L3 --data D`` gives the worth
of the cameras, ``--camera-only C1 C2 C3`` that of the LiDAR. The checkpoints of each list must be
trained alike but for the sensor, in the same order of seeds. Masking a sensor of one model says
how much the model relies on it instead: ``python -m training.yardsticks``.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from occ_core.checkpoint import load_checkpoint
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.files import write_atomically
from occ_core.voxel_grid import VoxelGrid
from training.results.statistics import Summary, summarise
from training.results.stored import to_json
from training.results.yardstick_tables import worth_table
from training.scoring.drive_metrics import drive_metrics


@dataclass(frozen=True, kw_only=True)
class SensorWorthConfig:
    """Which checkpoints are compared, and on which data."""

    fused: tuple[Path, ...]
    """Checkpoints trained with both sensors, one a seed."""
    lidar_only: tuple[Path, ...] = ()
    """Checkpoints trained alike without cameras, in the same order of seeds."""
    camera_only: tuple[Path, ...] = ()
    """Checkpoints trained alike without LiDAR, in the same order of seeds."""
    data: Path
    """nuScenes data root with labels, of drives that no training saw."""
    version: str | None = None
    """Folder of tables; None takes the only v1.0-* folder."""
    keyframes: int | None = None
    """How many keyframes of every drive are scored, from its first on; None: all."""
    sweeps: int = 9
    """How many LiDAR sweeps before the keyframe are joined to it."""
    json: Path = Path("out/sensor_worth.json")
    """File for the differences."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.lidar_only and not self.camera_only:
            raise ValueError("nothing to compare with: give lidar_only, camera_only or both")
        for name in ("lidar_only", "camera_only"):
            others = getattr(self, name)
            if others and len(others) != len(self.fused):
                raise ValueError(
                    f"checkpoints are compared in pairs, got {len(self.fused)} of fused and "
                    f"{len(others)} of {name}"
                )
        if self.keyframes is not None and self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")


def sensor_worth(config: SensorWorthConfig) -> dict[str, Any]:
    """Scores all checkpoints, writes the JSON file and returns its contents.

    ``worth`` holds, by sensor and metric, summaries ``with`` and ``without`` it, and of the paired
    differences as ``worth``: mean, standard error and the values of the pairs.

    Raises:
        FileNotFoundError: a table, a LiDAR file or the labels are missing.
        ValueError: a checkpoint is malformed; see also ``check_pairs``.
    """
    check_pairs(config)
    fused = [_metrics(path, config) for path in config.fused]
    others = {"cameras": config.lidar_only, "LiDAR": config.camera_only}
    document = {
        "command": shlex.join(["python", "-m", "training.sensor_worth", *sys.argv[1:]]),
        "pairs": len(fused),
        "worth": {
            sensor: differences(fused, [_metrics(path, config) for path in paths])
            for sensor, paths in others.items()
            if paths
        },
    }
    write_atomically(config.json, to_json(document))
    return document


def check_pairs(config: SensorWorthConfig) -> None:
    """Checks that checkpoints have the sensors of their list, and that pairs were trained alike.

    Raises:
        ValueError: a checkpoint has other sensors than its list says, or a pair differs in grid,
            seed or number of steps.
    """
    sensors = {"fused": (True, True), "lidar_only": (False, True), "camera_only": (True, False)}
    first: dict[int, tuple[VoxelGrid, int | None, int | None]] = {}  # of each pair
    for name, (camera, lidar) in sensors.items():
        for number, path in enumerate(getattr(config, name)):
            model, description = load_checkpoint(path)
            if (model.config.camera, model.config.lidar) != (camera, lidar):
                raise ValueError(
                    f"'{path}' is given as {name}, but has camera={model.config.camera} and "
                    f"lidar={model.config.lidar}"
                )
            made_by = description.get("made_by", {})
            made = model.config.grid, made_by.get("seed"), made_by.get("step")
            if first.setdefault(number, made) != made:
                raise ValueError(
                    f"'{path}' and '{config.fused[number]}' are a pair, but differ in grid, seed "
                    f"or steps ({made[1:]} and {first[number][1:]}); give the lists in the same "
                    "order of seeds, of trainings of the same length on the same grid"
                )


def differences(
    with_sensor: Sequence[Mapping[str, float]], without: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, Summary]]:
    """By metric: summaries ``with`` and ``without`` the sensor, and ``worth`` of the differences.

    Args:
        with_sensor: metrics of each checkpoint.
        without: those of its partner, in the same order.
    """
    return {
        name: {
            "with": summarise([scores[name] for scores in with_sensor]),
            "without": summarise([scores[name] for scores in without]),
            "worth": summarise(
                [ours[name] - theirs[name] for ours, theirs in zip(with_sensor, without)]
            ),
        }
        for name in with_sensor[0]
    }


def _metrics(checkpoint: Path, config: SensorWorthConfig) -> dict[str, float]:
    """The metrics that are compared, of one checkpoint."""
    engine = OccupancyEngine.from_checkpoint(checkpoint, config.device)
    model = engine.model.config
    frames = NuScenesFrames(
        config.data, config.version, None, model.image_size, config.sweeps, model.grid
    )
    return drive_metrics(engine, frames, config.keyframes)


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(SensorWorthConfig, prog="training.sensor_worth", description=__doc__)
        print(worth_table(sensor_worth(config)))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.sensor_worth: {err}")
    print(f"\nwritten to {config.json}")


if __name__ == "__main__":
    main()
