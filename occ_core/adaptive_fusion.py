"""TACOcc's adaptive feature fuser (section III-A, Fig. 2): image volume and LiDAR volume -> fused
volume.

Every non-empty voxel of one sensor retrieves its nearest non-empty voxels of the other, in both
directions and at every level of a pyramid. How many it retrieves is chosen voxel by voxel: few for
what is small, more for what is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.fusion import Fused
from occ_core.ops.interpolate import pool
from occ_core.ops.neighbours import nearest_neighbours
from occ_core.ops.sparse import non_empty
from occ_core.volume_encoder import Pointwise


@dataclass(frozen=True, kw_only=True)
class AdaptiveFusionConfig:
    """The fuser's shape; the defaults are TACOcc's, the rest its ablations."""

    candidates: tuple[int, ...] = (1, 2, 3)
    """How many neighbours a query may choose to retrieve; a single candidate is a fixed k (Table
    III "Fix k", Table IV).
    """
    strides: tuple[int, ...] = (1, 2, 4)
    """Of the pyramid's levels; (1,) is without MSPF."""
    image_queries: bool = True
    """Voxels of the images retrieve voxels of the LiDAR."""
    lidar_queries: bool = True
    """Voxels of the LiDAR retrieve voxels of the images; both directions are Table III's "Bi.k"."""
    radius: float = 3.0
    """In voxels of the level: nothing farther is retrieved."""

    def __post_init__(self) -> None:
        if (
            not self.candidates
            or min(self.candidates) < 1
            or list(self.candidates) != sorted(set(self.candidates))
        ):
            raise ValueError(
                "AdaptiveFusionConfig.candidates must be rising numbers of at least 1, got "
                f"{self.candidates}"
            )
        if (
            not self.strides
            or self.strides[0] != 1
            or list(self.strides) != sorted(set(self.strides))
        ):
            raise ValueError(f"AdaptiveFusionConfig.strides must rise from 1, got {self.strides}")
        if not (self.image_queries or self.lidar_queries):
            raise ValueError(
                "AdaptiveFusionConfig: image_queries and lidar_queries are both off; nothing would "
                "be retrieved"
            )
        if self.radius < 0:
            raise ValueError(f"AdaptiveFusionConfig.radius must not be negative, got {self.radius}")


class NonEmpty:
    """The non-empty voxels of a dense volume at one level of the pyramid: their indices and mean
    features.
    """

    def __init__(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        occupied: Bool[Tensor, "batch x y z"],
        stride: int,
    ) -> None:
        if stride > 1:
            share = pool(occupied[:, None].to(volume.dtype), stride)  # [B, 1, X/s, Y/s, Z/s]
            occupied = share[:, 0] > 0
            volume = pool(volume, stride) / torch.where(share > 0, share, 1)
        self.index = occupied.nonzero()  # [V, 4]
        self.features = volume.permute(0, 2, 3, 4, 1)[occupied]  # [V, C]
        self.shape = occupied.shape

    def spread(
        self, values: Float[Tensor, "voxel channel"], index: Int[Tensor, "fine 4"], stride: int
    ) -> Float[Tensor, "fine channel"]:
        """The value of the level's voxel that each voxel of the finest level lies in."""
        row = torch.full(self.shape, -1, dtype=torch.long, device=index.device)
        row[self.index.unbind(1)] = torch.arange(len(self.index), device=index.device)
        parent = index // index.new_tensor([1, stride, stride, stride])
        return values.index_select(0, row[parent.unbind(1)])


class NeighbourhoodSelector(nn.Module):
    """Query features -> k, a whole number that gradients pass through.

    An MLP gives logits over the candidates; their Gumbel-softmax weighs the candidates; the
    expectation is rounded, with a straight-through gradient (TACOcc, "Adaptive Neighborhood
    Selector"). Without noise in evaluation.
    """

    temperature: Tensor

    def __init__(self, channels: int, candidates: tuple[int, ...]) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, len(candidates)),
        )
        self.register_buffer(
            "candidates", torch.tensor(candidates, dtype=torch.float32), persistent=False
        )
        self.register_buffer("temperature", torch.tensor(1.0))

    def forward(self, query: Float[Tensor, "query channel"]) -> Float[Tensor, " query"]:
        logits = self.mlp(query).float()
        if self.training:
            logits = logits + _gumbel_noise(logits)
        expected = (logits / self.temperature).softmax(dim=1) @ self.candidates
        return expected.round().detach() + (expected - expected.detach())


def _gumbel_noise(like: Tensor) -> Tensor:
    return -torch.empty_like(like).exponential_().clamp(min=1e-20).log()


class Retrieval(nn.Module):
    """One direction at one level: how strongly each query counts, seen together with its neighbours
    of the other sensor.
    """

    def __init__(self, channels: int, candidates: tuple[int, ...], radius: float) -> None:
        super().__init__()
        self.candidates, self.radius = candidates, radius
        self.selector = NeighbourhoodSelector(channels, candidates)
        self.norm = nn.LayerNorm(
            channels
        )  # features differ in size by orders of magnitude, as the depths' probabilities do
        self.attention = nn.Sequential(
            nn.Linear((1 + candidates[-1]) * channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(
        self, queries: NonEmpty, keys: NonEmpty
    ) -> tuple[Float[Tensor, "query channel"], Int[Tensor, " candidate"]]:
        """Weights omega of 0 or more, zero for queries without a neighbour; and how many queries
        chose each candidate.

        Rectified, not squashed (as Co-Occ's are): the neighbours may raise a feature as well as
        fade it.
        """
        found = nearest_neighbours(queries.index, keys.index, self.candidates[-1], self.radius)
        matched = (found.row[:, 0] >= 0).nonzero()[:, 0]  # [M]
        query = self.norm(queries.features.index_select(0, matched))
        k = self.selector(query)  # [M]
        neighbour = torch.arange(self.candidates[-1], device=k.device)
        retrieved = (k[:, None] - neighbour).clamp(
            0, 1
        )  # [M, K]: 1 for the first k, and a gradient to k from both sides of it
        known = self.norm(keys.features)
        padded = torch.cat(
            [known, known.new_zeros(1, known.shape[1])]
        )  # the last row: no neighbour
        row = found.row.index_select(0, matched)  # [M, K]
        key = padded.index_select(0, torch.where(row < 0, len(known), row).flatten())
        key = key.view(*row.shape, known.shape[1]) * retrieved[..., None].to(
            padded.dtype
        )  # [M, K, C]
        omega = torch.relu(self.attention(torch.cat([query, key.flatten(1)], dim=1)))
        weights = omega.new_zeros(queries.features.shape).index_put((matched,), omega)
        counts = torch.stack([(k.detach() == candidate).sum() for candidate in self.candidates])
        return weights, counts


class AdaptiveFusion(nn.Module):
    """Target-adaptive, bidirectional, symmetric retrieval over a pyramid (MSPF), then Eq. 1."""

    def __init__(self, channels: int, config: AdaptiveFusionConfig) -> None:
        super().__init__()
        self.config = config
        self.image_queries = self._levels(channels) if config.image_queries else None
        self.lidar_queries = self._levels(channels) if config.lidar_queries else None
        self.level_logits = nn.Parameter(torch.zeros(2, len(config.strides)))
        width = (2 + config.image_queries + config.lidar_queries) * channels
        self.reduce = nn.Sequential(
            Pointwise(width, channels, bias=False), nn.GroupNorm(8, channels), nn.ReLU(inplace=True)
        )

    def _levels(self, channels: int) -> nn.ModuleList:
        return nn.ModuleList(
            Retrieval(channels, self.config.candidates, self.config.radius)
            for _ in self.config.strides
        )

    def forward(
        self,
        image_volume: Float[Tensor, "batch channel x y z"],
        lidar_volume: Float[Tensor, "batch channel x y z"],
    ) -> Fused:
        """Voxels of zeros are empty: they neither ask nor answer."""
        image_pyramid, lidar_pyramid = (
            self.pyramid(volume) for volume in (image_volume, lidar_volume)
        )
        weight = self.reduce[0].weight
        assert isinstance(weight, Tensor)
        parts = iter(weight.flatten(1).split(image_volume.shape[1], dim=1))  # [C, C] each
        rows = [
            volume.permute(0, 2, 3, 4, 1) for volume in (image_volume, lidar_volume)
        ]  # [B, X, Y, Z, C]
        # Eq. 1: to reduce a concatenation is to add its reduced parts, of which two are zero but at
        # the queries
        reduced = F.linear(rows[0], next(parts)) + F.linear(rows[1], next(parts))
        counts = []
        for direction, (retrievals, queries, keys) in enumerate((
            (self.image_queries, image_pyramid, lidar_pyramid),
            (self.lidar_queries, lidar_pyramid, image_pyramid),
        )):  # fmt: skip
            if retrievals is None:
                continue
            levels = self.level_logits[direction].softmax(dim=0)
            omega = torch.zeros_like(queries[0].features)
            for share, stride, retrieve, query, key in zip(
                levels, self.config.strides, retrievals, queries, keys, strict=True
            ):
                weights, count = retrieve(query, key)
                omega = omega + share * query.spread(weights, queries[0].index, stride)
                counts.append(count)
            at = queries[0].index.unbind(1)
            weighted = F.linear(
                queries[0].features * omega.to(reduced.dtype), next(parts)
            )  # F * omega
            reduced = reduced.index_put(at, reduced[at] + weighted)
        return Fused(self.reduce[1:](reduced.permute(0, 4, 1, 2, 3)), torch.stack(counts))

    def pyramid(self, volume: Float[Tensor, "batch channel x y z"]) -> list[NonEmpty]:
        occupied = non_empty(volume)
        return [NonEmpty(volume, occupied, stride) for stride in self.config.strides]

    def anneal(self, progress: float) -> None:
        """Sets the selectors' temperature: 1.0 at the start of training (``progress`` 0), 0.1 at
        its end (1), geometrically.
        """
        for module in self.modules():
            if isinstance(module, NeighbourhoodSelector):
                module.temperature.fill_(10.0 ** -min(max(progress, 0.0), 1.0))
