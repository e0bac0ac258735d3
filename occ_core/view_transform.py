"""Image features -> volume: each feature is lifted along its ray by a depth distribution and
splatted into voxels (LSS, reference 42 of TACOcc; depth as in BEVDepth).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.sample_images import sample_images
from occ_core.ops.splat import splat
from occ_core.voxel_grid import VoxelGrid

SamplePoints = Callable[[Tensor, Tensor], Tensor]
"""Points [P, 3] in metres in the grid frame, and the sample of the batch that each belongs to
[P] -> features [P, C].
"""


@dataclass(frozen=True, kw_only=True)
class DepthBins:
    """Bins of depth along the optical axis: of width ``step_m``, from ``min_m`` to ``max_m``.

    Raises:
        ValueError: the bins are not of positive depth and width.
    """

    min_m: float = 2.0
    max_m: float = 58.0
    step_m: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.min_m < self.max_m or self.step_m <= 0:
            raise ValueError(f"DepthBins needs 0 < min_m < max_m and step_m > 0, got {self}")

    @property
    def count(self) -> int:
        """Number of bins."""
        return round((self.max_m - self.min_m) / self.step_m)

    def centres(self, device: torch.device) -> Float[Tensor, " bin"]:
        """Middle of each bin in metres."""
        return self.min_m + (torch.arange(self.count, device=device) + 0.5) * self.step_m

    def index(self, depth_m: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Bin of each depth; -1 outside the bins."""
        index = torch.floor((depth_m - self.min_m) / self.step_m).long()
        return torch.where((index >= 0) & (index < self.count), index, -1)


class ViewTransform(nn.Module):
    """Lifts and splats the feature images of all cameras of a batch.

    Args:
        bins: depths that a feature may lie at.
        grid: grid of the resulting volume.
        stride: width of a feature cell in pixels.
        normalised: make a voxel's features the mean over the rays that pass it instead of LSS's
            sum, and its last channel the mass, the sum of the rays' depth probabilities. A sum is
            faint wherever the depth is uncertain or few rays pass, which is where no LiDAR point
            is.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bins: DepthBins,
        grid: VoxelGrid,
        stride: int,
        *,
        normalised: bool = False,
    ) -> None:
        super().__init__()
        self.bins, self.grid, self.stride, self.out_channels = bins, grid, stride, out_channels
        self.normalised = normalised
        # how far away a thing of some size in the image is depends on the lens (BEVDepth)
        self.camera = nn.Linear(4, in_channels)
        self.depth = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, bins.count, 1),
        )
        self.context = nn.Conv2d(in_channels, out_channels - normalised, 1)

    def forward(
        self,
        features: Float[Tensor, "image channel h w"],
        intrinsics: Float[Tensor, "image 3 3"],
        grid_from_camera: Float[Tensor, "image 4 4"],
        sample: Int[Tensor, " image"],
        batch_size: int,
    ) -> tuple[Float[Tensor, "batch out x y z"], Float[Tensor, "image bin h w"]]:
        """The volumes of the batch, and the logits of the depth bins for supervision.

        Args:
            intrinsics: in pixels of the images.
            sample: sample of the batch that each image belongs to.
        """
        h, w = features.shape[-2:]
        depth_logits = self.depth_logits(features, intrinsics)
        context = self.context(features)  # [K, C, h, w]
        if self.normalised:
            context = torch.cat([context, torch.ones_like(context[:, :1])], dim=1)
        volume = splat(
            context,
            weight=depth_logits.softmax(dim=1),
            rays=cell_rays(intrinsics, grid_from_camera, (h, w), self.stride),
            origins=grid_from_camera[:, :3, 3],
            depth_m=self.bins.centres(intrinsics.device),
            sample=sample,
            grid=self.grid,
            batch_size=batch_size,
        ).to(context.dtype)
        if self.normalised:
            volume = mean_and_mass(volume)
        volume = volume.view(batch_size, *self.grid.shape, self.out_channels)
        return volume.permute(0, 4, 1, 2, 3), depth_logits

    def depth_logits(
        self, features: Float[Tensor, "image channel h w"], intrinsics: Float[Tensor, "image 3 3"]
    ) -> Float[Tensor, "image bin h w"]:
        """Logits of the depth bins of each cell."""
        focal_and_centre = intrinsics[:, [0, 1, 0, 1], [0, 1, 2, 2]]  # [K, 4], in pixels
        lens = focal_and_centre * (1.0 / (self.stride * features.shape[-1]))  # in image widths
        scale = torch.sigmoid(self.camera(lens))[:, :, None, None]
        logits: Tensor = self.depth(features * scale)
        return logits

    def sampler(
        self,
        features: Float[Tensor, "image channel h w"],
        intrinsics: Float[Tensor, "image 3 3"],
        grid_from_camera: Float[Tensor, "image 4 4"],
        sample: Int[Tensor, " image"],
    ) -> SamplePoints:
        """The function that looks up the image features at points in space: ``sample_images``."""
        camera_from_grid = torch.linalg.inv(grid_from_camera)
        return partial(sample_images, features, intrinsics, camera_from_grid, sample, self.stride)


@torch.autocast("cpu", enabled=False)  # bfloat16 would move points by decimetres
@torch.autocast("cuda", enabled=False)
def cell_rays(
    intrinsics: Float[Tensor, "image 3 3"],
    grid_from_camera: Float[Tensor, "image 4 4"],
    size: tuple[int, int],
    stride: int,
) -> Float[Tensor, "image h w 3"]:
    """Rays through the centres of the feature cells, in the grid frame, at depth 1.

    Args:
        intrinsics: in pixels of the images.
        size: (height, width) of a feature map.
        stride: width of a feature cell in pixels.
    """
    h, w = size
    device = intrinsics.device
    # in pixels, whose centres lie at integers
    u = (torch.arange(w, device=device) + 0.5) * stride - 0.5
    v = (torch.arange(h, device=device) + 0.5) * stride - 0.5
    one = torch.ones(1, 1, device=device)
    pixels = torch.stack(torch.broadcast_tensors(u[None, :], v[:, None], one), dim=-1)
    grid_from_pixel = grid_from_camera[:, :3, :3] @ torch.linalg.inv(intrinsics)
    return torch.einsum("kij,hwj->khwi", grid_from_pixel, pixels)


FAINT_MASS = 0.03
"""Mass of a voxel at which its mean features count half: less is chance, not evidence."""


def mean_and_mass(sums: Float[Tensor, "voxel channel"]) -> Float[Tensor, "voxel channel"]:
    """Divides summed features by their mass, which fades out the features of voxels with next to
    none.

    Args:
        sums: sums of weighted features; the last channel is the sum of the weights.

    Returns:
        The means, and as last channel ``log(1 + mass / FAINT_MASS)``.
    """
    # at least in float32: torch divides bfloat16 rows by a column one by one
    values = sums.to(torch.promote_types(sums.dtype, torch.float32))
    mass = values[:, -1:]
    means = torch.cat([values[:, :-1] / (mass + FAINT_MASS), torch.log1p(mass / FAINT_MASS)], dim=1)
    return means.to(sums.dtype)


class NoViewTransform(nn.Module):
    """The view transform of a model without cameras: volumes and features without channels."""

    def __init__(self, grid: VoxelGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(
        self,
        features: Tensor,
        intrinsics: Tensor,
        grid_from_camera: Tensor,
        sample: Tensor,
        batch_size: int,
    ) -> tuple[Float[Tensor, "batch 0 x y z"], None]:
        """An image volume without channels, and no depth logits."""
        return intrinsics.new_zeros(batch_size, 0, *self.grid.shape), None

    def sampler(self, *cameras: Tensor) -> SamplePoints:
        """The function that gives every point features without channels."""
        return no_features


def no_features(points_m: Float[Tensor, "p 3"], sample: Tensor) -> Float[Tensor, "p 0"]:
    """Features without channels, of a sensor or part that a model lacks."""
    return points_m.new_zeros(points_m.shape[0], 0)
