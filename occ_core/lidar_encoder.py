"""Points -> LiDAR volume: voxelisation and sparse 3D convolutions (SparseLiDAREnc8x of Co-Occ,
reference 22 of TACOcc).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.ops.intensity_ranks import with_intensity_ranks
from occ_core.ops.linear_index import unravel_index
from occ_core.ops.parallel import in_one_thread
from occ_core.ops.sparse import SparseBlock, SparseVolume, sparse_volume, to_dense
from occ_core.ops.voxelise import POINT_FEATURES, voxelise
from occ_core.voxel_grid import VoxelGrid


class LidarFeatures(NamedTuple):
    """LiDAR features at two resolutions."""

    volume: Float[Tensor, "batch channel x y z"]
    """Dense features on the coarse grid."""
    fine: SparseVolume
    """Sparse features on the fine grid, that of the labels, with which the head refines."""


class LidarEncoder(nn.Module):
    """Voxel features, the mean of a linear layer over the points of each voxel, then stages of
    sparse convolutions, each at half the resolution of the one before.

    Args:
        channels: number of channels of the result; earlier stages have fewer.
        voxels: grid into which points are voxelised.
        fine: grid of the labels, reached from ``voxels`` by halving the resolution.
        coarse: grid of the resulting volume, reached from ``fine`` in the same way.
        intensity_ranks: whether intensities count by their ranks; see ``with_intensity_ranks``.

    Raises:
        ValueError: a grid cannot be reached by halving.
    """

    def __init__(
        self,
        channels: int,
        voxels: VoxelGrid,
        fine: VoxelGrid,
        coarse: VoxelGrid,
        *,
        intensity_ranks: bool = False,
    ) -> None:
        super().__init__()
        self.voxels, self.coarse, self.intensity_ranks = voxels, coarse, intensity_ranks
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
            width, blocks = widths[stage], []
            if stage > 0:
                blocks.append(SparseBlock(widths[stage - 1], width, stride=2, share=f"down{stage}"))
            for _ in range(2):
                blocks.append(SparseBlock(width, width, stride=1, share=f"stage{stage}"))
            self.stages.append(nn.Sequential(*blocks))

    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> LidarFeatures:
        """The LiDAR features of a batch.

        Args:
            points: as in ``Frame.points``; those outside the grid are left out.
        """
        return in_one_thread(partial(self.encode, points), points[0].device)

    def encode(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> LidarFeatures:
        """As ``forward``, in the thread that calls it."""
        volume = self.voxelise(points)
        fine = volume
        for number, stage in enumerate(self.stages):
            has_voxels = volume.features.shape[0] > 0
            volume = stage(volume) if has_voxels else self._empty(volume, stage, number)
            if number == self.fine_stage:
                fine = volume
        return LidarFeatures(to_dense(volume), fine)

    def voxelise(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> SparseVolume:
        """The non-empty voxels, with a feature made of the mean of their points' features."""
        if self.intensity_ranks:
            points = tuple(with_intensity_ranks(cloud, self.voxels) for cloud in points)
        linear = cast(nn.Linear, self.point[0])
        mean, occupied = voxelise(points, self.voxels, linear.weight, linear.bias)
        index = unravel_index(occupied, self.voxels.shape)
        return sparse_volume(self.enter(mean), index, self.voxels.shape, len(points))

    def _empty(self, volume: SparseVolume, stage: nn.Module, number: int) -> SparseVolume:
        """The result of a stage for an empty volume, which spconv does not take."""
        norms = [module for module in stage.modules() if isinstance(module, nn.LayerNorm)]
        features = volume.features.new_zeros(0, norms[-1].normalized_shape[0])
        shape = self.voxels.coarser(2**number).shape
        return sparse_volume(features, volume.indices, shape, volume.batch_size)


class NoLidarEncoder(nn.Module):
    """The LiDAR encoder of a model without LiDAR: volumes without channels, and no voxels."""

    def __init__(self, fine: VoxelGrid, coarse: VoxelGrid) -> None:
        super().__init__()
        self.fine, self.coarse = fine, coarse

    def forward(self, points: tuple[Float[Tensor, "_ 5"], ...]) -> LidarFeatures:
        batch_size, none = len(points), points[0].new_zeros(0)
        return LidarFeatures(
            none.view(batch_size, 0, *self.coarse.shape),
            sparse_volume(none.view(0, 0), none.view(0, 4).long(), self.fine.shape, batch_size),
        )


def _halvings(fine: VoxelGrid, coarse: VoxelGrid) -> int:
    """Number of times that a grid is halved to reach another one over the same range."""
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
