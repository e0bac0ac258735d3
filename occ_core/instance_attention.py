"""Instance-driven VLM attention, InstVLM (VLMFusionOcc3D, section III-A, Fig. 3): volume and
prompts -> volume.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.ops.sparse import non_empty

GATE_BIAS = -2.0
"""Initial bias of the gates: they start at an eighth, so that the module hardly disturbs a trained
model that it is added to.
"""

MIN_RMS = 1e-10
"""Lower bound for the size of a voxel's features: the square of a smaller one would underflow, and
the square root would have no gradient.
"""


class InstanceAttention(nn.Module):
    """Gated cross-attention from the non-empty voxels of one sensor's volume to the embeddings of
    prompts (Eq. 1).

    What is added to a voxel is scaled to the root mean square of the voxel's own features, which is
    not in Eq. 1. Nine voxels in ten of the lifted image volume hold next to nothing, since their
    depth is improbable; prompts at full size would make them all alike. Empty voxels stay empty.
    Memory grows with the number of voxels times that of prompts.

    Args:
        channels: channels of the volume.
        width: width of the embeddings.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        # features vary by orders of magnitude, as the probabilities of the depths do
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(width, channels, bias=False)
        self.value = nn.Linear(width, channels, bias=False)
        self.gate = nn.Linear(channels, channels)
        nn.init.constant_(self.gate.bias, GATE_BIAS)

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        embeddings: Float[Tensor, "batch prompt width"],
        mask: Bool[Tensor, "batch prompt"],
    ) -> Float[Tensor, "batch channel x y z"]:
        """The volume, with the result of the attention added to its non-empty voxels.

        Args:
            mask: prompts to attend to, at least one per sample.
        """
        occupied = non_empty(volume)
        index = occupied.flatten().nonzero()[:, 0]
        rows = volume.permute(0, 2, 3, 4, 1).flatten(0, 3)  # [B*X*Y*Z, C]
        voxels_per_sample = occupied.flatten(1).sum(dim=1).tolist()
        samples = rows.index_select(0, index).split(voxels_per_sample)  # [V, C] each
        added = [
            self.attend(voxels, prompts[allowed])
            for voxels, prompts, allowed in zip(samples, embeddings, mask, strict=True)
        ]
        refined = rows.index_add(0, index, torch.cat(added).to(rows.dtype))
        return refined.view(*occupied.shape, -1).permute(0, 4, 1, 2, 3)

    def attend(
        self, voxels: Float[Tensor, "voxel channel"], prompts: Float[Tensor, "prompt width"]
    ) -> Float[Tensor, "voxel channel"]:
        """What is added to the voxels of one sample."""
        # (norm Wq)(P Wk)^T = norm (P Wk Wq^T)^T: two products per prompt are cheaper than per voxel
        keys = self.key(prompts) @ self.query.weight  # [P, C]
        attention = self.norm(voxels) @ keys.T / math.sqrt(voxels.shape[1])  # [V, P]
        mean_square = voxels.float().square().mean(dim=1, keepdim=True)
        rms = mean_square.clamp(min=MIN_RMS**2).sqrt().to(voxels.dtype)  # [V, 1]
        gate = torch.sigmoid(self.gate(voxels))
        return attention.softmax(dim=1) @ self.value(prompts) * gate * rms


class NoInstanceAttention(nn.Module):
    """The instance attention of a model whose volumes attend to no prompts."""

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        embeddings: Float[Tensor, "batch prompt width"],
        mask: Bool[Tensor, "batch prompt"],
    ) -> Float[Tensor, "batch channel x y z"]:
        """The volume as it is."""
        return volume
