"""Fused volume -> context-aware volume: a 3D residual encoder and a feature pyramid
(OpenOccupancy's ResNet3D and FPN3D).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution, computed as one matrix product over channels-last memory, where torch's
    own copies to and fro.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, volume: Float[Tensor, "batch c x y z"]) -> Float[Tensor, "batch c2 x y z"]:
        return F.linear(volume.permute(0, 2, 3, 4, 1), self.weight.flatten(1), self.bias).permute(
            0, 4, 1, 2, 3
        )


def convolution(
    in_channels: int, out_channels: int, *, stride: int = 1, factorised: bool
) -> nn.Sequential:
    """3x3x3 convolution and GroupNorm; factorised: 3x3x1, then 1x1x3, at less than half the work."""
    if not factorised:
        layers = [nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)]
    else:
        layers = [
            nn.Conv3d(
                in_channels,
                out_channels,
                (3, 3, 1),
                stride=(stride, stride, 1),
                padding=(1, 1, 0),
                bias=False,
            ),
            nn.Conv3d(
                out_channels,
                out_channels,
                (1, 1, 3),
                stride=(1, 1, stride),
                padding=(0, 0, 1),
                bias=False,
            ),
        ]
    return nn.Sequential(*layers, nn.GroupNorm(8, out_channels))


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, factorised: bool
    ) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, stride=stride, factorised=factorised)
        self.second = convolution(out_channels, out_channels, factorised=factorised)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv3d(in_channels, out_channels, stride, stride=stride, bias=False)

    def forward(self, volume: Float[Tensor, "batch c x y z"]) -> Float[Tensor, "batch c2 x2 y2 z2"]:
        return torch.relu(self.second(torch.relu(self.first(volume))) + self.shortcut(volume))


class VolumeEncoder(nn.Module):
    """A residual stage per level, each at half the resolution of the one before, merged top-down at
    full resolution.

    Args:
        channels: of the volume that comes and goes.
        blocks: residual blocks per level; level l works with ``channels * 2**l`` channels. Its
            number of levels minus one
            halvings must divide the volume's shape. Level 0 may have none: its blocks cost most,
            and the sparse encoder has convolved at this resolution already.
    """

    def __init__(self, channels: int, blocks: tuple[int, ...], *, factorised: bool) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        self.lateral = nn.ModuleList()
        width = channels
        for level, count in enumerate(blocks):
            out = channels * 2**level
            stride = 1 if level == 0 else 2
            stage = [
                ResidualBlock(width, out, stride=stride, factorised=factorised)
                if block == 0
                else ResidualBlock(out, out, stride=1, factorised=factorised)
                for block in range(count)
            ]
            self.levels.append(nn.Sequential(*stage))
            self.lateral.append(Pointwise(out, channels))
            width = out
        self.out = nn.Sequential(
            convolution(channels, channels, factorised=factorised), nn.ReLU(inplace=True)
        )

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        maps = []
        for level, lateral in zip(self.levels, self.lateral, strict=True):
            volume = level(volume)
            maps.append(lateral(volume))
        merged = maps.pop()
        while maps:
            finer = maps.pop()
            merged = finer + F.interpolate(merged, size=finer.shape[-3:], mode="nearest")
        return self.out(merged)
