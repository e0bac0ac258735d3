"""Grids of class ids as the scores take them: tensors or arrays of integers, of one label set."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.taxonomy import IGNORE

ClassIds: TypeAlias = Tensor | np.ndarray
"""Integers of any width; 255 is ignored in a truth and refused in a prediction."""
WHOLE_GRID = 1000
"""A grid of this many voxels or more always holds empty ones."""


def checked_ids(
    prediction: ClassIds, truth: ClassIds, labels: LabelSet
) -> tuple[UInt8[Tensor, "*grid"], UInt8[Tensor, "*grid"]]:
    """Prediction and truth as uint8 tensors, once both hold ids of the label set alone.

    Args:
        prediction: ids of ``labels``; where the truth is 255 anything is accepted.
        truth: likewise, or 255.
        labels: meaning of the ids.

    Raises:
        TypeError: one of them is neither a tensor nor an array, or holds no integers.
        ValueError: the shapes differ, or an id is not that of a class.
    """
    pair = {"prediction": _integers("prediction", prediction), "truth": _integers("truth", truth)}
    prediction, truth = pair["prediction"], pair["truth"]
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must have the same shape, got {list(prediction.shape)} and "
            f"{list(truth.shape)}"
        )
    counted = truth != IGNORE
    for name, ids in pair.items():
        known = ids[counted.to(ids.device)]
        if known.numel() and (known.min() < 0 or known.max() >= len(labels.names)):
            raise ValueError(
                f"{name} holds class ids from {known.min()} to {known.max()}, expected 0 to "
                f"{len(labels.names) - 1}, the classes of '{labels.name}'; convert the ids of "
                "another label set first"
            )
        if labels.empty and known.numel() >= WHOLE_GRID:
            _check_empty(name, known, labels)
    # what lies under an ignored truth may be any number: it is never looked at
    return prediction.clamp(0, IGNORE).to(torch.uint8), truth.to(torch.uint8)


def _check_empty(name: str, ids: Tensor, labels: LabelSet) -> None:
    """Refuses the ids of a set whose empty class is 0 where it has another id: all in range, they
    would be scored as if every voxel were occupied.
    """
    if (ids == 0).any() and not (ids == labels.empty).any():
        raise ValueError(
            f"{name} holds {ids.numel()} voxels and none of them is {labels.empty} "
            f"('{labels.names[labels.empty]}', the empty class of '{labels.name}'), but some are 0 "
            f"('{labels.names[0]}'); these look like the ids of another label set: convert them"
        )


def _integers(name: str, ids: object) -> Tensor:
    if isinstance(ids, np.ndarray):
        if ids.dtype.kind not in "iu":
            raise TypeError(f"{name} must hold integer class ids, got an array of {ids.dtype}")
        return torch.tensor(ids if ids.dtype == np.uint8 else ids.astype(np.int64))
    if not isinstance(ids, Tensor):
        raise TypeError(
            f"{name} must be a torch tensor or a numpy array of class ids, got {type(ids).__name__}"
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must hold integer class ids, got a tensor of {ids.dtype}")
    return ids
