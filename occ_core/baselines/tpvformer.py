"""TPVFormer: cameras -> three planes of queries -> voxels (Huang et al., CVPR 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.baselines.deformable_attention import (
    DeformableAttention,
    ImageCrossAttention,
    feed_forward,
    project,
)
from occ_core.config import OccupancyConfig, TPVFormerConfig
from occ_core.image_encoder import ImagePyramid
from occ_core.interface import Prediction, VoxelModel, visible_cameras
from occ_core.prompts import NoPrompts
from occ_core.types import Frame, HeadOutput, TemporalMemory
from occ_core.voxel_grid import VoxelGrid

PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""For the planes xy, xz and yz: their two axes, and the third one."""
CAMERAS = 6
"""Number of learned camera embeddings."""


class TPVFormer(VoxelModel):
    """Queries on three planes attend to the images; a voxel is the sum of the three cells that it
    projects to.
    """

    image_encoder: ImagePyramid

    def __init__(self, config: OccupancyConfig, baseline: TPVFormerConfig) -> None:
        super().__init__(config, ImagePyramid(config.image_encoder, baseline.levels))
        self.prompts = NoPrompts()
        grid, channels = config.grid.coarser(baseline.ratio), baseline.channels
        self.ratio, self.sides = baseline.ratio, grid.shape
        self.enter = nn.Conv2d(config.image_encoder.out_channels, channels, 1)
        self.camera = nn.Parameter(torch.randn(CAMERAS, channels) * 0.02)
        self.level = nn.Parameter(torch.randn(baseline.levels, channels) * 0.02)
        cells = [self.sides[a] * self.sides[b] for a, b, _ in PLANES]
        self.planes = nn.ParameterList(torch.randn(count, channels) * 0.02 for count in cells)
        # learned position on the plane xy: half of the channels along x, half along y
        self.rows = nn.Parameter(torch.randn(self.sides[0], channels // 2) * 0.02)
        self.columns = nn.Parameter(torch.randn(self.sides[1], channels // 2) * 0.02)
        for number, (a, b, along) in enumerate(PLANES):
            points = pillar_points(grid, a, b, along, baseline.pillars[number])
            self.register_buffer(f"points_{number}", points, persistent=False)
        self.layers = nn.ModuleList(TPVLayer(baseline) for _ in range(baseline.layers))
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.Softplus(), nn.Linear(2 * channels, channels)
        )
        self.classify = nn.Linear(channels, len(config.labels.names))

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        prompted_classes: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Predicts the logits of every voxel; memory and prompts are not used."""
        self.check(frame)
        cameras = visible_cameras(frame)
        levels = [self.enter(values) for values in self.image_encoder.levels(cameras.images)]
        levels = [
            values + (self.camera[cameras.camera % CAMERAS] + embedding)[:, :, None, None]
            for values, embedding in zip(levels, self.level, strict=True)
        ]
        projections = [
            project(
                self.get_buffer(f"points_{number}"),
                cameras.intrinsics,
                cameras.grid_from_camera,
                self.config.image_size,
            )
            for number in range(3)
        ]
        planes = [plane.expand(frame.batch_size, -1, -1) for plane in self.planes]  # [B, cells, C]
        planes[0] = planes[0] + self.position()
        for layer in self.layers:
            planes = layer(planes, self.sides[:2], projections, cameras.sample, levels)
        volume = self.mlp(self.voxels(planes))  # [B, X, Y, Z, C]
        logits = self.classify(volume).permute(0, 4, 1, 2, 3)
        return Prediction(HeadOutput.dense(logits), volume=volume.permute(0, 4, 1, 2, 3))

    def position(self) -> Float[Tensor, "cell channel"]:
        """The learned position of each cell of the plane xy."""
        rows = self.rows[:, None].expand(-1, self.sides[1], -1)
        columns = self.columns.expand(self.sides[0], -1, -1)
        return torch.cat([rows, columns], dim=-1).flatten(0, 1)

    def voxels(
        self, planes: list[Float[Tensor, "batch _ channel"]]
    ) -> Float[Tensor, "batch x y z channel"]:
        """The sum of the three planes, each upsampled (bilinearly) to the resolution of the voxels
        and repeated along its third axis.
        """
        total: Tensor | float = 0.0
        for plane, (a, b, along) in zip(planes, PLANES, strict=True):
            cells = plane.transpose(1, 2).unflatten(2, (self.sides[a], self.sides[b]))
            finer = F.interpolate(
                cells, scale_factor=self.ratio, mode="bilinear", align_corners=False
            )  # [B, C, A, B]
            total = total + finer.permute(0, 2, 3, 1).unsqueeze(along + 1)
        assert isinstance(total, Tensor)
        return total


class TPVLayer(nn.Module):
    """Self-attention on the plane xy, attention of all planes to the images, and a feed-forward
    network.
    """

    def __init__(self, baseline: TPVFormerConfig) -> None:
        super().__init__()
        channels, heads = baseline.channels, baseline.heads
        self.itself = DeformableAttention(channels, heads, levels=1, samples=4)
        self.out = nn.Linear(channels, channels)
        self.images = nn.ModuleList(
            ImageCrossAttention(channels, heads, baseline.levels, samples, references)
            for samples, references in zip(baseline.samples, baseline.pillars, strict=True)
        )
        self.feed = feed_forward(channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self,
        planes: list[Float[Tensor, "batch _ channel"]],
        size: tuple[int, int],
        projections: list[tuple[Tensor, Tensor]],
        sample: Tensor,
        levels: list[Tensor],
    ) -> list[Tensor]:
        """The planes after this layer.

        Args:
            size: number of cells of the plane xy along x and y.
            projections: for each plane, the result of ``project`` for its queries.
            sample: the sample of the batch that each image belongs to.
            levels: feature maps of the images.
        """
        planes = [self.norms[0](planes[0] + self.attend(planes[0], size)), *planes[1:]]
        planes = [
            self.norms[1](plane + images(plane, where, seen, sample, levels))
            for plane, images, (where, seen) in zip(planes, self.images, projections, strict=True)
        ]
        return [self.norms[2](plane + self.feed(plane)) for plane in planes]

    def attend(
        self, plane: Float[Tensor, "batch cell channel"], size: tuple[int, int]
    ) -> Float[Tensor, "batch cell channel"]:
        """Self-attention: every cell attends to a few locations around it."""
        values = plane.transpose(1, 2).unflatten(2, size)  # [B, C, X, Y]: u runs along y, v along x
        x, y = ((torch.arange(side, device=plane.device) + 0.5) / side for side in size)
        cells = torch.stack(torch.meshgrid(x, y, indexing="ij"), dim=-1).flip(-1).view(1, -1, 1, 2)
        return self.out(self.itself(plane, cells.expand(len(plane), -1, -1, -1), [values]))


def pillar_points(
    grid: VoxelGrid, a: int, b: int, along: int, count: int
) -> Float[Tensor, "cell point 3"]:
    """Reference points in metres of each cell of a plane, evenly spread along its third axis.

    Args:
        grid: grid whose cells the plane has.
        a, b: axes of the plane.
        along: the third axis.
        count: number of points per cell.
    """
    low, high = torch.tensor(grid.range_m[:3]), torch.tensor(grid.range_m[3:])
    fractions = [(torch.arange(grid.shape[axis]) + 0.5) / grid.shape[axis] for axis in (a, b)]
    cells = torch.cartesian_prod(*fractions)  # [cells, 2]
    points = torch.empty(len(cells), count, 3)
    points[..., a], points[..., b] = cells[:, None, 0], cells[:, None, 1]
    points[..., along] = (torch.arange(count) + 0.5) / count
    return low + points * (high - low)
