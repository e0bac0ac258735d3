"""Symphonies' voxel proposal layer and its serial instance-propagated attention (Jiang et al., CVPR
2024, sections 3.2 and 3.3).

Every attention follows a LayerNorm and has a shortcut around it; a feed-forward network follows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.baselines.deformable_attention import (
    DeformableAttention,
    ImageCrossAttention,
    feed_forward,
)
from occ_core.baselines.symphonies.volume_attention import VolumeAttention
from occ_core.config import SymphoniesConfig


class InstancePlaces(NamedTuple):
    """Where the instance queries of each image are."""

    pixel: Float[Tensor, "image instance 1 2"]
    """(u, v) of their reference points as fractions of the image."""
    voxel: Float[Tensor, "image instance 3"]
    """The same points, at their depth, as fractions of the grid."""
    sample: Int[Tensor, " image"]
    """The sample of the batch that each image belongs to."""


class VoxelPlaces(NamedTuple):
    """Where the voxels are, and which of them take part."""

    position: Float[Tensor, "voxel channel"]
    """Their learned positions."""
    fraction: Float[Tensor, "voxel 3"]
    """Their centres as fractions of the grid."""
    in_view: Bool[Tensor, "batch voxel"]
    """Whether a camera of the sample sees their centres; the others are left as they are."""
    shape: tuple[int, int, int]
    """Number of voxels along x, y, z."""


class VoxelProposal(nn.Module):
    """The voxels in which depth puts a surface attend to the images (section 3.2)."""

    def __init__(self, baseline: SymphoniesConfig) -> None:
        super().__init__()
        channels = baseline.channels
        self.norm = nn.LayerNorm(channels)
        self.attention = ImageCrossAttention(
            channels, baseline.heads, baseline.levels, baseline.samples
        )
        self.feed = FeedForward(channels)

    def forward(
        self,
        scene: Float[Tensor, "batch voxel channel"],
        position: Float[Tensor, "voxel channel"],
        where: Float[Tensor, "image voxel 1 2"],
        proposed: Bool[Tensor, "image voxel"],
        sample: Int[Tensor, " image"],
        levels: list[Tensor],
    ) -> Float[Tensor, "batch voxel channel"]:
        """The scene, with what the images show at the proposed voxels.

        Args:
            where: projections of the voxels' centres, from ``project``.
            proposed: whether each image shows a surface in each voxel.
            sample: the sample of the batch that each image belongs to.
            levels: feature maps of the images.
        """
        found = self.attention(self.norm(scene) + position, where, proposed, sample, levels)
        return torch.where(
            over_images(proposed, sample, len(scene))[..., None], self.feed(scene + found), scene
        )


class SymphoniesLayer(nn.Module):
    """Serial instance-propagated attention: image -> instances -> voxels -> voxels, and back from
    voxels to instances and among instances unless the layer is the last one (section 3.3).
    """

    def __init__(self, baseline: SymphoniesConfig, *, is_last: bool) -> None:
        super().__init__()
        channels, heads, samples = baseline.channels, baseline.heads, baseline.samples
        self.instances_see = DeformableAttention(channels, heads, baseline.levels, samples)
        self.voxels_hear = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.voxels_spread = VolumeAttention(channels, heads, 2 * samples)
        self.instances_look = None if is_last else VolumeAttention(channels, heads, 2 * samples)
        self.instances_share = (
            None if is_last else nn.MultiheadAttention(channels, heads, batch_first=True)
        )
        count = 3 if is_last else 5
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(count))
        self.feeds = nn.ModuleList(FeedForward(channels) for _ in range(count))

    def forward(
        self,
        scene: Float[Tensor, "batch voxel channel"],
        instances: Float[Tensor, "image instance channel"],
        position: Float[Tensor, "instance channel"],
        voxels: VoxelPlaces,
        places: InstancePlaces,
        levels: list[Tensor],
    ) -> tuple[Float[Tensor, "batch voxel channel"], Float[Tensor, "image instance channel"]]:
        """Scene and instances after this layer.

        Args:
            position: learned positions of the instances.
            levels: feature maps of the images.
        """
        if not len(instances):  # no camera is there
            return scene, instances
        query = self.norms[0](instances) + position
        seen = self.instances_see(query, places.pixel, levels)
        instances = self.feeds[0](instances + seen)
        updated, looked = [], []
        for sample, volume in enumerate(scene):
            of_sample = (places.sample == sample).nonzero()[:, 0]
            heard = instances[of_sample].flatten(0, 1)  # [cameras * Q, C]
            if not len(heard):
                updated.append(volume)
                continue
            keys = heard + position.repeat(len(of_sample), 1)
            volume = self.update_voxels(volume, heard, keys, voxels, voxels.in_view[sample])
            updated.append(volume)
            where = places.voxel[of_sample].flatten(0, 1)
            looked.append(self.update_instances(heard, keys - heard, where, volume, voxels.shape))
        instances = torch.cat(looked).view_as(instances) if looked else instances
        return torch.stack(updated), instances

    def update_voxels(
        self,
        scene: Float[Tensor, "voxel channel"],
        values: Float[Tensor, "instance channel"],
        keys: Float[Tensor, "instance channel"],
        voxels: VoxelPlaces,
        in_view: Bool[Tensor, " voxel"],
    ) -> Float[Tensor, "voxel channel"]:
        """One sample's voxels in view after they have heard the instances, and one another."""
        index = in_view.nonzero()[:, 0]
        if not len(index):
            return scene
        rows, position = scene[index], voxels.position[index]  # [V, C]
        query = self.norms[1](rows) + position
        heard, _ = self.voxels_hear(query[None], keys[None], values[None], need_weights=False)
        rows = self.feeds[1](rows + heard[0])
        volume = scene.index_copy(0, index, rows.to(scene.dtype)).T.unflatten(1, voxels.shape)
        spread = self.voxels_spread(self.norms[2](rows) + position, voxels.fraction[index], volume)
        rows = self.feeds[2](rows + spread)
        return scene.index_copy(0, index, rows.to(scene.dtype))

    def update_instances(
        self,
        instances: Float[Tensor, "instance channel"],
        position: Float[Tensor, "instance channel"],
        where: Float[Tensor, "instance 3"],
        scene: Float[Tensor, "voxel channel"],
        shape: tuple[int, int, int],
    ) -> Float[Tensor, "instance channel"]:
        """One sample's instances after they have looked at the scene, and shared what they know."""
        if self.instances_look is None or self.instances_share is None:
            return instances
        volume = scene.T.unflatten(1, shape)
        looked = self.instances_look(self.norms[3](instances) + position, where, volume)
        instances = self.feeds[3](instances + looked)
        query = (self.norms[4](instances) + position)[None]
        keys, values = (instances + position)[None], instances[None]
        shared, _ = self.instances_share(query, keys, values, need_weights=False)
        return self.feeds[4](instances + shared[0])


class FeedForward(nn.Module):
    """A feed-forward network behind a LayerNorm, with a shortcut around both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.layers = nn.LayerNorm(channels), feed_forward(channels)

    def forward(self, rows: Float[Tensor, "*n channel"]) -> Float[Tensor, "*n channel"]:
        return rows + self.layers(self.norm(rows))


class DilatedConvolutions(nn.Module):
    """Context around each voxel at two distances, added to the volume: the ASPP at the end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
                nn.GroupNorm(8, channels),
                nn.ReLU(inplace=True),
            )
            for dilation in (1, 2)
        )

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        near, far = (branch(volume) for branch in self.branches)
        return volume + near + far


def over_images(
    each: Bool[Tensor, "image voxel"], sample: Int[Tensor, " image"], batch_size: int
) -> Bool[Tensor, "batch voxel"]:
    """Whether a value is true for any image of a sample."""
    count = torch.zeros(batch_size, each.shape[1], device=each.device)
    return count.index_add(0, sample, each.float()) > 0
