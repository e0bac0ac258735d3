"""Points -> height of every voxel above the local ground.

LiDARs are mounted at heights of 1 to 2.5 m and roads have slopes, so the height in the grid frame
says little about what stands on the ground; the height above the ground itself does.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.ops.backend import is_exporting
from occ_core.ops.height_histogram import height_histogram
from occ_core.view_transform import SamplePoints, no_features
from occ_core.voxel_grid import VoxelGrid

CELL_M = 2.0
"""Side of a ground cell."""
BIN_M = 0.25
"""Width of a bin of the cells' height histograms."""
KNOTS_M = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Heights above the ground at which a feature peaks; between two of them both are positive."""
MAX_RISE_M = 1.0
"""A cell whose lowest returns lie this far above those of a cell within 4 m saw no ground, but the
crown of a tree or the wall of a house.
"""


class GroundMap(NamedTuple):
    """Height of the ground in square cells, over the range of a grid."""

    height_m: Float[Tensor, "batch x y"]
    """In the grid frame; the first cell begins at the minimum corner."""
    is_known: Bool[Tensor, " batch"]
    """False for a sample without points on the ground."""


class HeightFeatures(NamedTuple):
    """What heights above the ground tell voxels, and single points."""

    volume: Float[Tensor, "batch channel x y z"]
    """What is added to a volume."""
    sampler: SamplePoints
    """Features of the height of points, for the head."""


class GroundHeight(nn.Module):
    """Features of the height above the ground, for voxels and for single points.

    Args:
        channels: number of channels of the volume that the features are added to.
        grid: grid of that volume.
    """

    features = len(KNOTS_M)

    def __init__(self, channels: int, grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid
        self.embed = nn.Linear(self.features, channels, bias=False)
        nn.init.zeros_(self.embed.weight)  # at first the volume stays as it is

    def forward(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> HeightFeatures:
        """An embedding of every voxel's height above the ground, and the heights of points.

        Args:
            points: as in ``Frame.points``.
        """
        ground = estimate_ground(points, self.grid)
        device, batch_size = points[0].device, len(points)
        centres = self.grid.all_centres(device)  # [X, Y, Z, 3]
        columns = centres[:, :, 0].reshape(-1, 3)
        samples = torch.arange(batch_size, device=device).repeat_interleave(len(columns))
        below = sample_ground(ground, self.grid, columns.repeat(batch_size, 1), samples)
        above = centres[..., 2] - below.view(-1, *self.grid.shape[:2], 1)  # [B, X, Y, Z]
        features = height_features(above) * ground.is_known.view(-1, 1, 1, 1, 1)
        embedded = self.embed(features).permute(0, 4, 1, 2, 3)
        return HeightFeatures(embedded, partial(self.at_points, ground))

    @torch.autocast("cpu", enabled=False)  # bfloat16 would move heights by centimetres
    @torch.autocast("cuda", enabled=False)
    def at_points(
        self, ground: GroundMap, points_m: Float[Tensor, "p 3"], sample: Int[Tensor, " p"]
    ) -> Float[Tensor, "p feature"]:
        """Features of points, see ``height_features``; zero where the ground is unknown."""
        above = points_m[:, 2] - sample_ground(ground, self.grid, points_m, sample)
        return height_features(above) * ground.is_known[sample, None]


def height_features(above_m: Float[Tensor, "*n"]) -> Float[Tensor, "*n feature"]:
    """Features of heights above the ground, linear between ``KNOTS_M``."""
    knots = above_m.new_tensor(KNOTS_M)
    # how far the height has passed from each knot to the next; a feature has been passed to, and
    # not yet passed from
    passed = ((above_m[..., None] - knots[:-1]) / knots.diff()).clamp_(0, 1)
    features = above_m.new_empty(*above_m.shape, len(knots))
    features[..., 0] = 1 - passed[..., 0]
    torch.sub(passed[..., :-1], passed[..., 1:], out=features[..., 1:-1])
    features[..., -1] = passed[..., -1]
    return features


class NoGroundHeight(nn.Module):
    """The part of a model that does not use heights above the ground: no features."""

    features = 0

    def forward(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> HeightFeatures:
        """Nothing: a zero for all voxels, and no features of points."""
        return HeightFeatures(points[0].new_zeros(1, 1, 1, 1, 1), no_features)


@torch.no_grad()
def estimate_ground(points: tuple[Float[Tensor, "_ 5"], ...], grid: VoxelGrid) -> GroundMap:
    """The height of the ground in cells of ``CELL_M`` over a grid, from its LiDAR points.

    The lowest returns of a cell are its ground, unless they lie far above those of cells near by.
    Cells without ground get the mean of their neighbours, and so on outwards.
    """
    heights = [lowest_returns(cloud, grid) for cloud in points]
    height = torch.stack(heights)[:, None]  # [B, 1, X, Y], infinite without a return
    lowest_nearby = -F.max_pool2d(-height, 5, stride=1, padding=2)
    known = torch.isfinite(height) & (height <= lowest_nearby + MAX_RISE_M)
    filled = _fill(torch.where(known, height, 0.0), known)
    return GroundMap(filled[:, 0], known.flatten(1).any(dim=1))


def lowest_returns(points: Float[Tensor, "p 5"], grid: VoxelGrid) -> Float[Tensor, "x y"]:
    """The mean height of the lowest returns of each cell, infinite for a cell without any.

    They are those of the first bin of the cell's height histogram by which at least two points, and
    2 % of the cell's, lie at or below it: single points below the ground are mirror images.
    """
    count, total_m = height_histogram(points, grid, CELL_M, BIN_M)
    needed = (0.02 * count.sum(dim=2, keepdim=True)).clamp(min=2)
    is_ground = count.cumsum(dim=2) >= needed
    first = is_ground.int().argmax(dim=2, keepdim=True)
    mean = total_m.gather(2, first) / count.gather(2, first).clamp(min=1)
    return torch.where(is_ground.any(dim=2), mean[..., 0], torch.inf)


def sample_ground(
    ground: GroundMap, grid: VoxelGrid, points_m: Float[Tensor, "p 3"], sample: Int[Tensor, " p"]
) -> Float[Tensor, " p"]:
    """Height of the ground below points, bilinear between the centres of the cells."""
    cells = points_m.new_tensor(ground.height_m.shape[1:])
    position = (points_m[:, :2] - points_m.new_tensor(grid.min_m[:2])) / (0.5 * CELL_M) / cells - 1
    position = position.flip(1)  # grid_sample takes the last axis first, from -1 to 1
    height_m = F.grid_sample(
        ground.height_m[:, None],
        position.expand(len(ground.height_m), 1, -1, -1),
        padding_mode="border",
        align_corners=False,
    ).flatten(1)  # [B, P], of which each point takes its own sample's
    return height_m.gather(0, sample[None])[0]


def _fill(
    height: Float[Tensor, "batch 1 x y"], known: Bool[Tensor, "batch 1 x y"]
) -> Float[Tensor, "batch 1 x y"]:
    """Heights everywhere: unknown cells, zero at first, take the mean of their known neighbours,
    ring by ring.
    """
    weight, fillable = known.to(height.dtype), known.flatten(1).any(dim=1)
    for _ in range(max(height.shape[2:])):
        # an export takes all rings, since none of its steps may depend on the data
        if not is_exporting() and bool((weight.flatten(1).amin(dim=1) > 0)[fillable].all()):
            break
        both = torch.cat([height, weight], dim=1)
        summed, share = F.avg_pool2d(both, 3, stride=1, padding=1).split(1, dim=1)
        height = torch.where(weight > 0, height, summed / share.clamp(min=1e-6))
        weight = (share > 0).to(height.dtype)
    return height
