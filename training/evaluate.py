"""Scores a checkpoint: ``python -m training.evaluate --checkpoint C --data D --benchmark B``.

Benchmarks:
    surroundocc: labelled keyframes: IoU and mIoU over the data set, the IoU of the voxelised LiDAR
        points for comparison, RayIoU, flicker, and scores through cameras.
    real: drives without voxel labels: LiDAR points against their classes (a SemanticKITTI folder,
        nuScenes-lidarseg) and against boxes (a folder in nuScenes layout).
    keyframe: keyframes without labels, such as real ones, against their LiDAR points and boxes.
    preprocessing: sky masks and the LiDAR filter, without a model, against the truth of generated
        towns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from occ_core.checkpoint import SHIPPED
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.splits import split_scenes
from occ_core.engine import OccupancyEngine, Precision
from occ_core.files import write_atomically
from occ_core.geometry.points import NEWEST_S
from occ_core.metrics import (
    BevScore,
    Flicker,
    ImageScore,
    OccupancyScore,
    RayIoU,
    ray_origins,
    visible_only,
)
from occ_core.metrics.keyframe import car_point_accuracy, hit_recall, voxelise_points
from occ_core.metrics.label_sets import LabelSet
from occ_core.metrics.occupancy import OccupancyScores
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.taxonomy import EMPTY, IGNORE, WEATHERS
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid
from training.figures.keyframe import write_frame_picture
from training.results.stored import to_json
from training.score_preprocessing import score_preprocessing
from training.score_real import score_keyframes, score_labelled_scans
from training.scoring.labelled_drives import lidar_positions

_BOX_SIDES_M = (25, 50, 100)
"""Sides of the squares around the vehicle that are also scored separately."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which checkpoint is scored, and on which data."""

    data: Path
    """nuScenes data root, or for ``real`` a folder that holds SemanticKITTI's ``sequences/``."""
    checkpoint: Path = SHIPPED
    benchmark: Literal["surroundocc", "real", "keyframe", "preprocessing"] = "surroundocc"
    version: str | None = None
    """Folder of tables; None takes the only v1.0-* folder."""
    split: str | None = None
    """nuScenes split; None takes every scene of the version."""
    json: Path | None = None
    """File to which the scores are written."""
    pictures: Path | None = None
    """Folder for one picture per keyframe."""
    rendered: bool = True
    """Whether occupancy is also scored through cameras, which takes most of the time."""
    sweeps: int = 9
    """How many LiDAR sweeps before the keyframe are joined to it."""
    device: str = "cpu"
    precision: Precision = "auto"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """The scores of a benchmark, as the command writes them to JSON.

    Raises:
        FileNotFoundError: a table, a LiDAR file or the labels are missing.
        ValueError: the checkpoint, the split, a table or a file is malformed or unknown.
    """
    scenes = (
        None if config.split is None else split_scenes(config.data, config.version, config.split)
    )
    if config.benchmark == "preprocessing":
        keyframes = NuScenes(config.data, config.version).keyframes(scenes, 0)
        return score_preprocessing(config.data, keyframes, config.pictures)
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    model = engine.model.config
    if config.benchmark == "real" and (config.data / "sequences").is_dir():
        return score_labelled_scans(engine, config.data, config.pictures)
    frames = NuScenesFrames(
        config.data, config.version, scenes, model.image_size, config.sweeps, model.grid
    )
    if config.benchmark == "real":
        return score_keyframes(engine, frames, config.pictures)
    if config.benchmark == "keyframe":
        return _score_keyframes(engine, frames, config.pictures)
    indices = range(len(frames))
    return score_frames(engine, frames, indices, config.pictures, rendered=config.rendered)


def score_frames(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    indices: Sequence[int],
    pictures: Path | None = None,
    *,
    rendered: bool = False,
) -> dict[str, Any]:
    """Scores by SurroundOcc's protocol over the labelled keyframes at ``indices``.

    Args:
        pictures: folder for one picture per keyframe.
        rendered: whether to score through cameras too.

    Returns:
        ``iou``, ``miou`` and ``per_class`` over all voxels; ``lidar_iou``, the IoU of the voxels
        that contain a LiDAR point (all sweeps joined), and ``iou_over_lidar``, the ratio to it;
        ``flicker`` and ``ray_iou``, see ``occ_core.metrics``; ``by_range``, in boxes of 25, 50 and
        100 m (TACOcc, Table VI); ``by_weather`` (VLMFusionOcc3D, Table VI). With ``rendered``,
        ``bev`` from above, and ``image`` and ``depth_l1_m`` through the vehicle's cameras at the
        model's image size. ``visible`` has the same scores over the voxels that a camera's ray
        reached, where the data have masks.

    Raises:
        FileNotFoundError: a keyframe has no labels.
    """
    scores = _FrameScores(frames, rendered)
    previous: int | None = None
    for index in tqdm(indices, desc="evaluate", unit="frame", leave=False):
        frame, truth = frames[index]
        if truth is None:
            raise FileNotFoundError(
                f"{frames.keyframes[index].lidar.path} has no occupancy labels; use --benchmark "
                "keyframe"
            )
        if not _is_next(frames, index, previous):
            engine.reset("another drive begins")
            scores.flicker.start_drive()
        previous = index
        prediction = engine.step(frame).labels[0]
        scores.update(index, frame, prediction, truth)
        if pictures is not None:
            write_frame_picture(
                pictures, index, frame, prediction.numpy(), truth.numpy(), frames.grid
            )
    return scores.compute()


def _is_next(frames: NuScenesFrames, index: int, previous: int | None) -> bool:
    """Whether a keyframe follows the previous one in the same drive."""
    if previous is None or index != previous + 1:
        return False
    return frames.keyframes[previous].scene_name == frames.keyframes[index].scene_name


def _score_keyframes(
    engine: OccupancyEngine, frames: NuScenesFrames, pictures: Path | None = None
) -> dict[str, Any]:
    """Means over all keyframes of the scores that need no labels.

    Args:
        pictures: folder for one picture per keyframe.

    Returns:
        ``hit_recall`` and ``car_point_accuracy``, see ``occ_core.metrics.keyframe``.
    """
    recalls, accuracies = [], []
    for index in tqdm(range(len(frames)), desc="evaluate", unit="frame", leave=False):
        frame, _ = frames[index]
        prediction = engine.step(frame).labels[0]
        labels = prediction.numpy()
        points = frame.points[0][frame.points[0][:, 4] < NEWEST_S].numpy()
        boxes = frames.keyframes[index].boxes
        recalls.append(hit_recall(labels, points, frames.grid))
        accuracies.append(car_point_accuracy(labels, points, boxes, frames.grid))
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction.numpy(), None, frames.grid)
    return {
        "hit_recall": float(np.nanmean(recalls)),
        "car_point_accuracy": float(np.nanmean(accuracies)),
        "frames": len(frames),
    }


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


class _FrameScores:
    """All scores of labelled keyframes: counts frame by frame, then scores once."""

    def __init__(self, frames: NuScenesFrames, rendered: bool) -> None:
        grid = frames.grid
        self.frames, self.rendered = frames, rendered
        self.count = 0
        self.all = _VoxelAndImageScores(grid, rendered)
        self.visible: _VoxelAndImageScores | None = None
        self.lidar = OccupancyScore(LabelSet(("empty", "hit")))
        self.flicker, self.rays = Flicker(grid), RayIoU(grid)
        self.by_range = {
            side: (_central_columns(grid, side), OccupancyScore()) for side in _BOX_SIDES_M
        }
        self.by_weather: dict[str, OccupancyScore] = {}
        self.lidar_m = lidar_positions(frames)

    def update(self, index: int, frame: Frame, prediction: Tensor, truth: Tensor) -> None:
        """Adds a keyframe; ``prediction`` and ``truth`` are class ids uint8 ``[X, Y, Z]``."""
        grid, keyframe = self.frames.grid, self.frames.keyframes[index]
        world_from_grid = frame.world_from_grid[0]
        cameras = frame_cameras(frame, 0)
        self.count += 1
        self.all.update(prediction, truth, cameras)
        visible = self.frames.visible(index)
        if visible is not None:
            if self.visible is None:
                self.visible = _VoxelAndImageScores(grid, self.rendered)
            self.visible.update(prediction, visible_only(truth, visible), cameras)
        self.flicker.update(prediction, truth, world_from_grid)
        lidar_m = self.lidar_m[keyframe.scene_name]
        origins = ray_origins(torch.linalg.inv(world_from_grid), lidar_m, grid)
        self.rays.update(prediction, truth, origins)
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
        return scores | {
            "frames": self.count,
            "lidar_iou": lidar_iou,
            "iou_over_lidar": scores["iou"] / lidar_iou,
            "flicker": self.flicker.compute(),
            "ray_iou": self.rays.compute()["ray_iou"],
            "by_weather": by_weather,
            "by_range": by_range,
        }


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


def main() -> None:
    """Command line."""
    config = tyro.cli(EvaluateConfig, prog="training.evaluate")
    try:
        scores = evaluate(config)
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.evaluate: {err}")
    text = to_json(scores)
    if config.json is not None:
        write_atomically(config.json, text)
    print(text, end="")


if __name__ == "__main__":
    main()
