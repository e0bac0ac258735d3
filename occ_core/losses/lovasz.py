"""Lovasz-softmax: a surrogate of the mean IoU (Berman et al. 2018; L_lovasz of TACOcc, section
III-C).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.taxonomy import IGNORE


def lovasz_softmax(
    logits: Float[Tensor, "n class"], labels: Int[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Lovasz extension of the Jaccard loss, averaged over the classes that occur in the labels.

    Voxels of label 255 do not count; without any other the loss is 0.
    """
    counted = labels != IGNORE
    probabilities, labels = logits[counted].float().softmax(dim=1), labels[counted]
    present = torch.unique(labels)
    if present.numel() == 0:
        return logits.sum() * 0.0
    truth = (labels == present[:, None]).float()  # [P, N]
    errors = (truth - probabilities.T[present]).abs()  # [P, N]
    order = descending(errors.detach())
    sorted_growth = jaccard_gradient(truth.gather(1, order))  # a constant for the gradient
    growth = torch.empty_like(truth).scatter_(1, order, sorted_growth)
    return (errors * growth).sum(dim=1).mean()


def descending(errors: Float[Tensor, "class n"]) -> Int[Tensor, "class n"]:
    """The order of each row from large to small; no error may be negative."""
    if not backend.use_kernel("lovasz_softmax", errors):
        return errors.argsort(dim=1, descending=True)
    # Such numbers are ordered as their bits are, and numpy sorts integers by vector instructions.
    rows = np.arange(errors.shape[1], dtype=np.uint64)
    keys = errors.numpy().view(np.uint32).astype(np.uint64) << np.uint64(32) | rows
    keys.sort(axis=1)
    return torch.from_numpy((keys & np.uint64(2**32 - 1)).astype(np.int64)[:, ::-1].copy())


def jaccard_gradient(sorted_truth: Float[Tensor, "class n"]) -> Float[Tensor, "class n"]:
    """Growth of the Jaccard loss with each further error (Algorithm 1).

    Args:
        sorted_truth: whether each voxel is of the class, errors sorted from large to small.
    """
    total = sorted_truth.sum(dim=1, keepdim=True)
    intersection = total - sorted_truth.cumsum(dim=1)
    union = total + (1 - sorted_truth).cumsum(dim=1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
