"""Volume -> class logits, coarse to fine (the cascade of OpenOccupancy's CONet, TACOcc's "cascaded
occupancy head").

The coarse volume is classified whole. Voxels that may be occupied are split into ``ratio**3``
children, and each child is classified from what the three sources say *at its own centre*: the
volume (trilinear), the images (bilinear), and the LiDAR features of the child's own voxel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from occ_core.ops.interpolate import interpolate, upsample
from occ_core.ops.sparse import SparseVolume, linear_index
from occ_core.taxonomy import EMPTY
from occ_core.types import HeadOutput
from occ_core.volume_encoder import Pointwise
from occ_core.voxel_filter import Recall, VoxelFilter
from occ_core.voxel_grid import VoxelGrid

SampleImages = Callable[[Tensor, Tensor], Tensor]
"""Points [P, 3] in metres and their samples [P] -> image features [P, C]."""


CACHED_CHILDREN = 16_384
"""Children refined at a time: their features then stay in the processor's cache."""


class OccupancyHead(nn.Module):
    """Coarse classification and its refinement.

    Args:
        channels: of the volume. lidar_channels, image_channels: of the features looked up for the
            children; 0 without that sensor.
        refine_above: coarse voxels whose probability of being occupied is above this are refined,
            and so is every voxel
            that holds LiDAR returns.
        max_refined: at most so many coarse voxels of a batch are refined, the most probable first;
            bounds the memory.
        recalls: children are classified in the light of what was said of their place in the frame
            before.
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
        recalls: bool = False,
    ) -> None:
        super().__init__()
        self.fine, self.ratio, self.refine_above, self.max_refined = (
            fine,
            ratio,
            refine_above,
            max_refined,
        )
        self.classes = classes
        self.coarse = Pointwise(channels, classes)
        assert self.coarse.bias is not None
        with (
            torch.no_grad()
        ):  # most voxels are empty: start from 15 % occupied, or all would be refined at first
            self.coarse.bias[EMPTY] = math.log((classes - 1) * 0.85 / 0.15)
        hidden = 2 * channels
        self.refine = nn.Sequential(
            nn.Linear(channels + lidar_channels + image_channels + ratio**3, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )
        self.filter = VoxelFilter(hidden, classes) if recalls else None

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        lidar: SparseVolume | None,
        sample_images: SampleImages | None,
        recall: Recall | None = None,
    ) -> HeadOutput:
        coarse = self.coarse(volume)
        children, corner = self.split(self.choose(coarse.detach(), lidar))
        rows = self.rows(lidar) if lidar is not None else None
        volume = volume.contiguous(
            memory_format=torch.channels_last_3d
        )  # a voxel's channels side by side: gathered as one row
        which_corner = torch.eye(
            self.ratio**3, dtype=volume.dtype, device=volume.device
        )  # one-hot rows
        fine = [coarse.new_zeros(0, self.classes)]
        for part, part_corner in zip(
            children.split(CACHED_CHILDREN), corner.split(CACHED_CHILDREN), strict=True
        ):
            features = [self.sample_volume(volume, part), which_corner.index_select(0, part_corner)]
            if lidar is not None and rows is not None:
                features.append(self.look_up(lidar, rows, part))
            if sample_images is not None:
                features.append(sample_images(self.fine.centres(part[:, 1:]), part[:, 0]))
            hidden = self.refine[:-1](torch.cat(features, dim=1))
            logits = self.refine[-1](hidden)
            if self.filter is not None and recall is not None:
                logits = self.filter(logits, hidden, recall(part))
            fine.append(logits)
        return HeadOutput(coarse, torch.cat(fine), children)

    def choose(
        self, coarse: Float[Tensor, "batch class x y z"], lidar: SparseVolume | None
    ) -> Int[Tensor, "parent 4"]:
        """The coarse voxels to refine; there may be none."""
        occupied = 1 - coarse.movedim(1, -1).float().softmax(dim=-1)[..., EMPTY]  # [B, X, Y, Z]
        if lidar is not None:
            hit = lidar.indices.long().clone()
            hit[:, 1:] //= self.ratio
            occupied[hit.unbind(1)] = 1.0
        chosen = (occupied > self.refine_above).nonzero()
        if len(chosen) > self.max_refined:
            best = occupied[chosen.unbind(1)].topk(self.max_refined).indices
            chosen = chosen[best.sort().values]
        return chosen

    def split(
        self, parents: Int[Tensor, "parent 4"]
    ) -> tuple[Int[Tensor, "child 4"], Int[Tensor, " child"]]:
        """Each parent's children in the fine grid, and which of its corners each child is."""
        steps = torch.arange(self.ratio, device=parents.device)
        offsets = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1).view(
            -1, 3
        )  # [R, 3]
        position = (parents[:, None, 1:] * self.ratio + offsets).reshape(-1, 3)
        sample = parents[:, :1].repeat_interleave(len(offsets), dim=0)
        return torch.cat([sample, position], dim=1), torch.arange(
            len(offsets), device=parents.device
        ).repeat(len(parents))

    def sample_volume(
        self, volume: Float[Tensor, "batch channel x y z"], children: Int[Tensor, "child 4"]
    ) -> Float[Tensor, "child channel"]:
        """The volume at the children's centres, trilinear."""
        position = (
            children[:, 1:].float() + 0.5
        ) / self.ratio - 0.5  # coarse centres lie at integers
        return interpolate(volume, position, children[:, 0])

    def rows(self, lidar: SparseVolume) -> Int[Tensor, " voxel"]:
        """For every fine voxel of the batch, flattened, the row of its LiDAR feature, from 1; 0
        where it holds no return.
        """
        x, y, z = self.fine.shape
        rows = torch.zeros(
            lidar.batch_size * x * y * z, dtype=torch.long, device=lidar.indices.device
        )
        rows[linear_index(lidar.indices, self.fine.shape)] = 1 + torch.arange(
            len(lidar.indices), device=rows.device
        )
        return rows

    def look_up(
        self, lidar: SparseVolume, rows: Int[Tensor, " voxel"], children: Int[Tensor, "child 4"]
    ) -> Float[Tensor, "child channel"]:
        """The LiDAR feature of each child's own voxel; zero where it holds no return."""
        padded = torch.cat(
            [lidar.features.new_zeros(1, lidar.features.shape[1]), lidar.features]
        )  # row 0: no return
        return padded.index_select(0, rows[linear_index(children, self.fine.shape)])


def classify(
    output: HeadOutput, ratio: int
) -> tuple[UInt8[Tensor, "batch x y z"], Float[Tensor, "batch x y z"]]:
    """Labels and their probabilities on the fine grid; a voxel that was not refined is what its
    parent is.
    """
    coarse_label, coarse_probability = decide(output.coarse)  # [B, X, Y, Z]
    label, probability = upsample(coarse_label, ratio), upsample(coarse_probability, ratio)
    at = output.children.unbind(1)
    label[at], probability[at] = decide(output.fine)  # [child]
    return label, probability


def dense_logits(output: HeadOutput, ratio: int) -> Float[Tensor, "batch class x y z"]:
    """Logits on the fine grid; a voxel that was not refined has its parent's."""
    dense = F.interpolate(output.coarse, scale_factor=ratio).permute(0, 2, 3, 4, 1)  # nearest
    return dense.index_put(output.children.unbind(1), output.fine.to(dense.dtype)).permute(
        0, 4, 1, 2, 3
    )


def decide(
    logits: Float[Tensor, "n class *voxels"],
) -> tuple[UInt8[Tensor, "n *voxels"], Float[Tensor, "n *voxels"]]:
    """The class of each voxel and its probability.

    A voxel is empty where that is more probable than all classes together, and otherwise the most
    probable of them: where the classes share the probability of being occupied, the largest of all
    logits would leave holes.
    """
    probabilities = (
        logits.movedim(1, -1).float().softmax(dim=-1)
    )  # a voxel's classes lie side by side
    empty = probabilities[..., EMPTY]
    best, label = probabilities[..., EMPTY + 1 :].max(dim=-1)
    is_empty = empty > 0.5
    return torch.where(is_empty, EMPTY, label + EMPTY + 1).to(torch.uint8), torch.where(
        is_empty, empty, best
    )
