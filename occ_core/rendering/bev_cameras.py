"""GaussRender's bird's-eye cameras (section 3.2): the paper's, and that of the authors' code."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.voxel_grid import VoxelGrid

BEV_MARGIN_M = 1.0
"""Distance of the bird's-eye camera from the top of the grid."""


def bev_camera(
    grid: VoxelGrid, pixels_per_voxel: int = 2, device: torch.device | str = "cpu"
) -> Cameras:
    """The paper's bird's-eye camera: orthographic, over the whole grid, with x to the right and y
    up in the image.
    """
    size_m, low = grid.voxel_size_m, grid.min_m
    across, along = (pixels_per_voxel * cells for cells in grid.shape[:2])
    scale = pixels_per_voxel / size_m  # pixels per metre
    intrinsics = torch.tensor(
        [[scale, 0, -scale * low[0] - 0.5], [0, scale, scale * grid.range_m[4] - 0.5], [0, 0, 1]],
        device=device,
    )
    return Cameras(
        intrinsics[None],
        _down_from(grid.range_m[5] + BEV_MARGIN_M, device),
        (along, across),
        orthographic=True,
    )


def bev_pinhole(grid: VoxelGrid, pixels: int = 400, device: torch.device | str = "cpu") -> Cameras:
    """The bird's-eye camera of the authors' code: a pinhole as high above the origin as the grid is
    wide, with a focal length equal to its width in pixels. Its principal point is where the origin
    lies in the grid, so that a grid ahead of the origin fills the image too.
    """
    width_m = grid.range_m[3] - grid.range_m[0]
    column = -grid.range_m[0] / width_m * pixels - 0.5
    row = grid.range_m[4] / width_m * pixels - 0.5
    intrinsics = torch.tensor([[pixels, 0, column], [0, pixels, row], [0, 0, 1]], device=device)
    return Cameras(intrinsics.float()[None], _down_from(width_m, device), (pixels, pixels))


def _down_from(height_m: float, device: torch.device | str) -> Float[Tensor, "1 4 4"]:
    """``camera_from_grid`` of a camera at ``height_m`` that looks straight down at the origin, with
    y up in the image.
    """
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1], device=device))
    pose[2, 3] = height_m
    return pose[None]
