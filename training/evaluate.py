"""Scores a checkpoint: ``python -m training.evaluate --checkpoint C --data D --benchmark
surroundocc --json scores.json``.

``surroundocc``: IoU and mIoU of labelled keyframes, dataset-level, the IoU of the voxelised LiDAR
points beside it, RayIoU, flicker, and what cameras see. ``keyframe``: keyframes without labels,
such as real ones, against their own LiDAR points and boxes. ``preprocessing``: no model; sky masks
and the LiDAR filter, against what generated towns know of both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from occ_core.checkpoint import SHIPPED
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.splits import split_scenes
from occ_core.engine import OccupancyEngine, Precision
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
from occ_core.rendering.cameras import frame_cameras
from occ_core.taxonomy import WEATHERS
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid
from training.figures.keyframe import keyframe_picture, write_picture
from training.score_preprocessing import score_preprocessing

BOX_SIDES_M = (25, 50, 100)
"""Sides of the squares around the vehicle that are scored by themselves."""
NEWEST_S = 1e-3
"""Points of the keyframe's own sweep are younger than this."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is scored on what."""

    data: Path
    """nuScenes data root."""
    checkpoint: Path = SHIPPED
    benchmark: Literal["surroundocc", "keyframe", "preprocessing"] = "surroundocc"
    version: str | None = None
    split: str | None = None
    """nuScenes split; None takes every scene of the version."""
    json: Path | None = None
    """Where the scores are written."""
    pictures: Path | None = None
    """Folder for one picture per keyframe."""
    rendered: bool = True
    """Whether occupancy is scored through cameras too, which takes most of the time."""
    sweeps: int = 9
    device: str = "cpu"
    precision: Precision = "auto"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """The scores; see the module for their meaning."""
    scenes = (
        None if config.split is None else split_scenes(config.data, config.version, config.split)
    )
    if config.benchmark == "preprocessing":
        return score_preprocessing(
            config.data, NuScenes(config.data, config.version).keyframes(scenes, 0), config.pictures
        )
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    model = engine.model.config
    frames = NuScenesFrames(
        config.data, config.version, scenes, model.image_size, config.sweeps, model.grid
    )
    if config.benchmark == "surroundocc":
        return score_frames(
            engine, frames, range(len(frames)), config.pictures, rendered=config.rendered
        )
    return score_keyframes(engine, frames, config.pictures)


def score_frames(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    indices: Sequence[int],
    pictures: Path | None = None,
    *,
    rendered: bool = False,
) -> dict[str, Any]:
    """IoU and mIoU by SurroundOcc's protocol over the keyframes at ``indices``; keyframes without
    labels are an error.

    ``lidar_iou`` is that of the voxels which hold a LiDAR point (all sweeps joined),
    ``iou_over_lidar`` the ratio to it; ``flicker`` see ``occ_core.metrics.flicker``; ``by_range``
    has the scores within boxes of 25, 50 and 100 m (TACOcc, Table VI), ``by_weather`` those of the
    keyframes of each weather (VLMFusionOcc3D, Table VI); ``ray_iou`` see
    ``occ_core.metrics.ray_iou``. ``rendered`` adds what cameras see: from above (``bev``) and the
    vehicle's own, at the model's image size (``image``, ``depth_l1_m``). ``visible`` has the same
    of the voxels that a camera's ray reached, where the data know.
    """
    rays, bev, image = RayIoU(frames.grid), BevScore(frames.grid), ImageScore(frames.grid)
    lidar_m: dict[str, list[np.ndarray]] = {}
    for keyframe in frames.keyframes:
        lidar_m.setdefault(keyframe.scene_name, []).append(keyframe.lidar.world_from_lidar[:3, 3])
    score, lidar_score, flicker = (
        OccupancyScore(),
        OccupancyScore(LabelSet(("empty", "hit"))),
        Flicker(frames.grid),
    )
    boxes = {side: (OccupancyScore(), _box(frames.grid, side)) for side in BOX_SIDES_M}
    weathers: dict[str, OccupancyScore] = {}
    in_view: tuple[OccupancyScore, BevScore, ImageScore] | None = None
    before: int | None = None
    for index in tqdm(indices, desc="evaluate", unit="frame", leave=False):
        frame, labels = frames[index]
        if labels is None:
            raise FileNotFoundError(
                f"{frames.keyframes[index].lidar.path} has no occupancy labels; use --benchmark "
                "keyframe"
            )
        if (
            before is None
            or index != before + 1
            or frames.keyframes[before].scene_name != frames.keyframes[index].scene_name
        ):
            engine.reset("the frames before are of another place")
            flicker.cut()
        before = index
        prediction = engine.step(frame).labels[0]
        score.update(prediction, labels)
        weathers.setdefault(frames.keyframes[index].context.weather, OccupancyScore()).update(
            prediction, labels
        )
        flicker.update(prediction, labels, frame.world_from_grid[0])
        along = torch.from_numpy(np.stack(lidar_m[frames.keyframes[index].scene_name]))
        visible = frames.visible(index)
        if visible is not None:
            in_view = in_view or (OccupancyScore(), BevScore(frames.grid), ImageScore(frames.grid))
            truth_in_view = visible_only(labels, visible)
            in_view[0].update(prediction, truth_in_view)
            if rendered:
                in_view[1].update(prediction, truth_in_view)
                in_view[2].update(prediction, truth_in_view, frame_cameras(frame, 0))
        rays.update(
            prediction,
            labels,
            ray_origins(torch.linalg.inv(frame.world_from_grid[0]), along, frames.grid),
        )
        if rendered:
            bev.update(prediction, labels)
            image.update(prediction, labels, frame_cameras(frame, 0))
        for box_score, box in boxes.values():
            box_score.update(prediction[box], labels[box])
        hit = torch.from_numpy(voxelise_points(frame.points[0].numpy(), frames.grid))
        occupied = torch.where(labels == 255, labels, (labels != 0).to(torch.uint8))
        lidar_score.update(hit.to(torch.uint8), occupied)
        _picture(pictures, index, frame, prediction.numpy(), labels.numpy(), engine)
    scores: dict[str, Any] = dict(score.compute())
    lidar_iou = lidar_score.compute()["iou"]
    if rendered:
        scores |= _seen(bev, image)
    if in_view is not None:
        scores["visible"] = _means(in_view[0].compute())
        if rendered:
            scores["visible"] |= _seen(in_view[1], in_view[2])
    return scores | {
        "frames": len(indices),
        "lidar_iou": lidar_iou,
        "iou_over_lidar": scores["iou"] / lidar_iou,
        "flicker": flicker.compute(),
        "ray_iou": rays.compute()["ray_iou"],
        "by_weather": {
            weather: _means(weathers[weather].compute())
            for weather in WEATHERS
            if weather in weathers
        },
        "by_range": {
            str(side): _means(box_score.compute()) for side, (box_score, _) in boxes.items()
        },
    }


def _seen(bev: BevScore, image: ImageScore) -> dict[str, Any]:
    above, seen = bev.compute(), image.compute()
    return {
        "bev": _means(above["semantics"]),
        "image": _means(seen["semantics"]),
        "depth_l1_m": seen["depth_l1_m"],
    }


def _means(scores: OccupancyScores) -> dict[str, float]:
    return {"iou": scores["iou"], "miou": scores["miou"]}


def _box(grid: VoxelGrid, side_m: float) -> tuple[slice, slice]:
    """The columns of voxels whose centres lie in a square of this side around the vehicle."""
    slices = []
    for cells, low in zip(grid.shape[:2], grid.min_m[:2], strict=True):
        centres = low + (np.arange(cells) + 0.5) * grid.voxel_size_m
        inside = np.flatnonzero(np.abs(centres) <= side_m / 2)
        slices.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return slices[0], slices[1]


def score_keyframes(
    engine: OccupancyEngine, frames: NuScenesFrames, pictures: Path | None = None
) -> dict[str, Any]:
    """Means over all keyframes of ``hit_recall`` and ``car_point_accuracy`` (see
    ``occ_core.metrics.keyframe``).
    """
    recalls, accuracies = [], []
    for index in tqdm(range(len(frames)), desc="evaluate", unit="frame", leave=False):
        frame, _ = frames[index]
        prediction = engine.step(frame).labels[0].numpy()
        points = frame.points[0][frame.points[0][:, 4] < NEWEST_S].numpy()
        recalls.append(hit_recall(prediction, points, frames.grid))
        accuracies.append(
            car_point_accuracy(prediction, points, frames.keyframes[index].boxes, frames.grid)
        )
        _picture(pictures, index, frame, prediction, None, engine)
    return {
        "hit_recall": float(np.nanmean(recalls)),
        "car_point_accuracy": float(np.nanmean(accuracies)),
        "frames": len(frames),
    }


def _picture(
    folder: Path | None,
    index: int,
    frame: Frame,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    engine: OccupancyEngine,
) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    images = [image.permute(1, 2, 0).numpy() for image in frame.images[0]]
    picture = keyframe_picture(
        images,
        prediction,
        truth,
        engine.model.config.grid,
        title=f"{frame.context[0].region}, {frame.context[0].weather}",
    )
    write_picture(picture, folder / f"{index:04d}.png")


def main() -> None:
    """Command line."""
    config = tyro.cli(EvaluateConfig, prog="training.evaluate")
    try:
        scores = evaluate(config)
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.evaluate: {err}")
    text = json.dumps(scores, indent=2)
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
