"""Class-weighted cross entropy over voxels (L_ce of TACOcc, section III-C)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.taxonomy import EMPTY, IGNORE


def cross_entropy(
    logits: Float[Tensor, "n class"],
    labels: Int[Tensor, " n"],
    class_weights: Float[Tensor, " class"],
) -> Float[Tensor, ""]:
    """Weighted mean over the voxels whose label is not 255; 0 without any."""
    if not (labels != IGNORE).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, weight=class_weights, ignore_index=IGNORE)


def class_weights(
    voxels_per_class: Float[Tensor, " class"], exponent: float = 0.25, empty: int = EMPTY
) -> Float[Tensor, " class"]:
    """Weights that favour rare classes: ``frequency ** -exponent``, with a mean of 1 over the
    occupied classes.

    The empty class weighs as much as the most frequent occupied one, and a class that never occurs
    as much as the rarest one that does.

    Args:
        voxels_per_class: number of voxels of each class in the training set.
        exponent: 0 weighs all classes alike, 1 gives each the same total.
        empty: id of the empty class.

    Raises:
        ValueError: there is no occupied voxel.
    """
    others = torch.arange(len(voxels_per_class)) != empty
    occupied = voxels_per_class[others].double()
    if not (occupied > 0).any():
        raise ValueError(
            "class weights need labels with at least one occupied voxel, got none; is the data set "
            "labelled?"
        )
    occupied = torch.where(occupied > 0, occupied, occupied[occupied > 0].min())
    weights = (occupied / occupied.sum()) ** -exponent
    weights = weights / weights.mean()
    return weights.min().expand(len(others)).masked_scatter(others, weights).float()
