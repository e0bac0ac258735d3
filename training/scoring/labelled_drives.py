"""Scores of labelled drives by region, under several conditions of the sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.labels.label_set import LabelSet
from occ_core.metrics import RayIoU, ray_origins
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
                    scores[name].update(index, frame, answer.labels[0], truth)
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
        self.regions, self.rays = RegionScore(frames.grid, labels), RayIoU(frames.grid, labels)
        self.lidar_m = lidar_positions(frames)

    def update(self, index: int, frame: Frame, prediction: Tensor, truth: Tensor) -> None:
        """Adds a keyframe; ``prediction`` and ``truth`` are class ids uint8 ``[X, Y, Z]``."""
        keyframe, grid = self.frames.keyframes[index], self.frames.grid
        self.count += 1
        self.regions.update(prediction, truth, self.frames.visible(index), keyframe.context.weather)
        grid_from_world = torch.linalg.inv(frame.world_from_grid[0])
        origins = ray_origins(grid_from_world, self.lidar_m[keyframe.scene_name], grid)
        self.rays.update(prediction, truth, origins)

    def compute(self) -> dict[str, Any]:
        """The scores as ``score_drives`` returns them."""
        return {
            "frames": self.count,
            "ray_iou": self.rays.compute()["ray_iou"],
            **self.regions.compute(),
        }
