"""How well a frozen model's features name the classes of LiDAR points:
``python -m training.point_probe CHECKPOINT --data D``.

An MLP is trained on the features at labelled LiDAR points of some drives, and scored on the drives
held out: on the image features alone, which says what the camera branch has learned of classes, and
on the LiDAR's and the fused features for comparison.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.datasets.frames import NuScenesFrames
from occ_core.files import write_atomically
from occ_core.model import OccupancyModel
from training.learning.examples import drives
from training.results.stored import to_json
from training.results.yardstick_tables import probe_table
from training.scoring.point_classifier import probe
from training.scoring.point_features import point_features


@dataclass(frozen=True, kw_only=True)
class PointProbeConfig:
    """Which model is probed, on which points."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = SHIPPED
    """Weights of an ``OccupancyModel``."""
    data: Path = Path("data/town_test")
    """nuScenes data root with lidarseg."""
    version: str | None = None
    """Folder of tables; None takes the only v1.0-* folder."""
    held_out: int = 3
    """How many drives, the last ones, the probe is scored on; it is trained on the others."""
    keyframes: int = 4
    """How many keyframes of every drive are used, spread evenly."""
    points: int = 2400
    """How many points of every keyframe are used, drawn with sqrt-balanced classes."""
    sweeps: int = 9
    """How many LiDAR sweeps before the keyframe are joined to it."""
    seed: int = 0
    """Seed of the points and of the probe."""
    json: Path = Path("out/point_probe.json")
    """File for the scores."""

    def __post_init__(self) -> None:
        if min(self.held_out, self.keyframes, self.points) < 1:
            raise ValueError(
                "held_out, keyframes and points must be at least 1, got "
                f"{self.held_out}, {self.keyframes} and {self.points}"
            )


def point_probe(config: PointProbeConfig) -> dict[str, Any]:
    """Probes a checkpoint, writes the JSON file and returns its contents.

    Raises:
        FileNotFoundError: a table, a LiDAR file or its classes are missing.
        ValueError: the checkpoint, a table or a file is malformed, the checkpoint is a baseline's,
            or there are no drives to train on.
    """
    model, _ = load_checkpoint(config.checkpoint)
    if not isinstance(model, OccupancyModel):
        raise ValueError(
            f"'{config.checkpoint}' is a {type(model).__name__}, whose features differ; give the "
            "checkpoint of an OccupancyModel"
        )
    shape = model.config
    frames = NuScenesFrames(
        config.data, config.version, None, shape.image_size, config.sweeps, shape.grid
    )
    chosen = [_spread(drive, config.keyframes) for drive in drives(frames)]
    if len(chosen) <= config.held_out:
        raise ValueError(
            f"{config.data} has {len(chosen)} drives, of which {config.held_out} are held out; "
            "lower held_out, or give more drives"
        )
    points = point_features(model, frames, chosen, config.points, config.seed)
    held_out = points.drive >= len(chosen) - config.held_out
    scores = {
        name: probe(features, points.classes, points.range_m, held_out, config.seed, name)
        for name, features in points.features.items()
    }
    document = {
        "command": shlex.join(["python", "-m", "training.point_probe", *sys.argv[1:]]),
        "drives": {"trained_on": len(chosen) - config.held_out, "held_out": config.held_out},
        "points": {"trained_on": int((~held_out).sum()), "held_out": int(held_out.sum())},
        "features": scores,
    }
    write_atomically(config.json, to_json(document))
    return document


def _spread(drive: list[int], keyframes: int) -> list[int]:
    """At most this many keyframes of a drive, from its first to its last."""
    positions = np.linspace(0, len(drive) - 1, keyframes).round().astype(int)
    return [drive[position] for position in np.unique(positions)]


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(PointProbeConfig, prog="training.point_probe", description=__doc__)
        print(probe_table(point_probe(config)))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.point_probe: {err}")
    print(f"\nwritten to {config.json}")


if __name__ == "__main__":
    main()
