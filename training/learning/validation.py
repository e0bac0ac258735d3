"""Scores of a model in training, by which its course is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from occ_core.datasets.samples import LabelledFrames
from occ_core.engine import OccupancyEngine
from occ_core.metrics.occupancy import OccupancyScore


def validate(
    engine: OccupancyEngine, frames: LabelledFrames, indices: Sequence[int]
) -> dict[str, Any]:
    """IoU and mIoU over the labelled keyframes at ``indices``, those of all processes together.

    Returns:
        As ``OccupancyScore.compute``, and ``frames``, the number of keyframes of this process.

    Raises:
        FileNotFoundError: a keyframe has no labels.
    """
    # few keyframes rarely show every class: the mean is that of the classes shown
    score = OccupancyScore(replace(engine.model.config.labels, absent="left_out"))
    for index in tqdm(indices, desc="validate", unit="frame", leave=False):
        frame, truth = frames[index]
        if truth is None:
            raise FileNotFoundError(
                f"validation keyframe {index} has no occupancy labels: "
                f"{frames.label_path(index)} is missing or damaged"
            )
        score.update(engine.step(frame).labels[0], truth)
    return {**score.compute(), "frames": len(indices)}
