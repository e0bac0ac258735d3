"""Image features -> volume: lift each feature along its ray by a depth distribution, splat into
voxels (LSS [42 of TACOcc]).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from occ_core.ops.cpu import interpolate as compiled
from occ_core.ops.cpu import splat as splat_compiled
from occ_core.ops.interpolate import interpolate
from occ_core.ops.sparse import linear_index
from occ_core.voxel_grid import VoxelGrid

NEAREST_M = 0.1
"""Nothing nearer to a camera is looked up in its image."""


@dataclass(frozen=True, kw_only=True)
class DepthBins:
    """Depths along the optical axis that a feature may lie at: ``min_m``, ``min_m + step_m``, ...
    below ``max_m``.
    """

    min_m: float = 2.0
    max_m: float = 58.0
    step_m: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.min_m < self.max_m or self.step_m <= 0:
            raise ValueError(f"DepthBins needs 0 < min_m < max_m and step_m > 0, got {self}")

    @property
    def count(self) -> int:
        return round((self.max_m - self.min_m) / self.step_m)

    def centres(self, device: torch.device) -> Float[Tensor, " bin"]:
        """Middle of each bin in metres."""
        return self.min_m + (torch.arange(self.count, device=device) + 0.5) * self.step_m

    def index(self, depth_m: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Bin of each depth; -1 outside the bins."""
        index = torch.floor((depth_m - self.min_m) / self.step_m).long()
        return torch.where((index >= 0) & (index < self.count), index, -1)


class ViewTransform(nn.Module):
    """Lift-splat: features [K, C, h, w] of K cameras -> volume of the whole batch, and the depth
    logits for supervision.
    """

    def __init__(
        self, in_channels: int, out_channels: int, bins: DepthBins, grid: VoxelGrid, stride: int
    ) -> None:
        super().__init__()
        self.bins, self.grid, self.stride, self.out_channels = bins, grid, stride, out_channels
        self.camera = nn.Linear(
            4, in_channels
        )  # focal lengths and centre tell the scale of what is seen (BEVDepth)
        self.depth = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, bins.count, 1),
        )
        self.context = nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self,
        features: Float[Tensor, "image channel h w"],
        intrinsics: Float[Tensor, "image 3 3"],
        grid_from_camera: Float[Tensor, "image 4 4"],
        sample: Int[Tensor, " image"],
        batch_size: int,
    ) -> tuple[Float[Tensor, "batch out x y z"], Float[Tensor, "image bin h w"]]:
        """``sample`` tells which sample of the batch each image belongs to."""
        h, w = features.shape[-2:]
        scale = 1.0 / (self.stride * w)  # in image widths
        lens = (
            torch.stack(
                [
                    intrinsics[:, 0, 0],
                    intrinsics[:, 1, 1],
                    intrinsics[:, 0, 2],
                    intrinsics[:, 1, 2],
                ],
                dim=1,
            )
            * scale
        )
        depth_logits = self.depth(
            features * torch.sigmoid(self.camera(lens))[:, :, None, None]
        )  # [K, D, h, w]
        context = self.context(features)  # [K, C, h, w]

        rays = self.rays(intrinsics, grid_from_camera, (h, w))  # [K, h, w, 3]
        origins, weight = grid_from_camera[:, :3, 3], depth_logits.softmax(dim=1)
        splat = splat_compiled.splat if compiled.is_for(context, rays, origins) else self.splat
        volume = splat(
            context,
            weight,
            rays,
            origins,
            self.bins.centres(rays.device),
            sample,
            self.grid,
            batch_size,
        )
        volume = volume.to(context.dtype).view(batch_size, *self.grid.shape, self.out_channels)
        return volume.permute(0, 4, 1, 2, 3), depth_logits

    @torch.autocast("cpu", enabled=False)  # bfloat16 would move points by decimetres
    @torch.autocast("cuda", enabled=False)
    def rays(
        self,
        intrinsics: Float[Tensor, "image 3 3"],
        grid_from_camera: Float[Tensor, "image 4 4"],
        size: tuple[int, int],
    ) -> Float[Tensor, "image h w 3"]:
        """The ray of every feature cell's centre, in the grid frame, at depth 1."""
        h, w = size
        device = intrinsics.device
        v = (
            torch.arange(h, device=device) + 0.5
        ) * self.stride - 0.5  # pixel centres lie at integers
        u = (torch.arange(w, device=device) + 0.5) * self.stride - 0.5
        pixels = torch.stack(
            torch.broadcast_tensors(u[None, :], v[:, None], torch.ones(1, 1, device=device)), dim=-1
        )  # [h, w, 3]
        return torch.einsum(
            "kij,hwj->khwi", grid_from_camera[:, :3, :3] @ torch.linalg.inv(intrinsics), pixels
        )

    @staticmethod
    def splat(
        context: Float[Tensor, "image channel h w"],
        weight: Float[Tensor, "image bin h w"],
        rays: Float[Tensor, "image h w 3"],
        origins: Float[Tensor, "image 3"],
        depth_m: Float[Tensor, " bin"],
        sample: Int[Tensor, " image"],
        grid: VoxelGrid,
        batch_size: int,
    ) -> Float[Tensor, "cell channel"]:
        """What ``splat_compiled`` computes, which see."""
        points = rays[:, None] * depth_m.view(1, -1, 1, 1, 1) + origins.view(
            -1, 1, 1, 1, 3
        )  # [K, D, h, w, 3]
        index = grid.index(points)
        inside = grid.contains(index)  # [K, D, h, w]
        cell = linear_index(
            torch.cat([sample.view(-1, 1, 1, 1, 1).expand_as(index[..., :1]), index], dim=-1)[
                inside
            ],
            grid.shape,
        )
        image, bin_, row, column = inside.nonzero(as_tuple=True)
        lifted = context.permute(0, 2, 3, 1)[image, row, column]  # [P, C]
        volume = lifted.new_zeros(batch_size * math.prod(grid.shape), lifted.shape[1])
        return volume.index_add(
            0, cell, lifted * weight[image, bin_, row, column][:, None].to(lifted.dtype)
        )


@torch.autocast("cpu", enabled=False)  # bfloat16 would move pixels
@torch.autocast("cuda", enabled=False)
def sample_images(
    features: Float[Tensor, "image channel h w"],
    intrinsics: Float[Tensor, "image 3 3"],
    camera_from_grid: Float[Tensor, "image 4 4"],
    sample: Int[Tensor, " image"],
    stride: int,
    points: Float[Tensor, "point 3"],
    point_sample: Int[Tensor, " point"],
) -> Float[Tensor, "point channel"]:
    """Mean over the cameras that see a point of the image feature it projects to; zero where none
    sees it.
    """
    height, width = features.shape[-2:]
    if compiled.is_for(features, intrinsics, camera_from_grid, points):
        table = features.movedim(1, -1).flatten(0, -2).float()  # [K * h * w, C]
        found = compiled.from_cameras(
            table,
            (height, width),
            intrinsics,
            camera_from_grid,
            sample,
            stride,
            NEAREST_M,
            points,
            point_sample,
        )
        return found.to(features.dtype)
    in_camera = torch.baddbmm(
        camera_from_grid[:, None, :3, 3],
        points.expand(len(features), -1, -1),
        camera_from_grid[:, :3, :3].mT,
    )  # [K, P, 3]
    pixel = torch.bmm(in_camera, intrinsics.mT)[..., :2] / in_camera[..., 2:].clamp(
        min=NEAREST_M
    )  # (u, v)
    cell = (pixel.flip(-1) + 0.5) / stride - 0.5  # (row, column), centres at integers
    inside = ((cell > -0.5) & (cell < cell.new_tensor([height, width]) - 0.5)).all(dim=-1)
    seen = inside & (in_camera[..., 2] > NEAREST_M) & (point_sample == sample[:, None])
    camera, point = seen.nonzero(as_tuple=True)  # [S]
    found = interpolate(features, cell[camera, point], camera)  # [S, C]
    total = features.new_zeros(len(points), features.shape[1]).index_add(0, point, found)
    return total / seen.sum(dim=0).clamp(min=1)[:, None].to(total.dtype)
