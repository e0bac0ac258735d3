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
"""The gates start at an eighth, so that a module put into a trained model hardly disturbs it."""

LEAST_SIZE = 1e-10
"""Of a voxel's features; the square of a smaller one would vanish, and its root have no gradient.
"""


class InstanceAttention(nn.Module):
    """Gated cross-attention from the non-empty voxels of a sensor's volume to the embeddings of
    prompts (Eq. 1).

    What is added is as large as the voxel's own features are (their root mean square), which Eq. 1
    does not say: of the lifted image volume nine voxels in ten hold next to nothing, as their depth
    is improbable, and prompts of full size would make them all alike. Memory grows with the voxels
    times the prompts. Voxels of zeros stay zero.

    Args:
        width: of the embeddings.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(
            channels
        )  # features differ in size by orders of magnitude, as the depths' probabilities do
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(width, channels, bias=False)
        self.value = nn.Linear(width, channels, bias=False)
        self.gate = nn.Linear(channels, channels)
        nn.init.constant_(self.gate.bias, GATE_BIAS)

    def forward(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        embeddings: Float[Tensor, "batch prompt width"],
        said: Bool[Tensor, "batch prompt"],
    ) -> Float[Tensor, "batch channel x y z"]:
        """
        Args:
            said: prompts that are attended to, at least one a sample.
        """
        occupied = non_empty(volume)
        at = occupied.flatten().nonzero()[:, 0]
        rows = volume.permute(0, 2, 3, 4, 1).flatten(0, 3)  # [B*X*Y*Z, C]
        parts = rows.index_select(0, at).split(
            occupied.flatten(1).sum(dim=1).tolist()
        )  # [V, C] of each sample
        instances = [
            self.instance(voxels, prompts[one])
            for voxels, prompts, one in zip(parts, embeddings, said, strict=True)
        ]
        refined = rows.index_add(0, at, torch.cat(instances).to(rows.dtype))
        return refined.view(*occupied.shape, -1).permute(0, 4, 1, 2, 3)

    def instance(
        self, voxels: Float[Tensor, "voxel channel"], told: Float[Tensor, "prompt width"]
    ) -> Float[Tensor, "voxel channel"]:
        """What is added to the voxels of one sample."""
        keys = (
            self.key(told) @ self.query.weight
        )  # [P, C]: queries times keys are voxels times these, at less work
        attention = self.norm(voxels) @ keys.T / math.sqrt(voxels.shape[1])  # [V, P]
        size = (
            voxels.float()
            .square()
            .mean(dim=1, keepdim=True)
            .clamp(min=LEAST_SIZE**2)
            .sqrt()
            .to(voxels.dtype)
        )
        return attention.softmax(dim=1) @ self.value(told) * torch.sigmoid(self.gate(voxels)) * size
