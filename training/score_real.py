"""Scores on real drives: how far a model's semantics hold on sensors that it was not trained on.

SemanticKITTI folders have a class for every LiDAR point, folders in nuScenes layout annotated
boxes, and with nuScenes-lidarseg classes too. A point's prediction is the class of the voxel that
contains it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.samples import Damaged, IntactItems
from occ_core.datasets.semantic_kitti import SemanticKittiFrames
from occ_core.engine import OccupancyEngine
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
) -> dict[str, Any]:
    """``LabelledPointScore`` over every ``every``-th scan of a SemanticKITTI folder.

    Args:
        pictures: folder for a picture of each scan and ``confusion.png``.
        damaged: see ``IntactItems``.

    Raises:
        FileNotFoundError, ValueError: see ``SemanticKittiFrames``.
    """
    grid = engine.model.config.grid
    frames = SemanticKittiFrames(root, engine.model.config.image_size)
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
    if pictures is not None and confusion.any():
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
