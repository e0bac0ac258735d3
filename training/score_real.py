"""Scores on real drives: how far a model's semantics hold on sensors that it was not trained on.

SemanticKITTI folders have a class for every LiDAR point, folders in nuScenes layout annotated
boxes. A point counts as the class of the voxel that contains it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.semantic_kitti import SemanticKittiFrames
from occ_core.engine import OccupancyEngine
from occ_core.geometry.points import NEWEST_S
from occ_core.metrics.point_scores import BoxPointScore, LabelledPointScore
from training.figures.confusion import draw_confusion
from training.figures.keyframe import write_frame_picture


def score_labelled_scans(
    engine: OccupancyEngine, root: Path, pictures: Path | None = None, every: int = 2
) -> dict[str, Any]:
    """``LabelledPointScore`` over every ``every``-th scan of a SemanticKITTI folder.

    Args:
        pictures: folder for a picture of each scan and ``confusion.png``.

    Raises:
        FileNotFoundError, ValueError: see ``SemanticKittiFrames``.
    """
    grid = engine.model.config.grid
    frames = SemanticKittiFrames(root, engine.model.config.image_size)
    score = LabelledPointScore(grid)
    scored = [index for index in range(len(frames)) if frames.scan_number(index) % every == 0]
    for index in tqdm(scored, desc="evaluate", unit="scan", leave=False):
        if frames.scan_number(index) == 0:
            engine.reset("a new sequence")
        frame, points = frames[index]
        prediction = engine.step(frame).labels[0].numpy()
        score.update(prediction, points.xyz_m, points.classes)
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction, None, grid)
    if pictures is not None:
        draw_confusion(score.confusion, pictures / "confusion.png")
    return {"frames": len(scored), **score.compute()}


def score_boxes(
    engine: OccupancyEngine, frames: NuScenesFrames, pictures: Path | None = None
) -> dict[str, Any]:
    """``BoxPointScore`` over the keyframes of a folder in nuScenes layout.

    Args:
        pictures: folder for a picture of each keyframe.
    """
    score = BoxPointScore(frames.grid)
    scene = None
    for index in tqdm(range(len(frames)), desc="evaluate", unit="frame", leave=False):
        frame, _ = frames[index]
        keyframe = frames.keyframes[index]
        if keyframe.scene_name != scene:
            engine.reset("a new scene")
            scene = keyframe.scene_name
        prediction = engine.step(frame).labels[0].numpy()
        points = frame.points[0]
        newest = points[points[:, 4] < NEWEST_S].numpy()
        score.update(prediction, newest[:, :3], keyframe.boxes)
        if pictures is not None:
            write_frame_picture(pictures, index, frame, prediction, None, frames.grid)
    return {"frames": len(frames), **score.compute()}
