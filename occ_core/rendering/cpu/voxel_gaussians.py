"""As ``rendering.voxel_gaussians.cascade_gaussians``, compiled: softmax, opacity and the choice of
voxels in one pass, from logits that voxels share, with gradients.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.cpu.kernel import kernel


class _Drawn(NamedTuple):
    """What is drawn, one row a voxel."""

    probabilities: np.ndarray
    opacities: np.ndarray
    voxels: np.ndarray
    """int64 [D, 3]."""
    rows: np.ndarray
    """int32 [D], of the logits."""


class DrawnVoxels(torch.autograd.Function):
    """``(logits, row_of, min_opacity, empty) -> probabilities [D, class], opacities [D], voxels
    [D, 3]``, from the highest layer down.

    ``row_of`` holds the row of the logits for each voxel, -1 for voxels that are left out; so are
    those of a lower opacity than ``min_opacity``. ``empty`` is the id of the empty class.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Float[Tensor, "row class"],
        row_of: Int32[Tensor, "z y x"],
        min_opacity: float,
        empty: int,
    ) -> tuple[Float[Tensor, "drawn class"], Float[Tensor, " drawn"], Int[Tensor, "drawn 3"]]:
        shared = logits.detach().softmax(dim=1)
        most = int((row_of >= 0).sum())
        found = (
            shared.new_empty(most, shared.shape[1]),
            shared.new_empty(most),
            torch.empty(most, 3, dtype=torch.long),
            torch.empty(most, dtype=torch.int32),
        )
        output = _Drawn(*arrays(*found))
        drawn = _collect(shared.numpy(), row_of.numpy(), min_opacity, empty, output)
        probabilities, opacities, voxels, rows = (each[:drawn] for each in found)
        ctx.save_for_backward(probabilities, rows)
        ctx.size, ctx.empty = logits.shape, empty
        ctx.mark_non_differentiable(voxels)
        return probabilities, opacities, voxels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        probabilities, rows = ctx.saved_tensors
        grad_logits = probabilities.new_zeros(ctx.size)
        given = arrays(probabilities, rows, gradients[0], gradients[1], grad_logits)
        _collect_backward(ctx.empty, *given)
        return grad_logits, None, None, None


@kernel
def _collect(
    shared: np.ndarray, row_of: np.ndarray, min_opacity: float, empty_id: int, drawn: _Drawn
) -> int:
    """Fills ``drawn`` from the probabilities ``shared`` and returns its number of voxels."""
    real = shared.dtype.type
    one, least = real(1), real(min_opacity)
    layers, width, length = row_of.shape
    count = 0
    for z in range(layers - 1, -1, -1):
        for y in range(width):
            for x in range(length):
                row = row_of[z, y, x]
                if row < 0:
                    continue
                empty = shared[row, empty_id]  # as in voxel_gaussians.opacity_from_empty
                opacity = (
                    one - empty * empty if empty + empty < one else (one - empty) * (one - empty)
                )
                if not opacity >= least:  # nor is NaN drawn
                    continue
                for channel in range(shared.shape[1]):
                    drawn.probabilities[count, channel] = shared[row, channel]
                drawn.opacities[count], drawn.rows[count] = opacity, row
                drawn.voxels[count, 0], drawn.voxels[count, 1], drawn.voxels[count, 2] = x, y, z
                count += 1
    return count


# Sums over classes may run in any order, several at once.
@kernel(fastmath={"reassoc", "nsz", "contract"})
def _collect_backward(
    empty_id: int,
    probabilities: np.ndarray,
    rows: np.ndarray,
    grad_probabilities: np.ndarray,
    grad_opacities: np.ndarray,
    grad_logits: np.ndarray,
) -> None:
    """Adds to ``grad_logits``, through opacity and softmax."""
    classes, one = probabilities.shape[1], probabilities.dtype.type(1)
    for drawn in range(len(rows)):
        row, empty = rows[drawn], probabilities[drawn, empty_id]
        # minus the gradient of the opacity by the probability of being empty
        slope = empty + empty if empty + empty < one else one - empty + one - empty
        slope *= grad_opacities[drawn]
        mean = -slope * empty
        for channel in range(classes):
            mean += probabilities[drawn, channel] * grad_probabilities[drawn, channel]
        for channel in range(classes):
            grad_logits[row, channel] += probabilities[drawn, channel] * (
                grad_probabilities[drawn, channel] - mean
            )
        grad_logits[row, empty_id] -= empty * slope
