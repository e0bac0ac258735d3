"""Adaptive density control (Kerbl et al. 2023, "3D Gaussian Splatting", section 5): more Gaussians
where images ask for them.
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
"""A Gaussian that is split gives two, smaller by this factor (phi in the paper)."""


def control_density(
    gaussians: TemporalGaussians,
    anchors: Anchors,
    pull: Float[Tensor, "gaussian 3"],
    *,
    densified: float = 0.05,
    large: float = 0.5,
    least_opacity: float = 0.005,
) -> tuple[TemporalGaussians, Anchors]:
    """The Gaussians and their anchors after one round: pruned, cloned and split. Gradients pass to
    those they came from.

    Args:
        pull: gradient of the image loss at the centres. A share is taken of the strongest, where
            the paper has a threshold:
            the loss of a few small images is scaled differently in every frame.
        densified: the share of Gaussians that become two.
        large: of their anchor's size; Gaussians with a larger standard deviation are split, along
            that axis, the others cloned.
        least_opacity: below, a Gaussian is pruned.
    """
    now = gaussians.at(0.0, anchors)
    visible = torch.sigmoid(gaussians.opacity) >= least_opacity
    strength = pull.norm(dim=1) * visible
    most = strength.topk(int(densified * len(strength))).indices
    chosen = torch.zeros_like(visible).index_fill(0, most, True) & (strength > 0)
    longest, axis = now.scales.max(dim=1)
    split = chosen & (longest > large * anchors.size_m)

    along = rotation_matrices(now.quaternions).detach()[
        torch.arange(len(axis), device=axis.device), :, axis
    ]  # [G, 3]
    aside = longest.detach()[:, None] * along  # one standard deviation
    downhill = -longest.detach()[:, None] * pull / pull.norm(dim=1, keepdim=True).clamp(min=1e-20)
    shift = torch.where(split[:, None], aside, 0.0)
    second = torch.where(split[:, None], -aside, downhill)

    kept, doubled = visible.nonzero()[:, 0], chosen.nonzero()[:, 0]
    source = torch.cat([kept, doubled])
    smaller = gaussians.scale - math.log(SHRINK) * split[:, None].to(gaussians.scale.dtype)
    made = TemporalGaussians(*(part[source] for part in gaussians._replace(scale=smaller)))
    centres = torch.cat([(anchors.centres + shift)[kept], (anchors.centres + second)[doubled]])
    return made, Anchors(centres, anchors.size_m[source], anchors.of_points[source])
