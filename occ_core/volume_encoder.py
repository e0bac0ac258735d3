"""Fused volume -> encoded volume with spatial context: a 3D residual network and a feature pyramid
(OpenOccupancy's ResNet3D and FPN3D).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution as a matrix product over channels-last memory; torch's own convolution
    copies the volume there and back.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, volume: Float[Tensor, "batch c x y z"]) -> Float[Tensor, "batch c2 x y z"]:
        rows = volume.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, C]
        return F.linear(rows, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


def convolution(
    in_channels: int, out_channels: int, *, stride: int = 1, factorised: bool
) -> nn.Sequential:
    """A 3x3x3 convolution and a GroupNorm.

    Args:
        factorised: 3x3x1 and then 1x1x3 instead, at less than half the work.
    """
    norm = nn.GroupNorm(8, out_channels)
    if not factorised:
        whole = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(whole, norm)
    horizontal = nn.Conv3d(
        in_channels, out_channels, (3, 3, 1), (stride, stride, 1), (1, 1, 0), bias=False
    )
    vertical = nn.Conv3d(
        out_channels, out_channels, (1, 1, 3), (1, 1, stride), (0, 0, 1), bias=False
    )
    return nn.Sequential(horizontal, vertical, norm)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, factorised: bool
    ) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, stride=stride, factorised=factorised)
        self.second = convolution(out_channels, out_channels, factorised=factorised)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv3d(in_channels, out_channels, stride, stride=stride, bias=False)

    def start_as_identity(self) -> None:
        """Silences the convolutions, so that training starts from the shortcut alone."""
        norm = self.second[-1]
        assert isinstance(norm, nn.GroupNorm)
        nn.init.zeros_(norm.weight)

    def forward(self, volume: Float[Tensor, "batch c x y z"]) -> Float[Tensor, "batch c2 x2 y2 z2"]:
        return torch.relu(self.second(torch.relu(self.first(volume))) + self.shortcut(volume))


class VolumeEncoder(nn.Module):
    """A residual stage per level, each at half the resolution of the one before, merged top-down at
    full resolution.

    Args:
        channels: channels of the input and of the output.
        blocks: residual blocks per level; level l works with ``channels * 2**l`` channels. The
            shape of the volume must be divisible by ``2 ** (levels - 1)``. Level 0 may have no
            block: its blocks cost most, and the sparse encoder has already convolved at this
            resolution.
        factorised: see ``convolution``.
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
