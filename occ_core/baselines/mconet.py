"""M-CONet, the multi-modal cascade occupancy network (OpenOccupancy, Wang et al., ICCV 2023), as a
host of VLMFusionOcc3D.

The base model descends from it and shares its two sensor branches (ResNet with FPN and LSS, sparse
convolutions) and the cascade. What differs is here: the fusion by a learned weight for every voxel,
and the encoder that joins the levels of its pyramid by weights, too. Its head is ``VolumeHead``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.baselines.halving import halvable
from occ_core.fusion import Fused
from occ_core.volume_encoder import Pointwise, ResidualBlock, convolution

GATE_CHANNELS = 16
"""Channels of the gate's hidden layer."""


@dataclass(frozen=True, kw_only=True)
class MConetConfig:
    """What M-CONet has in place of the base model's parts; the defaults are its own.

    Raises:
        ValueError: a field is out of range; the text names it and its value.
    """

    kernel: int = 7
    """Voxels along each axis of the convolutions before the fusion; an odd number."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks per level of the 3D encoder; level l has ``channels * 2**l`` channels at
    ``1 / 2**l`` of the resolution.
    """

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"MConetConfig.kernel must be odd, got {self.kernel}")
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError(f"MConetConfig.blocks must be at least 1 per level, got {self.blocks}")


class GatedFusion(nn.Module):
    """Adaptive fusion (its Eqs. 2 and 3): both volumes are convolved, and each voxel is a weighted
    mean of the two, with a weight that is computed from both.

    Args:
        channels: channels of each volume.
        kernel: see ``MConetConfig``.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.image, self.lidar = (
            nn.Sequential(
                nn.Conv3d(channels, channels, kernel, padding=kernel // 2, bias=False),
                nn.GroupNorm(8, channels),
                nn.ReLU(inplace=True),
            )
            for _ in range(2)
        )
        self.gate = nn.Sequential(
            convolution(2 * channels, GATE_CHANNELS, factorised=False),
            nn.ReLU(inplace=True),
            Pointwise(GATE_CHANNELS, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        image, lidar = self.image(image_volume), self.lidar(lidar_volume)
        weight = self.gate(torch.cat([image, lidar], dim=1))  # [B, 1, X, Y, Z]
        return Fused(weight * image + (1 - weight) * lidar)


class WeightedPyramid(nn.Module):
    """A 3D residual network and a feature pyramid whose levels are added up at full resolution,
    with weights that every voxel chooses.

    Args:
        channels: channels of the input and of the output.
        blocks: see ``MConetConfig``; see ``halvable`` for sides that cannot be halved.
    """

    def __init__(self, channels: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stages, self.lateral = nn.ModuleList(), nn.ModuleList()
        self.out = nn.ModuleList()
        width = channels
        for level, count in enumerate(blocks):
            out = channels * 2**level
            first = ResidualBlock(width, out, stride=2 if level else 1, factorised=False)
            others = (ResidualBlock(out, out, stride=1, factorised=False) for _ in range(count - 1))
            self.stages.append(nn.Sequential(first, *others))
            self.lateral.append(Pointwise(out, channels))
            self.out.append(
                nn.Sequential(
                    convolution(channels, channels, factorised=False), nn.ReLU(inplace=True)
                )
            )
            width = out
        self.weights = Pointwise(channels, len(blocks))

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        size = volume.shape[2:]
        levels = []
        for number, (stage, lateral) in enumerate(zip(self.stages, self.lateral, strict=True)):
            volume = stage(halvable(volume) if number else volume)
            levels.append(lateral(volume))
        for number in reversed(range(len(levels) - 1)):  # top-down
            levels[number] = levels[number] + _resized(levels[number + 1], levels[number].shape[2:])
        levels = [out(level) for out, level in zip(self.out, levels, strict=True)]
        weights = self.weights(levels[0]).softmax(dim=1)  # [B, level, X, Y, Z]
        resized = [_resized(level, size) for level in levels]
        return sum(
            (
                level * weight[:, None]
                for level, weight in zip(resized, weights.unbind(1), strict=True)
            ),
            start=torch.zeros_like(resized[0]),
        )


def _resized(volume: Tensor, size: torch.Size) -> Tensor:
    return volume if volume.shape[2:] == size else F.interpolate(volume, size, mode="trilinear")
