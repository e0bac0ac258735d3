"""Fused volume -> encoded volume, as in OccMamba (Li et al., CVPR 2025, Fig. 2): a hierarchical
Mamba module for the global context, then a local context processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from occ_core.baselines.halving import halvable, halved
from occ_core.baselines.occmamba.hilbert import height_first_order
from occ_core.baselines.occmamba.mamba import MambaLayers
from occ_core.volume_encoder import Pointwise, convolution

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class OccMambaConfig:
    """OccMamba's encoder; the defaults are the authors' larger model.

    Raises:
        ValueError: a field is out of range; the text names it and its value.
    """

    channels: int = 384
    """Channels of the sequences."""
    layers: tuple[int, ...] = (2, 2, 2, 2)
    """Mamba layers at each resolution, finest first, on the way down and again on the way up."""
    state: int = 16
    """Numbers of state per inner channel of a Mamba layer."""
    expand: int = 2
    """Inner channels of a Mamba layer per channel."""
    patches: tuple[int, ...] = (3, 5, 7)
    """Sides in columns of the local context processor's patches; empty: without the processor."""
    patch_channels: int = 256
    """Channels of the sequences of a patch."""

    def __post_init__(self) -> None:
        if self.channels < 8 or self.channels % 8 or min(self.state, self.expand) < 1:
            raise ValueError(
                "OccMambaConfig needs channels in multiples of 8, state and expand >= 1, got "
                f"{self}"
            )
        if not self.layers or min(self.layers) < 1:
            raise ValueError(
                f"OccMambaConfig.layers must be at least 1 per resolution, got {self.layers}"
            )
        if min(self.patches, default=2) < 2 or self.patch_channels < 1:
            raise ValueError(
                "OccMambaConfig.patches must be 2 columns or more and patch_channels at least 1, "
                f"got {self.patches} and {self.patch_channels}"
            )


class OccMambaEncoder(nn.Module):
    """Positions are told to the voxels, Mamba layers see the whole scene, and those of the local
    context processor the neighbourhood.

    Args:
        channels: channels of the volume and of the result.
        shape: number of voxels along x, y, z.
        config: everything else.
    """

    def __init__(self, channels: int, shape: Shape, config: OccMambaConfig) -> None:
        super().__init__()
        inner = config.channels
        axes = (torch.linspace(-1, 1, cells) for cells in shape)
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # [3, X, Y, Z]
        self.register_buffer("place", place, persistent=False)
        self.enter = nn.Sequential(
            Pointwise(channels + 3, inner, bias=False),
            nn.GroupNorm(8, inner),
            nn.ReLU(inplace=True),
            Pointwise(inner, inner),
        )
        self.position = nn.Sequential(Pointwise(3, inner), nn.GELU(), Pointwise(inner, inner))
        self.whole_scene = HierarchicalMamba(shape, config)
        self.narrow = _normalised(Pointwise(inner, channels, bias=False), channels)
        self.neighbourhood: nn.Module = nn.Identity()
        if config.patches:
            self.neighbourhood = LocalContext(channels, shape[2], config)

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        place = self.get_buffer("place").to(volume.dtype).expand(len(volume), -1, -1, -1, -1)
        placed = self.enter(torch.cat([volume, place], dim=1)) + self.position(place)
        return self.neighbourhood(self.narrow(self.whole_scene(placed)))


class HierarchicalMamba(nn.Module):
    """An encoder and a decoder of Mamba layers over the volume as one sequence, at resolutions that
    halve, with connections between equal ones.
    """

    def __init__(self, shape: Shape, config: OccMambaConfig) -> None:
        super().__init__()
        channels = config.channels
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.halve, self.join = nn.ModuleList(), nn.ModuleList()
        for level, layers in enumerate(config.layers):
            if level:
                x, y, z = (halved(cells) for cells in shape)
                shape = (x, y, z)
                self.halve.append(
                    nn.Sequential(
                        convolution(channels, channels, stride=2, factorised=False),
                        nn.ReLU(inplace=True),
                    )
                )
                self.join.append(
                    nn.Sequential(
                        convolution(2 * channels, channels, factorised=False), nn.ReLU(inplace=True)
                    )
                )
            self.down.append(VolumeMamba(shape, layers, config))
            self.up.append(VolumeMamba(shape, layers, config))

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        passed = [self.down[0](volume)]
        for halve, mamba in zip(self.halve, self.down[1:], strict=True):
            passed.append(mamba(halve(halvable(passed[-1]))))
        volume = self.up[-1](passed.pop())
        for join, mamba in zip(reversed(self.join), reversed(self.up[:-1]), strict=True):
            finer = passed.pop()
            coarser = F.interpolate(volume, size=finer.shape[2:], mode="trilinear")
            volume = mamba(join(torch.cat([coarser, finer], dim=1)))
        return volume


class VolumeMamba(nn.Module):
    """Mamba layers over the voxels of a volume in height-prioritised Hilbert order."""

    def __init__(self, shape: Shape, layers: int, config: OccMambaConfig) -> None:
        super().__init__()
        order = height_first_order(shape)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort(), persistent=False)
        self.mamba = MambaLayers(config.channels, layers, config.state, config.expand)

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        voxels = volume.permute(0, 2, 3, 4, 1).flatten(1, 3)  # [B, X * Y * Z, C]
        sequence = self.mamba(voxels.index_select(1, self.get_buffer("order")))
        voxels = sequence.index_select(1, self.get_buffer("place")).to(volume.dtype)
        return voxels.unflatten(1, volume.shape[2:]).permute(0, 4, 1, 2, 3)


class LocalContext(nn.Module):
    """Mamba layers within patches of columns, cut in several sizes so that the borders of one lie
    inside another; the results are joined by a 1x1x1 convolution.

    Args:
        channels: channels of the volume and of the result.
        heights: number of voxels along z.
        config: sizes of the patches and of the layers.
    """

    def __init__(self, channels: int, heights: int, config: OccMambaConfig) -> None:
        super().__init__()
        inner = config.patch_channels
        self.sides = config.patches
        self.enter, self.mambas = nn.ModuleList(), nn.ModuleList()
        for side in self.sides:
            order = height_first_order((side, side, heights))
            self.register_buffer(f"order_{side}", order, persistent=False)
            self.enter.append(nn.Linear(channels, inner))
            self.mambas.append(MambaLayers(inner, layers=2, state=config.state, expand=1))
        joined = Pointwise(inner * len(self.sides), channels, bias=False)
        self.join = _normalised(joined, channels)

    def forward(
        self, volume: Float[Tensor, "batch channel x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        found = [
            self.within_patches(volume, side, nn.Sequential(enter, mamba))
            for side, enter, mamba in zip(self.sides, self.enter, self.mambas, strict=True)
        ]
        return self.join(torch.cat(found, dim=1).to(volume.dtype))

    def within_patches(
        self, volume: Float[Tensor, "batch channel x y z"], side: int, layers: nn.Module
    ) -> Float[Tensor, "batch inner x y z"]:
        """The result of layers that see one patch of ``side`` x ``side`` columns at a time; patches
        that reach over the border are filled with zeros.
        """
        batch, _, x, y, z = volume.shape
        rows = F.pad(volume.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, -y % side, 0, -x % side))
        patches = rows.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        across, along = patches.shape[1:3]  # [B, PX, PY, side, side, Z, C]
        order = self.get_buffer(f"order_{side}")
        sequences = patches.flatten(0, 2).flatten(1, 3).index_select(1, order)
        found = layers(sequences).index_select(1, order.argsort())
        patches = found.view(batch, across, along, side, side, z, -1).transpose(2, 3)
        rows = patches.flatten(3, 4).flatten(1, 2)  # [B, PX * side, PY * side, Z, inner]
        return rows[:, :x, :y].permute(0, 4, 1, 2, 3)


def _normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.GroupNorm(8, channels), nn.ReLU(inplace=True))
