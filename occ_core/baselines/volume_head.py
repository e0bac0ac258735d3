"""The cascade as M-CONet and OccMamba have it: where it refines, and from which features, is up to
the fused volume.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from occ_core.head import OccupancyHead
from occ_core.ops.sparse import SparseVolume, sparse_volume
from occ_core.types import HeadOutput
from occ_core.view_transform import SamplePoints, no_features
from occ_core.voxel_filter import PreviousLogits


class VolumeHead(OccupancyHead):
    """The base model's cascade without what it adds to CONet's: a LiDAR return neither makes its
    voxel refined nor gives features of its own to a child. Both sensors reach a child through the
    fused volume at its centre (trilinear) and, in M-CONet, the cameras through the images, too.

    Args:
        channels: channels of the volume.
        image_channels: channels of the image features; 0 where children do not look at images.
        options: the other arguments of ``OccupancyHead``.
    """

    def __init__(self, channels: int, image_channels: int, **options: Any) -> None:
        super().__init__(channels, lidar_channels=0, image_channels=image_channels, **options)
        self.looks_at_images = image_channels > 0

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        lidar: SparseVolume,
        sample_images: SamplePoints,
        sample_heights: SamplePoints = no_features,
        previous: PreviousLogits | None = None,
    ) -> HeadOutput:
        """As ``OccupancyHead.forward``; of the LiDAR nothing is used."""
        no_voxels = sparse_volume(
            volume.new_zeros(0, 0), lidar.indices[:0], self.fine.shape, lidar.batch_size
        )
        images = sample_images if self.looks_at_images else no_features
        return super().forward(volume, no_voxels, images, sample_heights, previous)
