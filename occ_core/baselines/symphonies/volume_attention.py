"""Deformable attention in a volume, in plain torch (Symphonies, Jiang et al., CVPR 2024, section
3.3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class VolumeAttention(nn.Module):
    """Each query attends to a few locations near its reference point, which it chooses itself; the
    volume is read trilinearly, and is zero outside.

    Args:
        channels: channels of queries and volume.
        heads: number of heads; each reads channels of its own.
        samples: samples of a query and head.
    """

    def __init__(self, channels: int, heads: int, samples: int) -> None:
        super().__init__()
        self.heads, self.samples = heads, samples
        self.value = nn.Linear(channels, channels)
        self.offsets = nn.Linear(channels, heads * samples * 3)
        self.weights = nn.Linear(channels, heads * samples)
        self.out = nn.Linear(channels, channels)
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        # at first the heads look along +x, +y, +z, -x, -y, -z, ..., farther with each sample
        axes = torch.eye(3).repeat(heads // 3 + 1, 1)[:heads]
        signs = 1.0 - 2.0 * (torch.arange(heads) // 3 % 2)
        ring = (axes * signs[:, None])[:, None] * torch.arange(1.0, samples + 1)[:, None]
        with torch.no_grad():
            self.offsets.bias.copy_(ring.flatten())

    def forward(
        self,
        query: Float[Tensor, "query channel"],
        reference: Float[Tensor, "query 3"],
        volume: Float[Tensor, "channel x y z"],
    ) -> Float[Tensor, "query channel"]:
        """The attention's result for each query.

        Args:
            reference: (x, y, z) as fractions of the grid: 0 and 1 are its faces.
        """
        size = reference.new_tensor(volume.shape[1:])
        offsets = self.offsets(query).view(len(query), self.heads, self.samples, 3)
        where = reference[:, None, None] + offsets / size  # offsets are in voxels
        weights = self.weights(query).view(len(query), self.heads, -1).softmax(dim=-1)
        values = self.value(volume.permute(1, 2, 3, 0)).permute(3, 0, 1, 2)
        found = sample_volume(values, where.float(), weights.float())
        return self.out(found.to(query.dtype))


def sample_volume(
    values: Float[Tensor, "channel x y z"],
    where: Float[Tensor, "query head sample 3"],
    weights: Float[Tensor, "query head sample"],
) -> Float[Tensor, "query channel"]:
    """Weighted sum of trilinear samples; outside the volume they are zero.

    Args:
        values: each head reads channels of its own.
        where: (x, y, z) as fractions of the grid: 0 and 1 are its faces.
        weights: weight of each sample.
    """
    queries, heads = where.shape[:2]
    per_head = values.unflatten(0, (heads, -1)).float()  # [head, C / heads, X, Y, Z]
    # grid_sample counts from -1 to 1 and wants the last axis first
    grid = (where * 2 - 1).flip(-1).transpose(0, 1)[:, :, :, None]  # [head, Q, S, 1, 3]
    sampled = F.grid_sample(per_head, grid, align_corners=False)[..., 0]  # [head, C/heads, Q, S]
    total = (sampled * weights.transpose(0, 1)[:, None]).sum(dim=-1)  # [head, C / heads, Q]
    return total.permute(2, 0, 1).reshape(queries, -1)
