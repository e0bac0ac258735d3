"""Deformable attention in plain torch (Zhu et al., ICLR 2021, Eqs. 2, 3), and across cameras
(BEVFormer's, ECCV 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.view_transform import NEAREST_M


def sample_levels(
    levels: Sequence[Float[Tensor, "n channel _ _"]],
    locations: Float[Tensor, "n query head level sample 2"],
    weights: Float[Tensor, "n query head level sample"],
) -> Float[Tensor, "n query channel"]:
    """The weighted sum of bilinear samples, each head in channels of its own; beyond the border
    there are zeros.

    Args:
        locations: (u, v) over the image: 0 and 1 are its edges.
    """
    n, queries, heads = locations.shape[:3]
    total: Tensor | float = 0.0
    for number, values in enumerate(levels):
        per_head = values.reshape(n * heads, -1, *values.shape[2:])  # [n * heads, C / heads, h, w]
        at = (
            locations[:, :, :, number].transpose(1, 2).flatten(0, 1) * 2 - 1
        )  # [n * heads, Q, S, 2]
        sampled = F.grid_sample(per_head, at, align_corners=False)  # [n * heads, C / heads, Q, S]
        weight = (
            weights[:, :, :, number].transpose(1, 2).flatten(0, 1)[:, None]
        )  # [n * heads, 1, Q, S]
        total = total + (sampled * weight).sum(dim=-1)
    assert isinstance(total, Tensor)
    return total.view(n, -1, queries).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Each query looks at a few places near its reference points, which it chooses itself.

    Args:
        samples: of a query in each level, shared out to its reference points.
        references: of a query; reference point r has the samples from ``r * samples / references``
            on.
    """

    def __init__(
        self, channels: int, heads: int, levels: int, samples: int, references: int = 1
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.samples, self.references = heads, levels, samples, references
        self.value = nn.Conv2d(channels, channels, 1)
        self.offsets = nn.Linear(channels, heads * levels * samples * 2)
        self.weights = nn.Linear(channels, heads * levels * samples)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        nn.init.zeros_(self.offsets.weight)
        turn = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack([turn.cos(), turn.sin()], dim=1)
        direction = direction / direction.abs().amax(
            dim=1, keepdim=True
        )  # a head looks in its own direction, ...
        reach = (
            torch.arange(samples) % (samples // references) + 1.0
        )  # ... farther with each sample of a reference point
        ring = direction[:, None, None] * reach[:, None]  # [head, 1, sample, 2]
        with torch.no_grad():
            self.offsets.bias.copy_(ring.expand(heads, levels, samples, 2).flatten())

    def forward(
        self,
        query: Float[Tensor, "n query channel"],
        reference: Float[Tensor, "n query reference 2"],
        levels: Sequence[Float[Tensor, "n channel _ _"]],
    ) -> Float[Tensor, "n query channel"]:
        """
        Args:
            reference: (u, v) over the image: 0 and 1 are its edges.
        """
        n, queries = query.shape[:2]
        offsets = self.offsets(query).view(n, queries, self.heads, self.levels, self.samples, 2)
        size = offsets.new_tensor(
            [[values.shape[3], values.shape[2]] for values in levels]
        )  # [level, 2]
        places = reference.repeat_interleave(self.samples // self.references, dim=2)  # [n, Q, S, 2]
        locations = places[:, :, None, None] + offsets / size[:, None]
        weights = self.weights(query).view(n, queries, self.heads, -1).softmax(dim=-1)
        return sample_levels(
            [self.value(values) for values in levels], locations, weights.view(locations.shape[:-1])
        )


class ImageCrossAttention(nn.Module):
    """Queries that stand in space look into the cameras that see them: the mean over those."""

    def __init__(
        self, channels: int, heads: int, levels: int, samples: int, references: int = 1
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads, levels, samples, references)
        self.out = nn.Linear(channels, channels)

    def forward(
        self,
        query: Float[Tensor, "batch query channel"],
        reference: Float[Tensor, "image query reference 2"],
        seen: Bool[Tensor, "image query"],
        sample: Int[Tensor, " image"],
        levels: Sequence[Float[Tensor, "image channel _ _"]],
    ) -> Float[Tensor, "batch query channel"]:
        """
        Args:
            sample: of the batch, that each image belongs to.
        """
        total, count = (
            torch.zeros(query.shape, device=query.device),
            torch.zeros(query.shape[:2], device=query.device),
        )
        for image, of in enumerate(sample.tolist()):
            hit = seen[image].nonzero()[:, 0]  # [H]
            if not len(hit):
                continue
            maps = [values[image : image + 1] for values in levels]
            found = self.attention(query[of, hit][None], reference[image, hit][None], maps)[
                0
            ]  # [H, C]
            total = total.index_put((torch.full_like(hit, of), hit), found.float(), accumulate=True)
            count[of, hit] += 1
        return self.out(total / count.clamp(min=1)[..., None])


def feed_forward(channels: int) -> nn.Sequential:
    """The network after each attention, twice as wide inside."""
    return nn.Sequential(
        nn.Linear(channels, 2 * channels), nn.ReLU(inplace=True), nn.Linear(2 * channels, channels)
    )


@torch.autocast("cpu", enabled=False)  # bfloat16 would move pixels
@torch.autocast("cuda", enabled=False)
def project(
    points: Float[Tensor, "query reference 3"],
    intrinsics: Float[Tensor, "image 3 3"],
    grid_from_camera: Float[Tensor, "image 4 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "image query reference 2"], Bool[Tensor, "image query"]]:
    """Where in every image, over its (width, height), points lie; and which queries have a point in
    it.

    Args:
        points: in metres, in the grid frame.
        size: (height, width) of the images in pixels.
    """
    camera_from_grid = torch.linalg.inv(grid_from_camera)
    in_camera = (
        torch.einsum("kij,qrj->kqri", camera_from_grid[:, :3, :3], points)
        + camera_from_grid[:, None, None, :3, 3]
    )
    ahead = in_camera[..., 2] > NEAREST_M
    pixel = torch.einsum("kij,kqrj->kqri", intrinsics, in_camera)[..., :2] / in_camera[
        ..., 2:
    ].clamp(min=NEAREST_M)
    where = (pixel + 0.5) / pixel.new_tensor([size[1], size[0]])  # pixel centres lie at integers
    inside = ((where > 0) & (where < 1)).all(dim=-1) & ahead
    return where, inside.any(dim=-1)
