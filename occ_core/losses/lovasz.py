"""Lovasz-softmax: a surrogate of the mean IoU (Berman et al., CVPR 2018; L_lovasz of TACOcc, section III-C)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.taxonomy import IGNORE


def lovasz_softmax(logits: Float[Tensor, "n class"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean over the classes in the labels of the Lovasz extension of the Jaccard loss; voxels of label 255 do not count."""
    counted = labels != IGNORE
    probabilities, labels = logits[counted].float().softmax(dim=1), labels[counted]
    present = torch.unique(labels)
    if present.numel() == 0:
        return logits.sum() * 0.0
    truth = (labels == present[:, None]).float()  # [P, N]
    errors = (truth - probabilities.T[present]).abs()
    errors, order = torch.sort(errors, dim=1, descending=True)
    return (errors * jaccard_gradient(truth.gather(1, order))).sum(dim=1).mean()


def jaccard_gradient(sorted_truth: Float[Tensor, "class n"]) -> Float[Tensor, "class n"]:
    """Growth of the Jaccard loss by each further error, errors sorted from large to small (Algorithm 1)."""
    total = sorted_truth.sum(dim=1, keepdim=True)
    intersection = total - sorted_truth.cumsum(dim=1)
    union = total + (1 - sorted_truth).cumsum(dim=1)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
