"""TACOcc's adaptive feature fusion (section III-A, Fig. 2): image volume and LiDAR volume -> fused
volume.

Every non-empty voxel of one sensor retrieves its nearest non-empty voxels of the other, in both
directions and at every level of a pyramid. How many it retrieves is chosen per voxel: few for small
objects, more for large ones.
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
    """Shape of the adaptive fusion; the defaults are TACOcc's, other values its ablations.

    Raises:
        ValueError: a field is out of range; the text names it and its value.
    """

    candidates: tuple[int, ...] = (1, 2, 3)
    """Numbers of neighbours that a query chooses from, rising; a single one is a fixed k (Table III
    "Fix k", Table IV).
    """
    strides: tuple[int, ...] = (1, 2, 4)
    """Strides of the pyramid's levels; (1,) switches multi-scale fusion (MSPF) off."""
    image_queries: bool = True
    """Image voxels retrieve LiDAR voxels."""
    lidar_queries: bool = True
    """LiDAR voxels retrieve image voxels; both directions together are Table III's "Bi.k"."""
    radius: float = 3.0
    """Largest distance to a neighbour, in voxels of the level."""

    def __post_init__(self) -> None:
        if not _rises_from(self.candidates, at_least=1):
            raise ValueError(
                "AdaptiveFusionConfig.candidates must be rising numbers of at least 1, got "
                f"{self.candidates}"
            )
        if not _rises_from(self.strides, at_least=1) or self.strides[0] != 1:
            raise ValueError(f"AdaptiveFusionConfig.strides must rise from 1, got {self.strides}")
        if not (self.image_queries or self.lidar_queries):
            raise ValueError(
                "AdaptiveFusionConfig: image_queries and lidar_queries are both off; nothing would "
                "be retrieved"
            )
        if self.radius < 0:
            raise ValueError(f"AdaptiveFusionConfig.radius must not be negative, got {self.radius}")


def _rises_from(values: tuple[int, ...], at_least: int) -> bool:
    """Whether there are values, and they rise strictly from ``at_least`` or more."""
    return bool(values) and values[0] >= at_least and list(values) == sorted(set(values))


class NonEmptyVoxels:
    """Indices and mean features of a volume's non-empty voxels, at one level of the pyramid.

    Args:
        volume: the volume at the finest level.
        occupied: its non-empty voxels.
        stride: voxels of the finest level per voxel of this one, along each axis.
    """

    def __init__(
        self,
        volume: Float[Tensor, "batch channel x y z"],
        occupied: Bool[Tensor, "batch x y z"],
        stride: int,
    ) -> None:
        if stride > 1:
            # the mean over a block, divided by its occupied fraction: the mean of occupied voxels
            fraction = pool(occupied[:, None].to(volume.dtype), stride)  # [B, 1, X/s, Y/s, Z/s]
            occupied = fraction[:, 0] > 0
            volume = pool(volume, stride) / torch.where(fraction > 0, fraction, 1)
        self.index = occupied.nonzero()  # [V, 4]
        self.features = volume.permute(0, 2, 3, 4, 1)[occupied]  # [V, C]
        self.shape = occupied.shape

    def at_finest(
        self, values: Float[Tensor, "voxel channel"], index: Int[Tensor, "fine 4"], stride: int
    ) -> Float[Tensor, "fine channel"]:
        """For voxels of the finest level, the values of this level's voxels that contain them.

        Args:
            values: one row per non-empty voxel of this level.
            index: non-empty voxels (batch, x, y, z) of the finest level.
            stride: the stride of this level.
        """
        row = torch.full(self.shape, -1, dtype=torch.long, device=index.device)
        row[self.index.unbind(1)] = torch.arange(self.index.shape[0], device=index.device)
        parent = index // index.new_tensor([1, stride, stride, stride])
        return values.index_select(0, row[parent.unbind(1)])


class NeighbourhoodSelector(nn.Module):
    """Query features -> k, a whole number through which gradients flow.

    An MLP gives logits over the candidates, whose Gumbel-softmax weights the candidates. Their
    expectation is rounded, with a straight-through gradient (TACOcc, "Adaptive Neighborhood
    Selector"). In evaluation there is no noise.
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
    """One direction at one level: the weight omega of each query, from its own features and those
    of its neighbours of the other sensor.
    """

    def __init__(self, channels: int, candidates: tuple[int, ...], radius: float) -> None:
        super().__init__()
        self.candidates, self.radius = candidates, radius
        self.selector = NeighbourhoodSelector(channels, candidates)
        # features vary by orders of magnitude, as the probabilities of the depths do
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.Sequential(
            nn.Linear((1 + candidates[-1]) * channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )

    def forward(
        self, queries: NonEmptyVoxels, keys: NonEmptyVoxels
    ) -> tuple[Float[Tensor, "query channel"], Int[Tensor, " candidate"]]:
        """The weights omega, and how many queries chose each candidate.

        The weights are 0 for queries without a neighbour. They are rectified, not squashed (as in
        Co-Occ), so that neighbours can amplify a feature as well as attenuate it.
        """
        found = nearest_neighbours(
            queries.index, keys.index, self.candidates[-1], self.radius, keys.shape
        )
        matched = (found.row[:, 0] >= 0).nonzero()[:, 0]  # [M]
        query = self.norm(queries.features.index_select(0, matched))
        k = self.selector(query)  # [M]
        neighbour = torch.arange(self.candidates[-1], device=k.device)
        # 1 for the first k neighbours, 0 for the others; k gets a gradient from the last one that
        # is retrieved and from the first one left out, which lie on the two edges of the clamp
        retrieved = (k[:, None] - neighbour).clamp(0, 1)  # [M, K]
        known = self.norm(keys.features)
        padded = torch.cat([known.new_zeros(1, known.shape[1]), known])  # first row: no neighbour
        row = 1 + found.row.index_select(0, matched)  # [M, K]
        key = F.embedding(row, padded)  # [M, K, C]
        key = key * retrieved[..., None].to(padded.dtype)
        omega = torch.relu(self.attention(torch.cat([query, key.flatten(1)], dim=1)))
        weights = omega.new_zeros(queries.features.shape).index_put((matched,), omega)
        counts = torch.stack([(k.detach() == candidate).sum() for candidate in self.candidates])
        return weights, counts


class AdaptiveFusion(nn.Module):
    """Target-adaptive, bidirectional, symmetric retrieval over a pyramid (MSPF), fused by Eq. 1."""

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
        """Fuses the volumes; voxels of zeros count as empty, neither queries nor keys."""
        image, lidar = self.pyramid(image_volume), self.pyramid(lidar_volume)
        weight = self.reduce[0].weight
        assert isinstance(weight, Tensor)
        parts = iter(weight.flatten(1).split(image_volume.shape[1], dim=1))  # [C, C] each
        # Eq. 1 reduces Concat(F_I, F_L, F_I * omega_I, F_L * omega_L), which is the sum of its
        # reduced parts; the last two are zero except at the queries
        reduced = F.linear(image_volume.permute(0, 2, 3, 4, 1), next(parts))  # [B, X, Y, Z, C]
        reduced = reduced + F.linear(lidar_volume.permute(0, 2, 3, 4, 1), next(parts))
        counts = []
        directions = ((self.image_queries, image, lidar), (self.lidar_queries, lidar, image))
        for shares, (retrievals, queries, keys) in zip(self.level_logits, directions, strict=True):
            if retrievals is None:
                continue
            omega, chosen = self.retrieve(retrievals, queries, keys, shares)
            index = queries[0].index.unbind(1)
            weighted = F.linear(queries[0].features * omega.to(reduced.dtype), next(parts))
            reduced = reduced.index_put(index, reduced[index] + weighted)
            counts += chosen
        return Fused(self.reduce[1:](reduced.permute(0, 4, 1, 2, 3)), torch.stack(counts))

    def retrieve(
        self,
        retrievals: nn.ModuleList,
        queries: list[NonEmptyVoxels],
        keys: list[NonEmptyVoxels],
        level_logits: Float[Tensor, " level"],
    ) -> tuple[Float[Tensor, "query channel"], list[Int[Tensor, " candidate"]]]:
        """One direction: omega at the finest level, averaged over the levels, and how many queries
        of each level chose each candidate.
        """
        shares = level_logits.softmax(dim=0)
        omega, counts = torch.zeros_like(queries[0].features), []
        for share, stride, retrieve, query, key in zip(
            shares, self.config.strides, retrievals, queries, keys, strict=True
        ):
            weights, count = retrieve(query, key)
            omega = omega + share * query.at_finest(weights, queries[0].index, stride)
            counts.append(count)
        return omega, counts

    def pyramid(self, volume: Float[Tensor, "batch channel x y z"]) -> list[NonEmptyVoxels]:
        """The non-empty voxels at every level, finest first."""
        occupied = non_empty(volume)
        return [NonEmptyVoxels(volume, occupied, stride) for stride in self.config.strides]


def anneal(model: nn.Module, progress: float) -> None:
    """Lowers the temperature of all selectors of a model geometrically over training.

    Args:
        model: any model; one without adaptive fusion is left as it is.
        progress: 0 at the start of training, where the temperature is 1.0; 1 at the end, where it
            is 0.1.
    """
    for module in model.modules():
        if isinstance(module, NeighbourhoodSelector):
            module.temperature.fill_(10.0 ** -min(max(progress, 0.0), 1.0))
