"""Logits that voxels share -> what is drawn of each voxel, compiled: for the CPU, with gradients."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.taxonomy import EMPTY


class DrawnVoxels(torch.autograd.Function):
    """``(logits, row_of, least) -> probabilities [D, class], opacities [D], voxels [D, 3]``, from
    the highest layer down.

    ``row_of`` tells which row of the logits is a voxel's, -1 none; fainter ones than ``least`` are
    left out.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Float[Tensor, "row class"], row_of: Int32[Tensor, "z y x"], least: float
    ) -> tuple[Float[Tensor, "drawn class"], Float[Tensor, " drawn"], Int[Tensor, "drawn 3"]]:
        shares = logits.detach().softmax(dim=1)
        room = int((row_of >= 0).sum())
        probabilities, opacities = shares.new_empty(room, shares.shape[1]), shares.new_empty(room)
        voxels, rows = torch.empty(room, 3, dtype=torch.long), torch.empty(room, dtype=torch.int32)
        found = (probabilities, opacities, voxels, rows)
        drawn = _collect(shares.numpy(), row_of.numpy(), least, *(one.numpy() for one in found))
        probabilities, opacities, voxels, rows = (one[:drawn] for one in found)
        ctx.save_for_backward(probabilities, rows)
        ctx.size = logits.shape
        ctx.mark_non_differentiable(voxels)
        return probabilities, opacities, voxels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probabilities, rows = ctx.saved_tensors
        of_logits = probabilities.new_zeros(ctx.size)
        arriving = (gradient.contiguous().numpy() for gradient in gradients[:2])
        _spread(probabilities.numpy(), rows.numpy(), *arriving, of_logits.numpy())
        return of_logits, None, None


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _collect(
    shares: np.ndarray,
    row_of: np.ndarray,
    least: float,
    probabilities: np.ndarray,
    opacities: np.ndarray,
    voxels: np.ndarray,
    rows: np.ndarray,
) -> int:
    """Fills the last four; returns how many are drawn."""
    classes, one, faintest = shares.shape[1], shares.dtype.type(1), shares.dtype.type(least)
    layers, across, along = row_of.shape
    drawn = 0
    for z in range(layers - 1, -1, -1):
        for y in range(across):
            for x in range(along):
                row = row_of[z, y, x]
                if row < 0:
                    continue
                empty = shares[row, EMPTY]  # voxel_gaussians.opacity_from_empty
                opacity = (
                    one - empty * empty if empty + empty < one else (one - empty) * (one - empty)
                )
                if not opacity >= faintest:  # nor NaN
                    continue
                for channel in range(classes):
                    probabilities[drawn, channel] = shares[row, channel]
                opacities[drawn], rows[drawn] = opacity, row
                voxels[drawn, 0], voxels[drawn, 1], voxels[drawn, 2] = x, y, z
                drawn += 1
    return drawn


@njit(
    cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"}
)  # sums over classes in any order: several at once
@no_type_check
def _spread(
    probabilities: np.ndarray,
    rows: np.ndarray,
    features_gradient: np.ndarray,
    opacities_gradient: np.ndarray,
    logits_gradient: np.ndarray,
) -> None:
    """Through opacity and softmax, added to the last."""
    classes, one = probabilities.shape[1], probabilities.dtype.type(1)
    for place in range(len(rows)):
        row, empty = rows[place], probabilities[place, EMPTY]
        steep = (
            empty + empty if empty + empty < one else one - empty + one - empty
        ) * opacities_gradient[place]  # downwards
        mean = -steep * empty
        for channel in range(classes):
            mean += probabilities[place, channel] * features_gradient[place, channel]
        for channel in range(classes):
            logits_gradient[row, channel] += probabilities[place, channel] * (
                features_gradient[place, channel] - mean
            )
        logits_gradient[row, EMPTY] -= empty * steep
