"""Labels of coarse voxels by the rule of CONet (OpenOccupancy), which Co-Occ and OccMamba share."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from occ_core.taxonomy import EMPTY, IGNORE


def conet_labels(
    labels: UInt8[Tensor, "batch x y z"], ratio: int, empty: int = EMPTY
) -> UInt8[Tensor, "batch _ _ _"]:
    """Labels of a grid with voxels ``ratio`` times as large.

    A coarse voxel takes the most frequent label of its occupied children, the smallest in a tie;
    255 takes part as any other. Where each of them occurs once only, and some children are empty,
    it is ignored (255): ``coarsen_labels`` gives a class to such a voxel, and lets classes win over
    255.

    Args:
        labels: class ids on the finer grid, 255 ignored.
        ratio: voxels per coarse voxel and axis.
        empty: id of the empty class.
    """
    if ratio == 1:
        return labels
    x, y, z = (side // ratio for side in labels.shape[1:])
    blocks = labels.view(-1, x, ratio, y, ratio, z, ratio).permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
    found = labels.unique()
    found = found[found != empty]
    coarse = torch.full(blocks.shape[:4], empty, dtype=labels.dtype, device=labels.device)
    if not len(found):
        return coarse
    votes = torch.stack([(blocks == label).sum(dim=-1) for label in found])  # [label, B, X, Y, Z]
    most, winner = votes.amax(dim=0), votes.argmax(dim=0)
    is_empty = blocks == empty
    coarse = torch.where(is_empty.all(dim=-1), coarse, found[winner])
    return torch.where((most == 1) & is_empty.any(dim=-1), IGNORE, coarse).to(labels.dtype)
