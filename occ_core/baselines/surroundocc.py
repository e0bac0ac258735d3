"""SurroundOcc: cameras -> volumes of queries at several resolutions -> voxels (Wei et al., ICCV
2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.baselines.deformable_attention import ImageCrossAttention, feed_forward, project
from occ_core.config import OccupancyConfig, SurroundOccConfig
from occ_core.image_encoder import ImagePyramid
from occ_core.interface import Prediction, VoxelModel, visible_cameras
from occ_core.prompts import NoPrompts
from occ_core.types import Frame, HeadOutput, TemporalMemory


class SurroundOcc(VoxelModel):
    """2D-3D attention at several resolutions, then upsampling convolutions, with logits at every
    resolution.
    """

    image_encoder: ImagePyramid

    def __init__(self, config: OccupancyConfig, baseline: SurroundOccConfig) -> None:
        super().__init__(config, ImagePyramid(config.image_encoder, len(baseline.channels)))
        self.prompts = NoPrompts()
        grids = [config.grid.coarser(2 ** (level + 1)) for level in range(len(baseline.channels))]
        self.shapes = [grid.shape for grid in grids]
        self.queries, self.levels = nn.ParameterList(), nn.ModuleList()
        for level, (grid, channels, samples, layers) in enumerate(
            zip(grids, baseline.channels, baseline.samples, baseline.layers, strict=True)
        ):
            centres = grid.all_centres().view(-1, 1, 3)  # one reference point per voxel
            self.register_buffer(f"points_{level}", centres, persistent=False)
            self.queries.append(torch.randn(len(centres), channels) * 0.02)
            self.levels.append(
                Level(config.image_encoder.out_channels, channels, baseline.heads, samples, layers)
            )
        widths = [baseline.channels[0] // 2, *baseline.channels]  # full grid, then the levels
        self.up = nn.ModuleList(
            _up(widths[level + 1], widths[level]) for level in range(len(grids))
        )
        self.classify = nn.ModuleList(
            nn.Conv3d(width, len(config.labels.names), 1) for width in widths
        )

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        prompted_classes: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Predicts the logits of every voxel and of the coarser volumes; memory and prompts are not
        used.
        """
        self.check(frame)
        cameras = visible_cameras(frame)
        maps = self.image_encoder.levels(cameras.images)
        volumes = []
        for number, (queries, level) in enumerate(zip(self.queries, self.levels, strict=True)):
            where, seen = project(
                self.get_buffer(f"points_{number}"),
                cameras.intrinsics,
                cameras.grid_from_camera,
                self.config.image_size,
            )
            volume = queries.T.view(1, -1, *self.shapes[number])  # [1, C, X, Y, Z]
            volume = volume.expand(frame.batch_size, -1, -1, -1, -1)
            volumes.append(level(volume, where, seen, cameras.sample, maps[number]))
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
    """All layers of one resolution; they read one level of the image pyramid."""

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
        seen: Bool[Tensor, "image query"],
        sample: Int[Tensor, " image"],
        features: Float[Tensor, "image _ h w"],
    ) -> Float[Tensor, "batch channel x y z"]:
        """The volume after all layers.

        Args:
            where, seen: projections of the voxels' centres, from ``project``.
            sample: the sample of the batch that each image belongs to.
            features: feature maps of the images at this level.
        """
        maps = [self.enter(features)]
        for layer in self.layers:
            volume = layer(volume, where, seen, sample, maps)
        return volume


class VolumeLayer(nn.Module):
    """Attention of the voxels to the images, a feed-forward network, and two 3D convolutions."""

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
        seen: Tensor,
        sample: Tensor,
        levels: list[Tensor],
    ) -> Float[Tensor, "batch channel x y z"]:
        """The volume after this layer; the arguments are those of ``Level.forward``."""
        query = volume.flatten(2).transpose(1, 2)  # [B, X*Y*Z, C]
        query = self.norms[0](query + self.images(query, where, seen, sample, levels))
        query = self.norms[1](query + self.feed(query))
        return self.convolutions(query.transpose(1, 2).unflatten(2, volume.shape[2:]))


def _convolution(channels: int) -> list[nn.Module]:
    return [nn.Conv3d(channels, channels, 3, padding=1, bias=False), *_norm(channels)]


def _norm(channels: int) -> list[nn.Module]:
    return [nn.GroupNorm(16, channels), nn.ReLU(inplace=True)]


def _up(in_channels: int, out_channels: int) -> nn.Sequential:
    """A transposed convolution that doubles the resolution, then a convolution."""
    doubling = nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2, bias=False)
    return nn.Sequential(doubling, *_norm(out_channels), *_convolution(out_channels))
