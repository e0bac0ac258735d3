"""Semantic supervision of the image features: what does each cell of a feature map show?

The losses on voxels teach the image branch next to nothing where the LiDAR alone can name a voxel.
This one reaches the images directly, and also in frames without LiDAR.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from occ_core.interface import CameraFeatures
from occ_core.losses.cross_entropy import cross_entropy
from occ_core.ops.ray_casting import cast_rays
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.view_transform import cell_rays
from occ_core.voxel_grid import VoxelGrid


def image_class_loss(
    logits: Float[Tensor, "image class h w"],
    target: Int[Tensor, "image h w"],
    class_weights: Float[Tensor, " class"],
) -> Float[Tensor, ""]:
    """Weighted cross entropy over the cells with a target; 0 without any.

    Args:
        target: class id of each cell, 255 ignored.
    """
    rows = logits.movedim(1, -1).flatten(0, 2)  # [cell, class]
    return cross_entropy(rows, target.flatten(), class_weights)


@torch.no_grad()
def image_class_targets(
    labels: UInt8[Tensor, "batch x y z"],
    grid: VoxelGrid,
    cameras: CameraFeatures,
    stride: int,
    empty: int = EMPTY,
) -> Int[Tensor, "image h w"]:
    """Class of the first occupied voxel that the ray through the centre of each cell meets.

    Cells whose ray leaves the grid without meeting one are ignored (255), because the sky and a
    house beyond the grid look different; so are all cells of a camera outside the grid.

    Args:
        labels: class ids, 255 ignored.
        stride: width of a feature cell in pixels.
        empty: id of the empty class.
    """
    h, w = cameras.features.shape[-2:]
    target = labels.new_full((len(cameras.features), h, w), IGNORE, dtype=torch.long)
    known = torch.where(labels == IGNORE, empty, labels)
    rays = cell_rays(cameras.intrinsics, cameras.grid_from_camera, (h, w), stride)
    directions = torch.nn.functional.normalize(rays.double(), dim=-1)
    origins = cameras.grid_from_camera[:, :3, 3]
    for image in grid.contains(grid.index(origins)).nonzero()[:, 0].tolist():
        origin = origins[image].expand(h * w, 3)
        rays_m = directions[image].view(-1, 3)
        hits = cast_rays(known[cameras.sample[image]], grid, origin, rays_m, empty)
        label = hits.label.long().view(h, w)
        target[image] = torch.where(label == empty, IGNORE, label)
    return target
