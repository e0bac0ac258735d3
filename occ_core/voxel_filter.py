"""The Bayes filter of occupancy mapping, over classes: it combines the logits of a voxel now and in
the frame before.

The ConvLSTM remembers at the resolution of the coarse volume; this filters the fine voxels, which
are what is published.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.interpolate import upsample
from occ_core.ops.linear_index import linear_index
from occ_core.ops.moved_index import moved_index
from occ_core.types import HeadOutput
from occ_core.voxel_grid import VoxelGrid

MIN_LOG_PROBABILITY = -4.0
"""Lower bound of previous log-probabilities, so that a few frames can overrule them (the clamping
of OctoMap).
"""


class VoxelFilter(nn.Module):
    """Adds the previous log-probabilities to the logits of this frame, with a weight per voxel.

    Weight 1 is Bayes' rule for frames whose errors are independent; a smaller one forgets, which is
    right where things move and where the errors of frames are alike.

    Args:
        channels: number of channels of the features.
        classes: number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.keep = nn.Linear(channels + classes, 1)
        nn.init.zeros_(self.keep.weight)
        nn.init.zeros_(self.keep.bias)

    def forward(
        self,
        logits: Float[Tensor, "voxel class"],
        features: Float[Tensor, "voxel channel"],
        previous: Float[Tensor, "voxel class"],
    ) -> Float[Tensor, "voxel class"]:
        """The filtered logits.

        Args:
            features: the features from which the logits were computed.
            previous: log-probabilities of the frame before, from ``PreviousLogits``.
        """
        # the linear layer of both parts joined, without joining them
        of_features, of_previous = self.keep.weight.split([features.shape[1], self.classes], dim=1)
        keep = F.linear(features, of_features, self.keep.bias) + F.linear(previous, of_previous)
        # at least in float32: torch multiplies bfloat16 rows by a column one by one
        wide = torch.promote_types(logits.dtype, torch.float32)
        filtered = logits.to(wide) + torch.sigmoid(keep.to(wide)) * previous.to(wide)
        return filtered.to(logits.dtype)


class PreviousLogits:
    """Looks up what the frame before predicted where this frame's fine voxels lie.

    Args:
        output: the head's output for the frame before.
        world_from_previous, world_from_current: float64 poses ``[B, 4, 4]`` of the grid, in the
            frame before and in this one.
        fine: grid of the children; ``ratio`` of them along each axis share a coarse voxel.
    """

    def __init__(
        self,
        output: HeadOutput,
        world_from_previous: Float[Tensor, "batch 4 4"],
        world_from_current: Float[Tensor, "batch 4 4"],
        fine: VoxelGrid,
        ratio: int,
    ) -> None:
        self.fine = fine
        previous_from_world = torch.linalg.inv(world_from_previous)
        self.previous_from_current = (previous_from_world @ world_from_current).float()  # [B, 4, 4]
        coarse = output.coarse.permute(0, 2, 3, 4, 1)  # [B, X, Y, Z, class]
        parent = torch.arange(coarse[..., 0].numel(), device=coarse.device).view(coarse.shape[:-1])
        self.row = upsample(parent, ratio).flatten()  # of every fine voxel in self.logits
        refined = parent.numel() + torch.arange(len(output.children), device=coarse.device)
        self.row[linear_index(output.children, fine.shape)] = refined
        self.logits = torch.cat([coarse.flatten(0, 3), output.fine])

    @torch.autocast("cpu", enabled=False)  # bfloat16 would move voxels
    @torch.autocast("cuda", enabled=False)
    def __call__(self, children: Int[Tensor, "child 4"]) -> Float[Tensor, "child class"]:
        """Log-probabilities of the voxel that held the centre of each child.

        A voxel that was not refined has those of its parent; beyond the grid they are zero.
        """
        index = moved_index(children, self.previous_from_current, self.fine)  # [child]
        logits = self.logits.index_select(0, self.row[index.clamp(min=0)]).float()
        log_probability = F.log_softmax(logits, dim=1).clamp(min=MIN_LOG_PROBABILITY)
        return log_probability * (index >= 0)[:, None]
