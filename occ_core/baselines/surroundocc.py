"""SurroundOcc: volumes of queries attend to the images, from coarse to fine (Wei et al., ICCV
2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.baselines.deformable_attention import ImageCrossAttention, feed_forward, project
from occ_core.config import OccupancyConfig, SurroundOccConfig
from occ_core.image_encoder import ImagePyramid
from occ_core.interface import Prediction, VoxelModel
from occ_core.taxonomy import NUM_CLASSES
from occ_core.types import Frame, HeadOutput, TemporalMemory


class SurroundOcc(VoxelModel):
    """2D-3D attention at several resolutions, then up-sampling convolutions; logits at every one of
    them.
    """

    image_encoder: ImagePyramid

    def __init__(self, config: OccupancyConfig, host: SurroundOccConfig) -> None:
        super().__init__(config, ImagePyramid(config.image_encoder, len(host.channels)))
        grids = [config.grid.coarser(2 ** (level + 1)) for level in range(len(host.channels))]
        self.shapes = [grid.shape for grid in grids]
        self.queries, self.levels = nn.ParameterList(), nn.ModuleList()
        for level, grid in enumerate(grids):
            channels, centres = host.channels[level], grid.all_centres().view(-1, 1, 3)
            self.register_buffer(
                f"points_{level}", centres, persistent=False
            )  # one reference point a voxel
            self.queries.append(torch.randn(len(centres), channels) * 0.02)
            seen = config.image_encoder.out_channels
            self.levels.append(
                Level(seen, channels, host.heads, host.samples[level], host.layers[level])
            )
        widths = [host.channels[0] // 2, *host.channels]  # of the full grid, and of the levels
        self.up = nn.ModuleList(
            _up(widths[level + 1], widths[level]) for level in range(len(grids))
        )
        self.classify = nn.ModuleList(nn.Conv3d(width, NUM_CLASSES, 1) for width in widths)

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        named: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Logits of every voxel, and of the coarser volumes; there is no memory, and nothing is
        named.
        """
        self.check(frame)
        cameras = self.present(frame)
        maps = self.image_encoder.levels(cameras.images)
        volumes = []
        for number, (queries, level) in enumerate(zip(self.queries, self.levels, strict=True)):
            points = self.get_buffer(f"points_{number}")
            where, hit = project(
                points, cameras.intrinsics, cameras.grid_from_camera, self.config.image_size
            )
            volume = queries.T.view(1, -1, *self.shapes[number]).expand(
                frame.batch_size, -1, -1, -1, -1
            )
            volumes.append(
                level(volume, where, hit, cameras.sample, maps[number])
            )  # [B, C, X, Y, Z]
        volume = volumes[-1]
        logits = [self.classify[-1](volume)]
        for finer in reversed(range(len(volumes))):
            volume = self.up[finer](volume)
            if finer:
                volume = volume + volumes[finer - 1]
            logits.append(self.classify[finer](volume))
        *coarser, finest = logits
        return Prediction(HeadOutput.dense(finest), volume=volume, coarser=tuple(coarser))


class Level(nn.Module):
    """All layers of one resolution, which read one level of the images."""

    def __init__(
        self, image_channels: int, channels: int, heads: int, samples: int, layers: int
    ) -> None:
        super().__init__()
        self.enter = nn.Conv2d(image_channels, channels, 1)
        self.layers = nn.ModuleList(VolumeLayer(channels, heads, samples) for _ in range(layers))

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        where: Float[Tensor, "image query 1 2"],
        hit: Bool[Tensor, "image query"],
        sample: Int[Tensor, " image"],
        features: Float[Tensor, "image _ h w"],
    ) -> Float[Tensor, "batch channel x y z"]:
        """``where`` and ``hit`` are what ``project`` says of the voxels' centres."""
        maps = [self.enter(features)]
        for layer in self.layers:
            volume = layer(volume, where, hit, sample, maps)
        return volume


class VolumeLayer(nn.Module):
    """Attention of voxels to one level of the images, a feed-forward network, and two 3D
    convolutions.
    """

    def __init__(self, channels: int, heads: int, samples: int) -> None:
        super().__init__()
        self.images = ImageCrossAttention(channels, heads, levels=1, samples=samples)
        self.feed = feed_forward(channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.convolutions = nn.Sequential(
            *(module for _ in range(2) for module in _convolution(channels))
        )

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        where: Tensor,
        hit: Tensor,
        sample: Tensor,
        levels: list[Tensor],
    ) -> Float[Tensor, "batch channel x y z"]:
        query = volume.flatten(2).transpose(1, 2)  # [B, X*Y*Z, C]
        query = self.norms[0](query + self.images(query, where, hit, sample, levels))
        query = self.norms[1](query + self.feed(query))
        return self.convolutions(query.transpose(1, 2).unflatten(2, volume.shape[2:]))


def _convolution(channels: int) -> list[nn.Module]:
    return [nn.Conv3d(channels, channels, 3, padding=1, bias=False), *_normalised(channels)]


def _normalised(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(16, channels), nn.ReLU(inplace=True)]


def _up(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice the resolution, then a convolution."""
    deconvolution = nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2, bias=False)
    return nn.Sequential(deconvolution, *_normalised(out_channels), *_convolution(out_channels))
