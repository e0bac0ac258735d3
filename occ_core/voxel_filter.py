"""What the head said of a place in the frame before, for the same place now: occupancy mapping's
Bayes filter, over classes.

The ConvLSTM remembers at the resolution of the coarse volume; the fine voxels, which are what is
published, are filtered here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.cpu import moved_index as voxel_filter_compiled
from occ_core.ops.interpolate import upsample
from occ_core.ops.sparse import linear_index
from occ_core.types import HeadOutput
from occ_core.voxel_grid import VoxelGrid

LEAST_LOG_PROBABILITY = -4.0
"""What is remembered is never surer than this, so that a few frames can overrule it (OctoMap's
clamping).
"""


class VoxelFilter(nn.Module):
    """This frame's logits and the remembered log-probabilities -> their sum, the latter weighed
    voxel by voxel.

    With weight 1 this is Bayes' rule for frames that err independently; less forgets, as is right
    where things move and where frames err alike.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.keep = nn.Linear(channels + classes, 1)
        nn.init.zeros_(self.keep.weight)
        nn.init.zeros_(self.keep.bias)

    def forward(
        self,
        logits: Float[Tensor, "voxel class"],
        features: Float[Tensor, "voxel channel"],
        remembered: Float[Tensor, "voxel class"],
    ) -> Float[Tensor, "voxel class"]:
        """``features`` are what the logits were made from."""
        keep = torch.sigmoid(self.keep(torch.cat([features, remembered.to(features.dtype)], dim=1)))
        return logits + keep * remembered.to(logits.dtype)


class Recall:
    """The log-probabilities that the frame before gave to the places of this frame's fine voxels.

    Args:
        before: the head's output then.
        world_from_there, world_from_here: float64 poses ``[B, 4, 4]`` of the grid then and now.
        fine: the grid of the children; ``ratio`` of them along each axis share a coarse voxel.
    """

    def __init__(
        self,
        before: HeadOutput,
        world_from_there: Float[Tensor, "batch 4 4"],
        world_from_here: Float[Tensor, "batch 4 4"],
        fine: VoxelGrid,
        ratio: int,
    ) -> None:
        self.fine = fine
        self.there_from_here = (
            torch.linalg.inv(world_from_there) @ world_from_here
        ).float()  # [B, 4, 4]
        coarse = before.coarse.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, class]
        parent = torch.arange(coarse[..., 0].numel(), device=coarse.device).view(coarse.shape[:-1])
        self.row = upsample(parent, ratio).flatten()  # in self.logits, of every fine voxel
        refined = parent.numel() + torch.arange(len(before.children), device=coarse.device)
        self.row[linear_index(before.children, fine.shape)] = refined
        self.logits = torch.cat([coarse.flatten(0, 3), before.fine])

    @torch.autocast("cpu", enabled=False)  # bfloat16 would move voxels
    @torch.autocast("cuda", enabled=False)
    def __call__(self, children: Int[Tensor, "child 4"]) -> Float[Tensor, "child class"]:
        """Of the voxel that held each child's centre, its parent's where it was not refined; zeros
        beyond the grid.
        """
        places = self.places if children.is_cuda else voxel_filter_compiled.places
        there = places(children, self.there_from_here, self.fine)  # [child]
        logits = self.logits.index_select(0, self.row[there.clamp(min=0)]).float()
        return F.log_softmax(logits, dim=1).clamp(min=LEAST_LOG_PROBABILITY) * (there >= 0)[:, None]

    @staticmethod
    def places(
        children: Int[Tensor, "child 4"],
        there_from_here: Float[Tensor, "batch 4 4"],
        fine: VoxelGrid,
    ) -> Int[Tensor, " child"]:
        """What ``voxel_filter_compiled`` computes, which see."""
        sample, points = children[:, 0], fine.centres(children[:, 1:])
        for number, moved in enumerate(there_from_here):
            points = torch.where(
                (sample == number)[:, None], points @ moved[:3, :3].T + moved[:3, 3], points
            )
        index = fine.index(points)
        place = linear_index(torch.cat([sample[:, None], index], dim=1), fine.shape)
        return place.where(fine.contains(index), -1)
