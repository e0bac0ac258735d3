"""All scores of labelled keyframes of nuScenes' classes: of voxels, rays, ranges, weathers, and
through cameras.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from occ_core.datasets.frames import NuScenesFrames
from occ_core.labels.label_set import LabelSet
from occ_core.metrics import BevScore, Flicker, ImageScore, OccupancyScore, visible_only
from occ_core.metrics.keyframe import voxelise_points
from occ_core.metrics.occupancy import OccupancyScores
from occ_core.metrics.processes import sum_over_processes
from occ_core.metrics.protocols import PROTOCOLS, official_scores
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.taxonomy import EMPTY, IGNORE, WEATHERS
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid
from training.scoring.labelled_drives import DriveRays

_BOX_SIDES_M = (25, 50, 100)
"""Sides of the squares around the vehicle that are also scored separately."""


class _VoxelAndImageScores:
    """Scores of voxels, and through cameras where these are asked for."""

    def __init__(self, grid: VoxelGrid, rendered: bool) -> None:
        self.voxels = OccupancyScore()
        self.rendered = rendered
        self.bev, self.image = BevScore(grid), ImageScore(grid)

    def update(self, prediction: Tensor, truth: Tensor, cameras: Cameras) -> None:
        self.voxels.update(prediction, truth)
        if self.rendered:
            self.bev.update(prediction, truth)
            self.image.update(prediction, truth, cameras)

    def rendered_scores(self) -> dict[str, Any]:
        if not self.rendered:
            return {}
        bev, image = self.bev.compute(), self.image.compute()
        return {
            "bev": _means(bev["semantics"]),
            "image": _means(image["semantics"]),
            "depth_l1_m": image["depth_l1_m"],
        }


class FrameScores:
    """All scores of labelled keyframes: counts frame by frame, then scores once."""

    def __init__(self, frames: NuScenesFrames, rendered: bool) -> None:
        grid = frames.grid
        self.frames, self.rendered = frames, rendered
        self.count = 0
        self.all = _VoxelAndImageScores(grid, rendered)
        self.visible: _VoxelAndImageScores | None = None
        self.lidar = OccupancyScore(LabelSet(("empty", "hit")))
        self.flicker, self.rays = Flicker(grid), DriveRays(frames)
        self.by_range = {
            side: (_central_columns(grid, side), OccupancyScore()) for side in _BOX_SIDES_M
        }
        self.by_weather: dict[str, OccupancyScore] = {}

    def update(
        self, index: int, frame: Frame, prediction: Tensor, truth: Tensor, visible: Tensor | None
    ) -> None:
        """Adds a keyframe.

        Args:
            index: of the keyframe.
            frame: its sensors.
            prediction: class ids uint8 ``[X, Y, Z]``.
            truth: likewise.
            visible: as ``NuScenesFrames.visible``.
        """
        grid, keyframe = self.frames.grid, self.frames.keyframes[index]
        world_from_grid = frame.world_from_grid[0]
        cameras = frame_cameras(frame, 0)
        self.count += 1
        self.all.update(prediction, truth, cameras)
        if visible is not None:
            if self.visible is None:
                self.visible = _VoxelAndImageScores(grid, self.rendered)
            self.visible.update(prediction, visible_only(truth, visible), cameras)
        self.flicker.update(prediction, truth, world_from_grid)
        self.rays.update(index, prediction, truth)
        for columns, score in self.by_range.values():
            score.update(prediction[columns], truth[columns])
        weather = self.by_weather.setdefault(keyframe.context.weather, OccupancyScore())
        weather.update(prediction, truth)
        hit = torch.from_numpy(voxelise_points(frame.points[0].numpy(), grid))
        occupied = torch.where(truth == IGNORE, truth, (truth != EMPTY).to(torch.uint8))
        self.lidar.update(hit.to(torch.uint8), occupied)

    def compute(self) -> dict[str, Any]:
        """The scores as ``score_frames`` returns them."""
        scores: dict[str, Any] = dict(self.all.voxels.compute())
        lidar_iou = self.lidar.compute()["iou"]
        scores |= self.all.rendered_scores()
        if self.visible is not None:
            visible = _means(self.visible.voxels.compute())
            scores["visible"] = visible | self.visible.rendered_scores()
        by_weather = {
            weather: _means(self.by_weather[weather].compute())
            for weather in WEATHERS
            if weather in self.by_weather
        }
        by_range = {
            str(side): _means(score.compute()) for side, (_, score) in self.by_range.items()
        }
        official = {}
        if self.frames.grid == SURROUNDOCC_GRID:
            confusion = sum_over_processes(self.all.voxels.confusion)
            official["official"] = official_scores(confusion, PROTOCOLS["surroundocc"])
        return (
            scores
            | official
            | {
                "frames": self.count,
                "lidar_iou": lidar_iou,
                "iou_over_lidar": _quotient(scores["iou"], lidar_iou),
                "flicker": self.flicker.compute(),
                "ray_iou": self.rays.score.compute()["ray_iou"],
                "by_weather": by_weather,
                "by_range": by_range,
            }
        )


def _quotient(part: float, whole: float) -> float:
    """NaN where the whole is 0 or not known."""
    return part / whole if whole else math.nan


def _means(scores: OccupancyScores) -> dict[str, float]:
    return {"iou": scores["iou"], "miou": scores["miou"]}


def _central_columns(grid: VoxelGrid, side_m: float) -> tuple[slice, slice]:
    """The columns of voxels whose centres lie in a square of this side around the vehicle."""
    slices = []
    for cells, low in zip(grid.shape[:2], grid.min_m[:2], strict=True):
        centres = low + (np.arange(cells) + 0.5) * grid.voxel_size_m
        inside = np.flatnonzero(np.abs(centres) <= side_m / 2)
        slices.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return slices[0], slices[1]
