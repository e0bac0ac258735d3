"""Volume -> class logits, coarse to fine (the cascade of OpenOccupancy's CONet, TACOcc's "cascaded
occupancy head").

Every coarse voxel is classified. Those that may be occupied are split into ``ratio**3`` children,
and each child is classified from the features *at its own centre*: the volume's (trilinear), the
images' (bilinear), those of its own voxel in the LiDAR branch, and its height above the ground.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from occ_core.ops.interpolate import interpolate, upsample
from occ_core.ops.linear_index import linear_index
from occ_core.ops.parallel import in_parallel
from occ_core.ops.sparse import SparseVolume
from occ_core.taxonomy import EMPTY
from occ_core.types import HeadOutput
from occ_core.view_transform import SamplePoints, no_features
from occ_core.volume_encoder import Pointwise
from occ_core.voxel_filter import PreviousLogits, VoxelFilter
from occ_core.voxel_grid import VoxelGrid

ChildFeatures = Callable[[Tensor, Tensor], Tensor]
"""Children [N, 4] and the corners of their parents that they fill [N] -> features [N, C]."""

CHUNK = 16_384
"""Children classified at a time, so that their features stay in the processor's cache."""

INITIALLY_OCCUPIED = 0.15
"""Probability of being occupied that the coarse logits start from. Most voxels are empty; from a
uniform start all of them would be refined at first.
"""


class OccupancyHead(nn.Module):
    """Coarse classification and its refinement.

    Args:
        channels: channels of the volume.
        lidar_channels: channels of the LiDAR features of the fine voxels; 0 without LiDAR.
        image_channels: channels of the image features; 0 without cameras.
        height_features: features of a point's height above the ground; 0 without.
        classes: number of classes, including empty.
        fine: the grid that is predicted.
        ratio: fine voxels per coarse voxel, along each axis.
        refine_above: coarse voxels are refined when their probability of being occupied exceeds
            this, and whenever they hold LiDAR points.
        max_refined: upper bound for the number of coarse voxels refined per batch, which bounds the
            memory; the most probable ones are taken.
        filter_voxels: update the logits of the children by those of the previous frame.
        empty: id of the empty class.
    """

    def __init__(
        self,
        channels: int,
        lidar_channels: int,
        image_channels: int,
        classes: int,
        fine: VoxelGrid,
        ratio: int,
        refine_above: float,
        max_refined: int,
        *,
        height_features: int = 0,
        filter_voxels: bool = False,
        empty: int = EMPTY,
    ) -> None:
        super().__init__()
        self.fine, self.ratio, self.classes, self.empty = fine, ratio, classes, empty
        self.refine_above, self.max_refined = refine_above, max_refined
        self.coarse = Pointwise(channels, classes)
        assert self.coarse.bias is not None
        with torch.no_grad():
            odds = (classes - 1) * (1 - INITIALLY_OCCUPIED) / INITIALLY_OCCUPIED
            self.coarse.bias[empty] = math.log(odds)
        hidden = 2 * channels
        self.refine = nn.Sequential(
            nn.Linear(
                channels + lidar_channels + image_channels + ratio**3 + height_features, hidden
            ),
            nn.LayerNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )
        self.filter = VoxelFilter(hidden, classes) if filter_voxels else None

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        lidar: SparseVolume,
        sample_images: SamplePoints,
        sample_heights: SamplePoints = no_features,
        previous: PreviousLogits | None = None,
    ) -> HeadOutput:
        """Logits of the coarse voxels and of the children.

        Args:
            lidar: LiDAR features of the fine voxels.
            sample_images: looks up the image features at points.
            sample_heights: computes features of the points' heights above the ground.
            previous: logits of the previous frame; None in a first frame.
        """
        coarse = self.coarse(volume)
        children, corner = self.split(self.choose_parents(coarse.detach(), lidar))
        features = self.child_features(volume, lidar, sample_images, sample_heights)

        def classified(part: Tensor, part_corner: Tensor) -> Tensor:
            return self.classify_children(features(part, part_corner), part, previous)

        parts = zip(children.split(CHUNK), corner.split(CHUNK), strict=True)
        fine = in_parallel([partial(classified, *part) for part in parts], children.device)
        return HeadOutput(coarse, torch.cat([coarse.new_zeros(0, self.classes), *fine]), children)

    def child_features(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        lidar: SparseVolume,
        sample_images: SamplePoints,
        sample_heights: SamplePoints,
    ) -> ChildFeatures:
        """The function that computes the features of children at their own centres."""
        rows, dtype = self.lidar_rows(lidar), volume.dtype
        # channels last: the channels of a voxel are then gathered as one row; and in float32, in
        # which ``interpolate`` adds, or every chunk of children would convert the volume anew
        volume = volume.float().contiguous(memory_format=torch.channels_last_3d)
        one_hot = torch.eye(self.ratio**3, dtype=dtype, device=volume.device)

        def features(children: Tensor, corner: Tensor) -> Tensor:
            centres, sample = self.fine.centres(children[:, 1:]), children[:, 0]
            parts = (
                self.sample_volume(volume, children),
                one_hot.index_select(0, corner),
                self.look_up(lidar, rows, children),
                sample_images(centres, sample),
                sample_heights(centres, sample),
            )
            # of one type, or they are joined value by value
            return torch.cat([part.to(dtype) for part in parts], dim=1)

        return features

    def classify_children(
        self,
        features: Float[Tensor, "child feature"],
        children: Int[Tensor, "child 4"],
        previous: PreviousLogits | None,
    ) -> Float[Tensor, "child class"]:
        """Logits of children from their features, and from the logits of the previous frame."""
        hidden = self.refine[:-1](features)
        logits = self.refine[-1](hidden)
        if self.filter is not None and previous is not None:
            logits = self.filter(logits, hidden, previous(children))
        return logits

    def choose_parents(
        self, coarse: Float[Tensor, "batch class x y z"], lidar: SparseVolume
    ) -> Int[Tensor, "parent 4"]:
        """Indices of the coarse voxels to refine; there may be none."""
        occupied = self.refinement_worth(coarse, lidar)
        chosen = (occupied > self.refine_above).nonzero()
        if len(chosen) > self.max_refined:
            best = occupied[chosen.unbind(1)].topk(self.max_refined).indices
            chosen = chosen[best.sort().values]
        return chosen

    def refinement_worth(
        self, coarse: Float[Tensor, "batch class x y z"], lidar: SparseVolume
    ) -> Float[Tensor, "batch x y z"]:
        """The probability that a coarse voxel is occupied; 1 where it holds LiDAR points."""
        occupied = 1 - probability_of(self.empty, coarse)
        hit = lidar.indices.long().clone()
        hit[:, 1:] //= self.ratio
        occupied[hit.unbind(1)] = 1.0
        return occupied

    def split(
        self, parents: Int[Tensor, "parent 4"]
    ) -> tuple[Int[Tensor, "child 4"], Int[Tensor, " child"]]:
        """Indices of each parent's children in the fine grid, and which corner of their parent they
        fill.
        """
        steps = torch.arange(self.ratio, device=parents.device)
        offsets = torch.cartesian_prod(steps, steps, steps).view(-1, 3)  # [R, 3], z fastest
        position = (parents[:, None, 1:] * self.ratio + offsets).reshape(-1, 3)
        sample = parents[:, :1].repeat_interleave(len(offsets), dim=0)
        corner = torch.arange(len(offsets), device=parents.device).repeat(parents.shape[0])
        return torch.cat([sample, position], dim=1), corner

    def sample_volume(
        self, volume: Float[Tensor, "batch channel x y z"], children: Int[Tensor, "child 4"]
    ) -> Float[Tensor, "child channel"]:
        """The volume at the children's centres (trilinear)."""
        # in coarse voxels, with their centres at integers
        position = (children[:, 1:].float() + 0.5) / self.ratio - 0.5
        return interpolate(volume, position, children[:, 0])

    def lidar_rows(self, lidar: SparseVolume) -> Int[Tensor, " voxel"]:
        """For every fine voxel of the batch, flattened: 1 plus the row of its LiDAR feature, or 0
        where it holds no point.
        """
        cells, device = lidar.batch_size * math.prod(self.fine.shape), lidar.indices.device
        rows = torch.zeros(cells, dtype=torch.long, device=device)
        filled = linear_index(lidar.indices, self.fine.shape)
        rows[filled] = 1 + torch.arange(filled.shape[0], device=device)
        return rows

    def look_up(
        self, lidar: SparseVolume, rows: Int[Tensor, " voxel"], children: Int[Tensor, "child 4"]
    ) -> Float[Tensor, "child channel"]:
        """The LiDAR feature of each child's own voxel; zero where it holds no point."""
        no_point = lidar.features.new_zeros(1, lidar.features.shape[1])  # row 0 of the table
        table = torch.cat([no_point, lidar.features])
        return table.index_select(0, rows[linear_index(children, self.fine.shape)])


def classify(
    output: HeadOutput, ratio: int, empty: int = EMPTY
) -> tuple[UInt8[Tensor, "batch x y z"], Float[Tensor, "batch x y z"]]:
    """Labels and their probabilities on the fine grid.

    Args:
        output: logits of the cascade; voxels that were not refined take the class of their parent.
        ratio: fine voxels per coarse voxel, along each axis.
        empty: id of the empty class.
    """
    coarse_label, coarse_probability = decide(output.coarse, empty)  # [B, X, Y, Z]
    label, probability = upsample(coarse_label, ratio), upsample(coarse_probability, ratio)
    index = output.children.unbind(1)
    label[index], probability[index] = decide(output.fine, empty)  # [child]
    return label, probability


def dense_logits(output: HeadOutput, ratio: int) -> Float[Tensor, "batch class x y z"]:
    """Logits on the fine grid, with the parent's for voxels that were not refined.

    Args:
        ratio: fine voxels per coarse voxel, along each axis.
    """
    dense = F.interpolate(output.coarse, scale_factor=ratio).permute(0, 2, 3, 4, 1)  # nearest
    dense = dense.index_put(output.children.unbind(1), output.fine.to(dense.dtype))
    return dense.permute(0, 4, 1, 2, 3)


def decide(
    logits: Float[Tensor, "n class *voxels"], empty: int = EMPTY
) -> tuple[UInt8[Tensor, "n *voxels"], Float[Tensor, "n *voxels"]]:
    """The class of each voxel and its probability.

    A voxel is empty if that is more probable than all other classes together, and else has the most
    probable of those. The largest logit of all would leave holes where several classes share the
    probability of being occupied.

    Args:
        empty: id of the empty class.
    """
    probability = probability_of(empty, logits).contiguous()
    label = torch.full_like(probability, empty, dtype=torch.uint8)
    occupied = (probability <= 0.5).flatten().nonzero()[:, 0]  # a few of all voxels
    rows = logits.movedim(1, -1).flatten(0, -2).index_select(0, occupied)
    shares = rows.float().softmax(dim=-1)
    shares[:, empty] = 0
    best, best_label = shares.max(dim=-1)
    label.view(-1)[occupied], probability.view(-1)[occupied] = best_label.to(torch.uint8), best
    return label, probability


def probability_of(
    label: int, logits: Float[Tensor, "n class *voxels"]
) -> Float[Tensor, "n *voxels"]:
    """The softmax of one class alone, in half the time of all."""
    # channels last: the classes of a voxel are then contiguous
    rows = logits.movedim(1, -1).float()
    return (rows - rows[..., label : label + 1]).exp_().sum(dim=-1).reciprocal_()
