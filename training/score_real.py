"""Scores on real drives: how far a model's semantics hold on sensors that it was not trained on.

SemanticKITTI folders have a class for every LiDAR point, folders in nuScenes layout annotated
boxes, and with nuScenes-lidarseg classes too. A point's prediction is the class of the voxel that
contains it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.kitti_sequence import check_image_folders
from occ_core.datasets.samples import Damaged, IntactItems
from occ_core.datasets.semantic_kitti import SemanticKittiFrames
from occ_core.engine import OccupancyEngine
from occ_core.geometry.points import NEWEST_S
from occ_core.metrics.keyframe import car_point_accuracy, hit_recall
from occ_core.metrics.point_scores import BoxPointScore, LabelledPointScore
from occ_core.types import Frame
from training.figures.confusion import draw_confusion
from training.figures.keyframe import write_frame_picture
from training.scoring.sensors import newest_sweep


def score_labelled_scans(
    engine: OccupancyEngine,
    root: Path,
    pictures: Path | None = None,
    every: int = 2,
    damaged: Damaged = "stop",
    history_s: float = 0.45,
) -> dict[str, Any]:
    """``LabelledPointScore`` over every ``every``-th scan of a SemanticKITTI folder.

    Args:
        pictures: folder for a picture of each scan and ``confusion.png``.
        damaged: see ``IntactItems``.
        history_s: see ``SemanticKittiFrames``.

    Raises:
        FileNotFoundError, ValueError: see ``SemanticKittiFrames``.
    """
    grid = engine.model.config.grid
    frames = SemanticKittiFrames(root, engine.model.config.image_size, history_s)
    if engine.model.config.camera:
        sequences = dict.fromkeys(frames.sequence(index) for index in range(len(frames)))
        check_image_folders(root / "sequences" / name / "image_2" for name in sequences)
    score = LabelledPointScore(grid)
    scored = [index for index in range(len(frames)) if frames.scan_number(index) % every == 0]
    intact, count, sequence = IntactItems(frames.__getitem__, scored, damaged), 0, None
    for index, (frame, points) in tqdm(intact, desc="evaluate", unit="scan", leave=False):
        count += 1
        if frames.sequence(index) != sequence:
            engine.reset("a new sequence")
            sequence = frames.sequence(index)
        prediction = engine.step(frame).labels[0].numpy()
        score.update(prediction, points.xyz_m, points.classes)
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction, None, grid)
    if not score.confusion.any():
        raise ValueError(
            f"nothing to score: of {count} scans of {root} no point in the model's grid has a "
            "class; take the download 'SemanticKITTI label data'"
        )
    if pictures is not None:
        draw_confusion(score.confusion, pictures / "confusion.png")
    return {"frames": count, "skipped": len(intact.skipped), **score.compute()}


def score_keyframes(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    pictures: Path | None = None,
    damaged: Damaged = "stop",
) -> dict[str, Any]:
    """``BoxPointScore`` over the keyframes of a folder in nuScenes layout. With nuScenes-lidarseg,
    ``point_miou``, ``per_class``, ``accuracy`` and ``recall_as`` of ``LabelledPointScore`` too.

    Args:
        pictures: folder for a picture of each keyframe and ``confusion.png``: of the labelled
            points, or without these of the points in boxes.
        damaged: see ``IntactItems``.

    Raises:
        FileNotFoundError: the folder has ``lidarseg.json``, but not all of its files.
        ValueError: the classes of a sweep do not fit its points.
    """
    boxes, classes = BoxPointScore(frames.grid), LabelledPointScore(frames.grid)
    count, scene = 0, None
    intact = IntactItems(partial(_keyframe_and_points, frames), range(len(frames)), damaged)
    for index, (frame, labelled) in tqdm(intact, desc="evaluate", unit="frame", leave=False):
        count += 1
        keyframe = frames.keyframes[index]
        if keyframe.scene_name != scene:
            engine.reset("a new scene")
            scene = keyframe.scene_name
        prediction = engine.step(frame).labels[0].numpy()
        boxes.update(prediction, newest_sweep(frame).points[0][:, :3].numpy(), keyframe.boxes)
        if labelled is not None:
            classes.update(prediction, *labelled)
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction, None, frames.grid)
    is_labelled = bool(classes.confusion.any())
    confusion = classes.confusion if is_labelled else boxes.confusion
    if not confusion.any():
        raise ValueError(
            f"nothing to score: of {count} keyframes of {frames.root} no point in the model's grid "
            "has a class or lies in a box; annotate boxes, extract nuScenes-lidarseg, or use "
            "--benchmark keyframe"
        )
    if pictures is not None:
        draw_confusion(confusion, pictures / "confusion.png")
    scores = {"frames": count, "skipped": len(intact.skipped), **boxes.compute()}
    return classes.compute() | scores if is_labelled else scores


def _keyframe_and_points(
    frames: NuScenesFrames, index: int
) -> tuple[Frame, tuple[np.ndarray, np.ndarray] | None]:
    """A keyframe's sensors, and with nuScenes-lidarseg positions and classes of its points."""
    keyframe = frames.keyframes[index]
    if not (keyframe.source.folder / "lidarseg.json").is_file():
        return frames.frame(index), None
    return frames.frame(index), (keyframe.lidar.read()[:, :3], keyframe.read_lidarseg())


def score_unlabelled_keyframes(
    engine: OccupancyEngine, frames: NuScenesFrames, pictures: Path | None, damaged: Damaged
) -> dict[str, Any]:
    """Means over all keyframes of the scores that need no labels.

    Args:
        pictures: folder for one picture per keyframe.
        damaged: see ``IntactItems``.

    Returns:
        ``hit_recall`` and ``car_point_accuracy``, see ``occ_core.metrics.keyframe``, and the
        numbers of keyframes ``frames`` and ``skipped``.
    """
    recalls, accuracies = [], []
    intact = IntactItems(frames.frame, range(len(frames)), damaged)
    for index, frame in tqdm(intact, desc="evaluate", unit="frame", leave=False):
        prediction = engine.step(frame).labels[0]
        labels = prediction.numpy()
        points = frame.points[0][frame.points[0][:, 4] < NEWEST_S].numpy()
        boxes = frames.keyframes[index].boxes
        recalls.append(hit_recall(labels, points, frames.grid))
        accuracies.append(car_point_accuracy(labels, points, boxes, frames.grid))
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction.numpy(), None, frames.grid)
    recall, accuracy = _mean_of_known(recalls), _mean_of_known(accuracies)
    if math.isnan(recall) and math.isnan(accuracy):
        raise ValueError(
            f"nothing to score: of {len(recalls)} keyframes of {frames.root} no LiDAR point lies "
            "in the model's grid; compare the LiDAR's pose in calibrated_sensor.json with them"
        )
    return {
        "hit_recall": recall,
        "car_point_accuracy": accuracy,
        "frames": len(recalls),
        "skipped": len(intact.skipped),
    }


def _mean_of_known(scores: Sequence[float]) -> float:
    """The mean of the scores that are not NaN; NaN without any."""
    known = [score for score in scores if not math.isnan(score)]
    return sum(known) / len(known) if known else math.nan
