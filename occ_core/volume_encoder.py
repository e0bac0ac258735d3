"""Fused volume -> encoded volume with spatial context: a 3D residual network and a feature pyramid
(OpenOccupancy's ResNet3D and FPN3D).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.ops.norm import GroupNorm


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution as a matrix product over channels-last memory; torch's own convolution
    copies the volume there and back.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, volume: Float[Tensor, "batch c x y z"]) -> Float[Tensor, "batch c2 x y z"]:
        rows = volume.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, C]
        return F.linear(rows, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class Horizontal(nn.Conv3d):
    """A 3x3x1 convolution without bias, as a 2D one of every horizontal slice.

    Rows of a hundred voxels along y fill a CPU's vector units better than those of eight along z.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            in_channels, out_channels, (3, 3, 1), (stride, stride, 1), (1, 1, 0), bias=False
        )

    def forward(self, slices: Float[Tensor, "batch c z x y"]) -> Float[Tensor, "batch c2 z x2 y2"]:
        rows = slices.permute(0, 2, 3, 4, 1)  # [B, Z, X, Y, C]
        images = rows.flatten(0, 1).permute(0, 3, 1, 2)  # [B * Z, C, X, Y]
        convolved = F.conv2d(images, self.weight[..., 0], None, self.stride[:2], self.padding[:2])
        rows = convolved.permute(0, 2, 3, 1).unflatten(0, rows.shape[:2])
        return rows.permute(0, 4, 1, 2, 3)


class Vertical(nn.Conv3d):
    """A 1x1x3 convolution without bias, as a 2D one of the vertical slice that all columns side by
    side make up.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            in_channels, out_channels, (1, 1, 3), (1, 1, stride), (0, 0, 1), bias=False
        )

    def forward(self, slices: Float[Tensor, "batch c z x y"]) -> Float[Tensor, "batch c2 z2 x y"]:
        rows = slices.permute(0, 2, 3, 4, 1)  # [B, Z, X, Y, C]
        image = rows.flatten(2, 3).permute(0, 3, 1, 2)  # [B, C, Z, X * Y]
        if torch.is_grad_enabled():  # or the gradient of the weights takes five times as long
            image = image.contiguous()
        weight = self.weight.flatten(2)[..., None]  # [C2, C, 3, 1]
        convolved = F.conv2d(image, weight, None, (self.stride[2], 1), (1, 0))
        rows = convolved.permute(0, 2, 3, 1).contiguous().unflatten(2, rows.shape[2:4])
        return rows.permute(0, 4, 1, 2, 3)


class Shrink(nn.Conv3d):
    """A convolution of blocks of ``stride**3`` voxels, without bias, as a matrix product."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride, stride, bias=False)

    def forward(self, slices: Float[Tensor, "batch c z x y"]) -> Float[Tensor, "batch c2 z2 x2 y2"]:
        rows, stride = slices.permute(0, 2, 3, 4, 1), self.stride[0]  # [B, Z, X, Y, C]
        for axis in (1, 3, 5):
            rows = rows.unflatten(axis, (-1, stride))
        blocks = rows.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)  # [B, Z2, X2, Y2, block * C]
        weight = self.weight.permute(0, 4, 2, 3, 1).flatten(1)
        return F.linear(blocks, weight).permute(0, 4, 1, 2, 3)


def convolution(
    in_channels: int, out_channels: int, *, stride: int = 1, factorised: bool
) -> nn.Sequential:
    """A 3x3x3 convolution and a GroupNorm.

    Args:
        factorised: 3x3x1 and then 1x1x3 instead, at less than half the work, of a volume whose
            axes are in the order z, x, y.
    """
    norm = GroupNorm(8, out_channels)
    if not factorised:
        whole = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(whole, norm)
    horizontal = Horizontal(in_channels, out_channels, stride)
    return nn.Sequential(horizontal, Vertical(out_channels, out_channels, stride), norm)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them.

    Args:
        factorised: see ``convolution``, also for the order of the axes.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, factorised: bool
    ) -> None:
        super().__init__()
        self.first = convolution(in_channels, out_channels, stride=stride, factorised=factorised)
        self.second = convolution(out_channels, out_channels, factorised=factorised)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = (
                Shrink(in_channels, out_channels, stride)
                if factorised
                else nn.Conv3d(in_channels, out_channels, stride, stride=stride, bias=False)
            )

    def start_as_identity(self) -> None:
        """Silences the convolutions, so that training starts from the shortcut alone."""
        norm = self.second[-1]
        assert isinstance(norm, GroupNorm)
        nn.init.zeros_(norm.weight)

    def forward(self, volume: Float[Tensor, "batch c *size"]) -> Float[Tensor, "batch c2 *size2"]:
        inner = self.second(torch.relu_(self.first(volume)))
        return torch.relu_(inner + self.shortcut(volume))


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
        self.factorised = factorised
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
        if not self.factorised:
            return self.encode(volume)
        slices = volume.permute(0, 1, 4, 2, 3).contiguous(memory_format=torch.channels_last_3d)
        encoded = self.encode(slices).permute(0, 1, 3, 4, 2)
        return encoded.contiguous(memory_format=torch.channels_last_3d)

    def encode(
        self, volume: Float[Tensor, "batch channel *size"]
    ) -> Float[Tensor, "batch channel *size"]:
        """The encoded volume, its axes in the order that the convolutions take (see
        ``convolution``).
        """
        maps = []
        for level, lateral in zip(self.levels, self.lateral, strict=True):
            volume = level(volume)
            maps.append(lateral(volume))
        merged = maps.pop()
        while maps:
            finer = maps.pop()
            merged = finer + F.interpolate(merged, size=finer.shape[-3:], mode="nearest")
        return self.out(merged)
