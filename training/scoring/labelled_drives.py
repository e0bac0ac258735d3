"""Scores of labelled drives by region, under several conditions of the sensors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics import RayIoU, ray_origins
from occ_core.metrics.class_ids import ClassIds
from occ_core.metrics.regions import RegionScore
from occ_core.types import Frame, TemporalMemory
from training.learning.examples import drives


def score_drives(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    conditions: Mapping[str, Callable[[Frame], Frame]],
    keyframes: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Scores by region and ``ray_iou`` under each condition, over the same keyframes.

    Args:
        conditions: what becomes of a frame, by name; each has a memory of its own.
        keyframes: how many keyframes of every drive are scored, from its first on; None: all.

    Returns:
        By condition: ``frames``, their number; ``ray_iou``; and ``RegionScore``'s scores.

    Raises:
        FileNotFoundError: a keyframe has no labels.
        ValueError: the model predicts other classes than those labelled.
    """
    scores: dict[str, _DriveScore] = {}
    chosen = [drive[:keyframes] for drive in drives(frames)]
    with tqdm(total=sum(map(len, chosen)), desc="score", unit="frame", leave=False) as progress:
        for drive in chosen:
            memories: dict[str, TemporalMemory | None] = dict.fromkeys(conditions)
            for index in drive:
                frame, truth = frames[index]
                if truth is None:
                    raise FileNotFoundError(
                        f"{frames.keyframes[index].lidar.path} has no occupancy labels; use "
                        "`python -m training.evaluate --benchmark real`"
                    )
                for name, change in conditions.items():
                    engine.memory = memories[name]
                    answer = engine.step(change(frame))
                    memories[name] = engine.memory
                    if name not in scores:
                        scores[name] = _DriveScore(frames, answer.label_set)
                    scores[name].update(index, answer.labels[0], truth)
                progress.update()
    engine.reset("the last drive has been scored")
    return {name: score.compute() for name, score in scores.items()}


def lidar_positions(frames: NuScenesFrames) -> dict[str, Tensor]:
    """Positions of the LiDAR at the keyframes of each scene, float64 ``[keyframe, 3]``, in metres
    in the world frame.
    """
    positions: dict[str, list[np.ndarray]] = {}
    for keyframe in frames.keyframes:
        position = keyframe.lidar.world_from_lidar[:3, 3]
        positions.setdefault(keyframe.scene_name, []).append(position)
    return {scene: torch.from_numpy(np.stack(each)) for scene, each in positions.items()}


class DriveRays:
    """RayIoU of keyframes, with rays from where the LiDAR was in their drives.

    Args:
        frames: the keyframes.
        labels: meaning of the class ids.
    """

    def __init__(self, frames: NuScenesFrames, labels: LabelSet = NUSCENES) -> None:
        self.frames, self.score = frames, RayIoU(frames.grid, labels)
        self.lidar_m = lidar_positions(frames)
        self.rays, self.seconds = 0, 0.0

    def update(self, index: int, prediction: ClassIds, truth: ClassIds) -> None:
        """Adds a keyframe; see ``RayIoU.update``."""
        started = time.perf_counter()
        grid_from_world = torch.linalg.inv(torch.from_numpy(self.frames.world_from_grid(index)))
        lidar_m = self.lidar_m[self.frames.drive(index)]
        origins = ray_origins(grid_from_world, lidar_m, self.frames.grid)
        self.score.update(prediction, truth, origins)
        self.rays += len(origins) * len(self.score.directions)
        self.seconds += time.perf_counter() - started

    def print_throughput(self) -> None:
        """Prints to the standard error how many rays were cast, and how many in a second."""
        a_second = self.rays / max(self.seconds, 1e-9)
        tqdm.write(f"RayIoU: {self.rays:,} rays, {a_second:,.0f} rays/s", file=sys.stderr)


class _DriveScore:
    """The scores under one condition: counts keyframe by keyframe, then scores once."""

    def __init__(self, frames: NuScenesFrames, labels: LabelSet) -> None:
        labelled = frames.benchmark.labels
        if not labels.same_ids(labelled):
            raise ValueError(
                f"the model predicts the classes of '{labels.name}', but the keyframes of "
                f"{frames.root} are labelled with those of '{labelled.name}'"
            )
        self.frames, self.count = frames, 0
        self.regions, self.rays = RegionScore(frames.grid, labels), DriveRays(frames, labels)

    def update(self, index: int, prediction: Tensor, truth: Tensor) -> None:
        """Adds a keyframe; ``prediction`` and ``truth`` are class ids uint8 ``[X, Y, Z]``."""
        self.count += 1
        weather = self.frames.keyframes[index].context.weather
        self.regions.update(prediction, truth, self.frames.visible(index), weather)
        self.rays.update(index, prediction, truth)

    def compute(self) -> dict[str, Any]:
        """The scores as ``score_drives`` returns them."""
        return {
            "frames": self.count,
            "ray_iou": self.rays.score.compute()["ray_iou"],
            **self.regions.compute(),
        }
