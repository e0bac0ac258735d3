"""Points -> LiDAR volume: voxelise, sparse 3D convolutions (SparseLiDAREnc8x of Co-Occ, TACOcc's
[22]).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.cpu import voxelise as voxelise_compiled
from occ_core.ops.cpu.interpolate import is_for
from occ_core.ops.sparse import (
    SparseBlock,
    SparseVolume,
    linear_index,
    sparse_volume,
    to_dense,
    unravel_index,
)
from occ_core.voxel_grid import VoxelGrid

POINT_FEATURES = 9


class LidarFeatures(NamedTuple):
    """What the LiDAR tells, at two resolutions."""

    volume: Float[Tensor, "batch channel x y z"]
    """Dense, at the coarse grid."""
    fine: SparseVolume
    """Sparse, at the fine grid (that of the labels): what the cascaded head refines with."""


class LidarEncoder(nn.Module):
    """Voxel features by a shared linear layer and the mean over each voxel's points, then stages of
    sparse convolutions.

    Args:
        channels: of the result; earlier stages have fewer.
        voxels: grid in which points are gathered; its voxel size divides the fine grid's by a power
            of two.
        fine: grid of the labels.
        coarse: grid of the resulting volume.
    """

    def __init__(
        self, channels: int, voxels: VoxelGrid, fine: VoxelGrid, coarse: VoxelGrid
    ) -> None:
        super().__init__()
        self.voxels, self.coarse = voxels, coarse
        downs = _halvings(voxels, coarse)
        self.fine_stage = _halvings(voxels, fine)
        widths = [min(channels, max(16, channels >> (downs - stage))) for stage in range(downs + 1)]
        widths[self.fine_stage] = channels  # the head reads this stage
        hidden = max(16, widths[0] // 2)
        self.point = nn.Sequential(nn.Linear(POINT_FEATURES, hidden), nn.ReLU(inplace=True))
        self.enter = nn.Sequential(
            nn.Linear(hidden, widths[0]), nn.LayerNorm(widths[0]), nn.ReLU(inplace=True)
        )
        self.stages = nn.ModuleList()
        for stage in range(downs + 1):
            blocks = (
                []
                if stage == 0
                else [SparseBlock(widths[stage - 1], widths[stage], stride=2, share=f"down{stage}")]
            )
            blocks += [
                SparseBlock(widths[stage], widths[stage], stride=1, share=f"stage{stage}")
                for _ in range(2)
            ]
            self.stages.append(nn.Sequential(*blocks))

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> LidarFeatures:
        """``points`` as in ``Frame.points``; those outside the grid are left out."""
        volume = self.voxelise(points)
        fine = volume
        for number, stage in enumerate(self.stages):
            volume = (
                stage(volume) if volume.features.shape[0] else self._nothing(volume, stage, number)
            )
            if number == self.fine_stage:
                fine = volume
        return LidarFeatures(to_dense(volume), fine)

    def voxelise(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> SparseVolume:
        """Gathers points into voxels; a voxel's feature is made of the mean of its points'
        features.
        """
        if is_for(points[0], *points):
            linear = cast(nn.Linear, self.point[0])
            mean, occupied = voxelise_compiled.voxelise(
                points, self.voxels, linear.weight, linear.bias
            )
        else:
            mean, occupied = self.mean_over_voxels(points)
        return sparse_volume(
            self.enter(mean),
            unravel_index(occupied, self.voxels.shape),
            self.voxels.shape,
            len(points),
        )

    def mean_over_voxels(
        self, points: tuple[Float[Tensor, "_ 5"], ...]
    ) -> tuple[Float[Tensor, "voxel channel"], Int[Tensor, " voxel"]]:
        """What ``voxelise_compiled`` computes: of each non-empty voxel the mean, and its place in
        the flattened [B, X, Y, Z].
        """
        x, y, z = shape = self.voxels.shape
        sample = torch.cat(
            [
                torch.full((len(cloud),), number, device=cloud.device)
                for number, cloud in enumerate(points)
            ]
        )
        cloud = torch.cat(points)
        index = self.voxels.index(cloud[:, :3])
        inside = self.voxels.contains(index).nonzero()[
            :, 0
        ]  # rows, once: a mask would be searched for each of the three
        cloud, index, sample = cloud[inside], index[inside], sample[inside]
        linear = linear_index(torch.cat([sample[:, None], index], dim=1), shape)
        holds_points = torch.zeros(len(points) * x * y * z, dtype=torch.bool, device=cloud.device)
        holds_points[linear] = True
        occupied = holds_points.nonzero()[:, 0]  # [V], sorted
        voxel = (holds_points.cumsum(0) - 1)[linear]  # [P], row of each point's voxel in occupied
        count = torch.bincount(voxel, minlength=len(occupied))  # [V]
        hidden = self.point(self.describe(cloud, index, count[voxel]))  # [P, C]
        return hidden.new_zeros(len(occupied), hidden.shape[1]).index_add(0, voxel, hidden) / count[
            :, None
        ], occupied

    def describe(
        self,
        cloud: Float[Tensor, "point 5"],
        index: Int[Tensor, "point 3"],
        count: Int[Tensor, " point"],
    ) -> Float[Tensor, "point 9"]:
        """Each point's features, all of the order of 1."""
        offset = (cloud[:, :3] - self.voxels.centres(index)) / self.voxels.voxel_size_m
        distance_m = cloud[:, :2].norm(dim=1, keepdim=True)
        height_m, intensity, age_s = cloud[:, 2:3], cloud[:, 3:4], cloud[:, 4:5]
        density = torch.log1p(count.float())[:, None]
        return torch.cat(
            [
                offset,
                height_m / 3,
                distance_m / 50,
                intensity / 255,
                torch.sqrt(intensity.clamp(min=0) / 255),
                age_s * 2,
                density / 4,
            ],
            dim=1,
        )

    def _nothing(self, volume: SparseVolume, stage: nn.Module, number: int) -> SparseVolume:
        """The stage's result where there is no voxel at all: spconv does not take an empty volume."""
        channels = next(
            module for module in reversed(list(stage.modules())) if isinstance(module, nn.LayerNorm)
        ).normalized_shape[0]
        shape = self.voxels.coarser(2**number).shape
        return sparse_volume(
            volume.features.new_zeros(0, channels), volume.indices, shape, volume.batch_size
        )


def _halvings(fine: VoxelGrid, coarse: VoxelGrid) -> int:
    """How often a grid is halved to reach another over the same range."""
    halvings = 0
    while fine.shape != coarse.shape:
        if (
            fine.range_m != coarse.range_m
            or any(cells % 2 for cells in fine.shape)
            or fine.voxel_size_m > coarse.voxel_size_m
        ):
            raise ValueError(f"{coarse} cannot be reached from {fine} by halving its resolution")
        fine, halvings = fine.coarser(2), halvings + 1
    return halvings
