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
    """Weighted mean over the voxels whose label is not 255; 0 where there is none."""
    if not (labels != IGNORE).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, weight=class_weights, ignore_index=IGNORE)


def class_weights(
    voxels_per_class: Float[Tensor, " class"], exponent: float = 0.25
) -> Float[Tensor, " class"]:
    """Rarer classes weigh more: ``frequency ** -exponent``, scaled so that the occupied classes'
    weights average 1.

    Empty weighs as much as the most frequent occupied class; a class that never occurs as much as
    the rarest that does.
    """
    occupied = voxels_per_class[EMPTY + 1 :].double()
    if not (occupied > 0).any():
        raise ValueError(
            "class weights need labels with at least one occupied voxel, got none; is the data set "
            "labelled?"
        )
    occupied = torch.where(occupied > 0, occupied, occupied[occupied > 0].min())
    weights = (occupied / occupied.sum()) ** -exponent
    weights = weights / weights.mean()
    return torch.cat([weights.min()[None], weights]).float()
