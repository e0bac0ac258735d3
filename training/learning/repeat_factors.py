"""How often a keyframe or a drive is drawn: those that are rich in rare classes more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from occ_core.datasets.samples import LabelledFrames
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.taxonomy import IGNORE

MAX_REPEATS = 4.0
"""More would teach single keyframes by heart."""


def mean_voxels(
    frames: LabelledFrames, units: Sequence[Sequence[int]], label_set: LabelSet = NUSCENES
) -> Float[np.ndarray, "unit class"]:
    """Voxels of every class in an average keyframe of each unit, 0 of the empty ones.

    It reads all labels, some milliseconds each; a bar shows the progress.

    Args:
        units: indices of each unit's keyframes: a single one, or those of a drive. A keyframe
            without labels counts as empty.
        label_set: meaning of the class ids.
    """
    classes = len(label_set.names)
    counts = np.zeros((len(units), classes))
    for row, unit in zip(counts, tqdm(units, desc="classes", leave=False), strict=True):
        for index in unit:
            labels = frames.labels(index)
            if labels is not None:
                row += labels.flatten().bincount(minlength=IGNORE + 1)[:classes].numpy()
        row /= len(unit)
    counts[:, label_set.empty] = 0
    return counts


def repeat_factors(
    voxels: Float[np.ndarray, "unit class"], power: float
) -> Float[np.ndarray, " unit"]:
    """How often each unit is drawn in an epoch, from 1 to ``MAX_REPEATS``.

    A unit's richness is the mean over the classes of its voxels relative to the average unit's,
    weighted by the share of the class among all voxels to the power -1/2; the result is richness to
    the power ``power``. After LVIS' repeat factors, sqrt(t / f) with f the fraction of images that
    hold a class (Gupta et al. 2019, appendix B.2): there an object is in an image or not, but a
    keyframe covers a hectare and holds a few voxels of nearly every class.
    """
    totals = voxels.sum(axis=0)
    present = totals > 0
    if not present.any():
        return np.ones(len(voxels))
    weights = (totals[present] / totals.sum()) ** -0.5
    relative = voxels[:, present] / voxels[:, present].mean(axis=0)
    richness = relative @ weights / weights.sum()
    factors: np.ndarray = np.clip(richness**power, 1.0, MAX_REPEATS)
    return factors
