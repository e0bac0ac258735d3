"""Image features at points in space."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import sample_images as kernels
from occ_core.ops.cpu.arrays import arrays
from occ_core.ops.interpolate import interpolate

NEAREST_M = 0.1
"""Points nearer to a camera are not looked up in its image."""


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
    """Mean, over the cameras that see a point, of the feature that it projects to.

    Features are interpolated bilinearly; a point that no camera of its sample sees gets zeros.

    Args:
        intrinsics: in pixels of the images.
        sample: sample of the batch that each image belongs to.
        stride: width of a feature cell in pixels.
        points: in metres, in the grid frame.
        point_sample: sample of the batch that each point belongs to.
    """
    height, width = features.shape[-2:]
    geometry = (intrinsics, camera_from_grid, points)
    if backend.use_kernel("sample_images", features, constants=geometry):
        table = features.movedim(1, -1).flatten(0, -2).float()  # [K * h * w, C]
        cameras = (intrinsics.float(), camera_from_grid.float(), sample)
        lookup = kernels.Lookup(*arrays(*cameras, points.float(), point_sample))
        image = kernels.FeatureImage(height, width, np.float32(stride), np.float32(NEAREST_M))
        return kernels.SampleImagesKernel.apply(table, lookup, image).to(features.dtype)
    in_camera = torch.baddbmm(
        camera_from_grid[:, None, :3, 3],
        points.expand(len(features), -1, -1),
        camera_from_grid[:, :3, :3].mT,
    )  # [K, P, 3]
    homogeneous = torch.bmm(in_camera, intrinsics.mT)  # [K, P, 3]
    pixel = homogeneous[..., :2] / in_camera[..., 2:].clamp(min=NEAREST_M)  # (u, v)
    cell = (pixel.flip(-1) + 0.5) / stride - 0.5  # (row, column), centres at integers
    inside = ((cell > -0.5) & (cell < cell.new_tensor([height, width]) - 0.5)).all(dim=-1)
    seen = inside & (in_camera[..., 2] > NEAREST_M) & (point_sample == sample[:, None])
    camera, point = seen.nonzero(as_tuple=True)  # [S]
    found = interpolate(features, cell[camera, point], camera).float()  # [S, C]
    total = found.new_zeros(points.shape[0], features.shape[1]).index_add(0, point, found)
    return (total / seen.sum(dim=0).clamp(min=1)[:, None]).to(features.dtype)
