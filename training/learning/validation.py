"""Scores of a model in training, by which its course is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from tqdm import tqdm

from occ_core.datasets.samples import IntactItems, LabelledFrames
from occ_core.engine import OccupancyEngine
from occ_core.metrics.occupancy import OccupancyScore
from occ_core.types import Frame


def validate(
    engine: OccupancyEngine, frames: LabelledFrames, indices: Sequence[int]
) -> dict[str, Any]:
    """IoU and mIoU over the labelled keyframes at ``indices``, those of all processes together.

    Where ``frames.damaged`` is ``skip``, those that cannot be read or have no labels are left out.

    Returns:
        As ``OccupancyScore.compute``, and the numbers of this process's keyframes: ``frames``, and
        ``skipped`` of those left out.

    Raises:
        FileNotFoundError: a keyframe has no labels, or a file is missing.
        ValueError: a file is damaged, or none of the keyframes can be read.
    """
    # few keyframes rarely show every class: the mean is that of the classes shown
    score = OccupancyScore(replace(engine.model.config.labels, absent="left_out"))
    intact = labelled_frames(frames, indices)
    for _, (frame, truth) in tqdm(intact, desc="validate", unit="frame", leave=False):
        score.update(engine.step(frame).labels[0], truth)
    skipped = len(intact.skipped)
    return {**score.compute(), "frames": len(indices) - skipped, "skipped": skipped}


def labelled_frames(
    frames: LabelledFrames, indices: Sequence[int]
) -> IntactItems[tuple[Frame, Tensor]]:
    """The keyframes at ``indices`` with their labels, as ``frames.damaged`` has them read."""
    return IntactItems(partial(_labelled, frames), indices, frames.damaged)


def _labelled(frames: LabelledFrames, index: int) -> tuple[Frame, Tensor]:
    frame, truth = frames[index]
    if truth is None:
        raise FileNotFoundError(
            f"validation keyframe {index} has no occupancy labels: "
            f"{frames.label_path(index)} is missing or damaged"
        )
    return frame, truth
