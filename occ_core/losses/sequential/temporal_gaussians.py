"""TACOcc's temporally extended Gaussians (Eq. 3), and the network that predicts their parameters
from the smoothed features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.losses.sequential.anchors import Anchors
from occ_core.ops.interpolate import interpolate
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid

MAX_SCALE = 4.0
"""Largest standard deviation, in sizes of the anchor: a larger Gaussian would paint the scene, not
what is at its anchor.
"""


class TemporalGaussians(NamedTuple):
    """Parameters of Eq. 3 before their activations, so that any value is valid.

    Colours do not depend on the direction of view (harmonics of degree 0).
    """

    offset: Float[Tensor, "gaussian 3"]
    """mu: ``tanh(offset)`` is the distance from the anchor, in sizes of the anchor."""
    quaternion: Float[Tensor, "gaussian 4"]
    """r, which need not be normalised."""
    scale: Float[Tensor, "gaussian 3"]
    """s: logarithm of the standard deviations in sizes of the anchor, cut at ``MAX_SCALE``."""
    colour: Float[Tensor, "gaussian 3"]
    """c, as logits."""
    opacity: Float[Tensor, " gaussian"]
    """alpha, as a logit."""
    centre_s: Float[Tensor, " gaussian"]
    """mu_t in seconds after the frame."""
    width: Float[Tensor, " gaussian"]
    """Logarithm of sigma_t in seconds."""

    def at(self, time_s: float, anchors: Anchors) -> Gaussians:
        """The Gaussians ``time_s`` after the frame, their opacity weighted by
        N(t | mu_t, sigma_t^2).

        The weight is scaled to 1 at its peak, so that a wider Gaussian lasts longer without being
        fainter.
        """
        size = anchors.size_m[:, None]
        # detached, so that a Gaussian that is too large can shrink
        excess = (self.scale.detach() - math.log(MAX_SCALE)).clamp(min=0)
        weight = torch.exp(-(((time_s - self.centre_s) / self.width.exp()) ** 2) / 2)
        return Gaussians(
            means=anchors.centres + size * torch.tanh(self.offset),
            quaternions=self.quaternion,
            scales=size * (self.scale - excess).exp(),
            opacities=torch.sigmoid(self.opacity) * weight,
            features=torch.sigmoid(self.colour),
        )


class ParameterNetwork(nn.Module):
    """Smoothed features -> parameters of the Gaussians: a convolution, interpolated at the anchors,
    and a linear layer.

    Args:
        channels: number of channels of the volume.
        grid: grid of the volume.
        hidden: number of channels of the convolution.
    """

    INITIAL_OPACITY = 0.3
    INITIAL_WIDTH_S = 1.0

    def __init__(self, channels: int, grid: VoxelGrid, hidden: int = 32) -> None:
        super().__init__()
        self.grid = grid
        self.convolution = nn.Conv3d(channels, hidden, 3, padding=1)
        self.sizes = [3, 4, 3, 3, 1, 1, 1]  # as in TemporalGaussians
        self.linear = nn.Linear(hidden + 1, sum(self.sizes))
        opacity = math.log(self.INITIAL_OPACITY / (1 - self.INITIAL_OPACITY))
        initial = [0.0] * 3 + [1.0, 0, 0, 0] + [0.0] * 3 + [0.0] * 3
        initial += [opacity, 0.0, math.log(self.INITIAL_WIDTH_S)]
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.copy_(torch.tensor(initial))

    def forward(
        self, volume: Float[Tensor, "1 channel x y z"], anchors: Anchors
    ) -> TemporalGaussians:
        """Parameters of a Gaussian at every anchor; gradients reach the volume."""
        features = torch.relu(self.convolution(volume.float()))
        offset_m = anchors.centres - anchors.centres.new_tensor(self.grid.min_m)
        position = offset_m / self.grid.voxel_size_m - 0.5
        sample = torch.zeros(len(position), dtype=torch.long, device=position.device)
        at_anchors = interpolate(features, position, sample)  # [G, hidden]
        parameters = self.linear(torch.cat([at_anchors, anchors.is_point[:, None].float()], dim=1))
        return TemporalGaussians(
            *(
                part.squeeze(1) if size == 1 else part
                for part, size in zip(parameters.split(self.sizes, 1), self.sizes, strict=True)
            )
        )


class VelocityGate(nn.Module):
    """Widens sigma_t of Gaussians that move faster than the scene on average (Eq. 4), with a soft
    threshold, so that beta can be learned.

    Args:
        widest: factor by which sigma_t is widened at most.
    """

    SOFTNESS_MPS = 0.5

    def __init__(self, widest: float = 3.0) -> None:
        super().__init__()
        self.widest = widest
        self.log_beta = nn.Parameter(torch.zeros(()))

    def forward(
        self, gaussians: TemporalGaussians, speed_mps: Float[Tensor, " gaussian"]
    ) -> TemporalGaussians:
        """The Gaussians with sigma_t multiplied by 1 (at rest) to ``widest``.

        The threshold ``tau = beta / dt * E|v|`` of Eq. 4, where v is the displacement in dt, is
        beta times the mean speed.
        """
        # 0 without any Gaussian: NaN would reach the gradient of beta
        mean = speed_mps.sum() / max(1, len(speed_mps))
        threshold = self.log_beta.exp() * mean
        factor = 1 + (self.widest - 1) * torch.sigmoid((speed_mps - threshold) / self.SOFTNESS_MPS)
        return gaussians._replace(width=gaussians.width + factor.log())


def parameter_consistency(
    initial: TemporalGaussians, final: TemporalGaussians
) -> Float[Tensor, ""]:
    """L_pc: mean absolute difference of all parameters.

    ``final`` is the pseudo ground truth and gets no gradient. The sum over Gaussians in the paper
    would grow with their number, which differs between frames.
    """
    count = sum(part.numel() for part in initial)
    differences = [
        (after.detach() - before).abs().sum() for before, after in zip(initial, final, strict=True)
    ]
    return torch.stack(differences).sum() / max(1, count)
