"""Deformable attention in plain torch (Zhu et al., ICLR 2021, Eqs. 2 and 3), and its extension to
several cameras (BEVFormer, Li et al., ECCV 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.ops.sample_images import NEAREST_M


def sample_levels(
    levels: Sequence[Float[Tensor, "n channel _ _"]],
    locations: Float[Tensor, "n query head level sample 2"],
    weights: Float[Tensor, "n query head level sample"],
) -> Float[Tensor, "n query channel"]:
    """Weighted sum of bilinear samples; outside the image they are zero.

    Args:
        levels: feature maps; each head reads channels of its own.
        locations: (u, v) as fractions of the image: 0 and 1 are its edges.
        weights: weight of each sample.
    """
    n, queries, heads = locations.shape[:3]
    total: Tensor | float = 0.0
    for number, values in enumerate(levels):
        per_head = values.reshape(n * heads, -1, *values.shape[2:])  # [n * heads, C / heads, h, w]
        at = locations[:, :, :, number].transpose(1, 2).flatten(0, 1)  # [n * heads, Q, S, 2]
        # grid_sample counts from -1 to 1
        sampled = F.grid_sample(per_head, at * 2 - 1, align_corners=False)
        weight = weights[:, :, :, number].transpose(1, 2).flatten(0, 1)  # [n * heads, Q, S]
        total = total + (sampled * weight[:, None]).sum(dim=-1)  # [n * heads, C / heads, Q]
    assert isinstance(total, Tensor)
    return total.view(n, -1, queries).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Each query attends to a few locations near its reference points, which it chooses itself.

    Args:
        channels: channels of queries and feature maps.
        heads: number of heads.
        levels: number of feature maps.
        samples: samples of a query in each level, divided among its reference points.
        references: reference points of a query; reference point r has the samples from
            ``r * samples / references`` on.
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
        # at first each head looks in its own direction, ...
        turn = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack([turn.cos(), turn.sin()], dim=1)
        direction = direction / direction.abs().amax(dim=1, keepdim=True)
        # ... and farther with each sample of a reference point
        reach = torch.arange(samples) % (samples // references) + 1.0
        ring = direction[:, None, None] * reach[:, None]  # [head, 1, sample, 2]
        with torch.no_grad():
            self.offsets.bias.copy_(ring.expand(heads, levels, samples, 2).flatten())

    def forward(
        self,
        query: Float[Tensor, "n query channel"],
        reference: Float[Tensor, "n query reference 2"],
        levels: Sequence[Float[Tensor, "n channel _ _"]],
    ) -> Float[Tensor, "n query channel"]:
        """The attention's result for each query.

        Args:
            reference: (u, v) as fractions of the image: 0 and 1 are its edges.
        """
        n, queries = query.shape[:2]
        offsets = self.offsets(query).view(n, queries, self.heads, self.levels, self.samples, 2)
        size = offsets.new_tensor([[values.shape[3], values.shape[2]] for values in levels])
        centres = reference.repeat_interleave(self.samples // self.references, dim=2)  # [n,Q,S,2]
        locations = centres[:, :, None, None] + offsets / size[:, None]  # offsets are in cells
        weights = self.weights(query).view(n, queries, self.heads, -1).softmax(dim=-1)
        return sample_levels(
            [self.value(values) for values in levels], locations, weights.view(locations.shape[:-1])
        )


class ImageCrossAttention(nn.Module):
    """Queries with a position in space attend to the images that see it, and average over them.

    The arguments are those of ``DeformableAttention``.
    """

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
        """The attention's result for each query.

        Args:
            reference: reference points of the queries in each image, from ``project``.
            seen: whether each image sees each query, from ``project``.
            sample: the sample of the batch that each image belongs to.
        """
        total = torch.zeros(query.shape, device=query.device)
        count = torch.zeros(query.shape[:2], device=query.device)
        for image, batch in enumerate(sample.tolist()):
            hit = seen[image].nonzero()[:, 0]  # [H]
            if not len(hit):
                continue
            maps = [values[image : image + 1] for values in levels]
            found = self.attention(query[batch, hit][None], reference[image, hit][None], maps)[0]
            index = torch.full_like(hit, batch), hit
            total = total.index_put(index, found.float(), accumulate=True)
            count[index] += 1
        return self.out(total / count.clamp(min=1)[..., None])


def feed_forward(channels: int) -> nn.Sequential:
    """The feed-forward network after each attention, with a hidden layer of twice the width."""
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
    """Projects the reference points of queries into every image.

    Args:
        points: reference points in metres, in the grid frame.
        intrinsics: camera matrices in pixels.
        grid_from_camera: poses of the cameras.
        size: (height, width) of the images in pixels.

    Returns:
        (u, v) of the points as fractions of the image, and whether the image sees at least one
        point of each query.
    """
    camera_from_grid = torch.linalg.inv(grid_from_camera)
    rotated = torch.einsum("kij,qrj->kqri", camera_from_grid[:, :3, :3], points)
    in_camera = rotated + camera_from_grid[:, None, None, :3, 3]  # [K, Q, R, 3]
    depth = in_camera[..., 2:]
    homogeneous = torch.einsum("kij,kqrj->kqri", intrinsics, in_camera)
    pixel = homogeneous[..., :2] / depth.clamp(min=NEAREST_M)
    # half a pixel, since the centre of the first pixel is 0 and its edge -0.5
    where = (pixel + 0.5) / pixel.new_tensor([size[1], size[0]])
    inside = ((where > 0) & (where < 1)).all(dim=-1) & (depth[..., 0] > NEAREST_M)
    return where, inside.any(dim=-1)
