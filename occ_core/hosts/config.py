"""The shapes of the hosts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TPVFormerConfig:
    """TPVFormer (Huang et al., CVPR 2023) as GaussRender trains it; the defaults are its own."""

    channels: int = 256
    heads: int = 8
    layers: int = 3
    ratio: int = 2
    """Voxels per cell of a plane and axis."""
    pillars: tuple[int, int, int] = (4, 32, 32)
    """Reference points of a query along the axis that its plane lacks: z of the plane xy, y of xz, x of yz."""
    samples: tuple[int, int, int] = (8, 64, 64)
    """Samples of a query in each image level, shared out to its reference points."""
    levels: int = 4
    """Of the image pyramid, from stride 8 on."""

    def __post_init__(self) -> None:
        if any(samples % pillars for samples, pillars in zip(self.samples, self.pillars, strict=True)):
            raise ValueError(f"TPVFormerConfig.samples {self.samples} must be multiples of pillars {self.pillars}")
        if self.channels % self.heads or self.channels % 2:
            raise ValueError(f"TPVFormerConfig.channels {self.channels} must be a multiple of heads {self.heads}, and even")


@dataclass(frozen=True, kw_only=True)
class SurroundOccConfig:
    """SurroundOcc (Wei et al., ICCV 2023); the defaults are its own. Level l reads the images at stride 8 * 2**l."""

    channels: tuple[int, ...] = (128, 256, 512)
    """Of every level's volume, the finest first; the finest has half the voxels of the grid along each axis."""
    layers: tuple[int, ...] = (1, 3, 6)
    samples: tuple[int, ...] = (2, 4, 8)
    heads: int = 8

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.layers) == len(self.samples) >= 1:
            raise ValueError(
                f"SurroundOccConfig needs channels, layers and samples of every level, got {self.channels}, {self.layers}, "
                f"{self.samples}"
            )
        if any(channels % self.heads or channels % 32 for channels in self.channels):
            raise ValueError(f"SurroundOccConfig.channels {self.channels} must be multiples of heads {self.heads} and of 32")
