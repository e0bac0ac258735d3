"""Adaptive density control (Kerbl et al. 2023, "3D Gaussian Splatting", section 5): more Gaussians
where the images need them.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.losses.sequential.anchors import Anchors
from occ_core.losses.sequential.temporal_gaussians import TemporalGaussians
from occ_core.rendering.project import rotation_matrices

SHRINK = 1.6
"""Factor by which the two halves of a split Gaussian are smaller (phi in the paper)."""


def control_density(
    gaussians: TemporalGaussians,
    anchors: Anchors,
    gradient: Float[Tensor, "gaussian 3"],
    *,
    densified: float = 0.05,
    large: float = 0.5,
    min_opacity: float = 0.005,
) -> tuple[TemporalGaussians, Anchors]:
    """The Gaussians and their anchors after one round of pruning, cloning and splitting.

    Gradients of the new Gaussians reach those that they were made from.

    Args:
        gradient: gradient of the image loss at the centres.
        densified: fraction of the Gaussians, those with the largest gradients, that become two.
            The paper has a threshold, but the loss of a few small images is scaled differently in
            every frame.
        large: fraction of their anchor's size; Gaussians with a larger standard deviation are
            split along that axis, the others are cloned.
        min_opacity: Gaussians of a lower opacity are pruned.
    """
    now = gaussians.at(0.0, anchors)
    visible = torch.sigmoid(gaussians.opacity) >= min_opacity
    strength = gradient.norm(dim=1) * visible
    strongest = strength.topk(int(densified * len(strength))).indices
    chosen = torch.zeros_like(visible).index_fill(0, strongest, True) & (strength > 0)
    longest, axis = now.scales.max(dim=1)
    split = chosen & (longest > large * anchors.size_m)

    row, deviation = torch.arange(len(axis), device=axis.device), longest.detach()[:, None]
    along = rotation_matrices(now.quaternions).detach()[row, :, axis]  # [G, 3], the longest axis
    downhill = -deviation * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-20)
    # the halves of a split one move apart by a standard deviation each; a clone moves downhill
    shift = torch.where(split[:, None], deviation * along, 0.0)
    second = torch.where(split[:, None], -deviation * along, downhill)

    kept, doubled = visible.nonzero()[:, 0], chosen.nonzero()[:, 0]
    source = torch.cat([kept, doubled])
    smaller = gaussians.scale - math.log(SHRINK) * split[:, None].to(gaussians.scale.dtype)
    made = TemporalGaussians(*(part[source] for part in gaussians._replace(scale=smaller)))
    centres = torch.cat([(anchors.centres + shift)[kept], (anchors.centres + second)[doubled]])
    return made, Anchors(centres, anchors.size_m[source], anchors.is_point[source])
