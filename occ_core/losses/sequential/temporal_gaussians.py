"""TACOcc's temporally extended Gaussians (Eq. 3) and their initial parameters from the smoothed
features.
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

LARGEST = 4.0
"""Of an anchor's sizes: no standard deviation is above it. A larger Gaussian would paint the scene,
not what is at its anchor.
"""


class TemporalGaussians(NamedTuple):
    """Parameters of Eq. 3 before their activations, so that any value is valid; colours are
    constant (harmonics of degree 0).
    """

    offset: Float[Tensor, "gaussian 3"]
    """mu: from the anchor, in its sizes, through tanh."""
    quaternion: Float[Tensor, "gaussian 4"]
    """r: of any length."""
    scale: Float[Tensor, "gaussian 3"]
    """s: logarithm, in the anchor's sizes; above ``LARGEST`` it counts as that."""
    colour: Float[Tensor, "gaussian 3"]
    """c: logit."""
    opacity: Float[Tensor, " gaussian"]
    """alpha: logit."""
    centre_s: Float[Tensor, " gaussian"]
    """mu_t: seconds after the frame."""
    width: Float[Tensor, " gaussian"]
    """sigma_t: logarithm of seconds."""

    def at(self, time_s: float, anchors: Anchors) -> Gaussians:
        """The Gaussians as they are ``time_s`` after the frame: their opacity is weighted by N(t |
        mu_t, sigma_t^2).

        The weight is 1 at its peak: a wider Gaussian lasts longer, it is no fainter.
        """
        size = anchors.size_m[:, None]
        excess = (self.scale.detach() - math.log(LARGEST)).clamp(
            min=0
        )  # detached: what is too large may shrink
        weight = torch.exp(-(((time_s - self.centre_s) / self.width.exp()) ** 2) / 2)
        return Gaussians(
            means=anchors.centres + size * torch.tanh(self.offset),
            quaternions=self.quaternion,
            scales=size * (self.scale - excess).exp(),
            opacities=torch.sigmoid(self.opacity) * weight,
            features=torch.sigmoid(self.colour),
        )


class ParameterNetwork(nn.Module):
    """Smoothed features -> initial parameters of the Gaussians: a convolution, read at the anchors,
    and a linear layer.
    """

    FIRST_OPACITY = 0.3
    FIRST_WIDTH_S = 1.0

    def __init__(self, channels: int, grid: VoxelGrid, hidden: int = 32) -> None:
        super().__init__()
        self.grid = grid
        self.convolution = nn.Conv3d(channels, hidden, 3, padding=1)
        self.sizes = [3, 4, 3, 3, 1, 1, 1]  # as in TemporalGaussians
        self.linear = nn.Linear(hidden + 1, sum(self.sizes))
        first = [0.0] * 3 + [1.0, 0, 0, 0] + [0.0] * 3 + [0.0] * 3
        first += [
            math.log(self.FIRST_OPACITY / (1 - self.FIRST_OPACITY)),
            0.0,
            math.log(self.FIRST_WIDTH_S),
        ]
        with torch.no_grad():
            self.linear.weight.mul_(0.1)
            self.linear.bias.copy_(torch.tensor(first))

    def forward(
        self, volume: Float[Tensor, "1 channel x y z"], anchors: Anchors
    ) -> TemporalGaussians:
        """Parameters at every anchor; gradients reach the volume."""
        features = torch.relu(self.convolution(volume.float()))
        position = (
            anchors.centres - anchors.centres.new_tensor(self.grid.min_m)
        ) / self.grid.voxel_size_m - 0.5
        sample = torch.zeros(len(position), dtype=torch.long, device=position.device)
        at_anchors = interpolate(features, position, sample)  # [G, hidden]
        parameters = self.linear(torch.cat([at_anchors, anchors.of_points[:, None].float()], dim=1))
        return TemporalGaussians(
            *(
                part.squeeze(1) if size == 1 else part
                for part, size in zip(parameters.split(self.sizes, 1), self.sizes, strict=True)
            )
        )


class VelocityGate(nn.Module):
    """Widens sigma_t of Gaussians that move faster than the scene does (Eq. 4); the threshold is
    soft, so that beta learns.
    """

    SOFTNESS_MPS = 0.5

    def __init__(self, widest: float = 3.0) -> None:
        super().__init__()
        self.widest = widest
        self.log_beta = nn.Parameter(torch.zeros(()))

    def forward(
        self, gaussians: TemporalGaussians, speed_mps: Float[Tensor, " gaussian"]
    ) -> TemporalGaussians:
        """The Gaussians with sigma_t between once (at rest) and ``widest`` times what it was.

        ``tau = beta / dt * E|v|`` of Eq. 4, with v the displacement in dt, is beta times the mean
        speed.
        """
        mean = speed_mps.sum() / max(
            1, len(speed_mps)
        )  # of no Gaussian 0: NaN would reach beta's gradient
        threshold = self.log_beta.exp() * mean
        factor = 1 + (self.widest - 1) * torch.sigmoid((speed_mps - threshold) / self.SOFTNESS_MPS)
        return gaussians._replace(width=gaussians.width + factor.log())


def parameter_consistency(
    initial: TemporalGaussians, final: TemporalGaussians
) -> Float[Tensor, ""]:
    """L_pc: mean absolute difference of all parameters; ``final`` is the pseudo ground truth and
    gets no gradient.

    The paper's sum over Gaussians would grow with their number, which varies from frame to frame.
    """
    count = sum(part.numel() for part in initial)
    differences = [
        (after.detach() - before).abs().sum() for before, after in zip(initial, final, strict=True)
    ]
    return torch.stack(differences).sum() / max(1, count)
