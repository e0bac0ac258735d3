"""The answer of a model with coarser voxels on a benchmark's grid, from its interpolated logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from occ_core.head import decide, dense_logits
from occ_core.interface import Prediction, VoxelModel

SLAB = 16
"""Voxels of the model along x that are interpolated at a time, which bounds the memory."""


class LastLogits:
    """The logits of a model's last forward pass, on the grid that it predicts."""

    def __init__(self, model: VoxelModel) -> None:
        self._ratio = model.config.cascade_ratio
        self._prediction: Prediction | None = None
        model.register_forward_hook(self._keep)

    def _keep(self, model: nn.Module, inputs: tuple[object, ...], output: Prediction) -> None:
        self._prediction = output

    def dense(self) -> Float[Tensor, "batch class x y z"]:
        """The logits, with the parent's for voxels that were not refined.

        Raises:
            RuntimeError: there has been no forward pass.
        """
        if self._prediction is None:
            raise RuntimeError("the model has not predicted anything yet")
        return dense_logits(self._prediction.head, self._ratio)


def upsampled_ids(
    logits: Float[Tensor, "1 class x y z"], ratio: int, empty: int
) -> UInt8[Tensor, "_ _ _"]:
    """Class ids on a grid ``ratio`` times as fine, decided by trilinearly interpolated logits.

    The centres of the voxels stay where they are in space (``align_corners=False``), as in
    OpenOccupancy's evaluation.

    Args:
        logits: of one sample.
        ratio: voxels of the finer grid per voxel and axis.
        empty: id of the empty class.
    """
    cells = logits.shape[2]
    slabs = []
    for start in range(0, cells, SLAB):
        stop = min(start + SLAB, cells)
        low, high = max(start - 1, 0), min(stop + 1, cells)  # with the neighbours of the border
        fine = F.interpolate(
            logits[:, :, low:high].float(), scale_factor=ratio, mode="trilinear"
        )  # [1, class, (high - low) * ratio, ...]
        own = fine[:, :, (start - low) * ratio : (stop - low) * ratio]
        slabs.append(decide(own, empty)[0][0])
    return torch.cat(slabs)
