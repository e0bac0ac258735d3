"""Voxels -> Gaussians (GaussRender, section 3.3, "Voxel 'Gaussianization'"): one sphere of fixed
size at the centre of each voxel.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.interpolate import upsample
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.voxel_gaussians import DrawnVoxels
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid

SCALE = 0.5
"""Standard deviation in voxels: 2 s = c in the paper."""
MIN_OPACITY = 0.02
"""Voxels of a lower opacity are not drawn by default: they are many, and barely visible."""


def predicted_gaussians(
    logits: Float[Tensor, "class x y z"],
    grid: VoxelGrid,
    *,
    opacity: Float[Tensor, "x y z"] | None = None,
    ignored: Bool[Tensor, "x y z"] | None = None,
    scale: float = SCALE,
    min_opacity: float = MIN_OPACITY,
    empty: int = EMPTY,
) -> Gaussians:
    """One Gaussian for every visible voxel of a prediction.

    Its features are the probabilities of all classes, the empty one included.

    Args:
        opacity: learned opacities; None derives them from the probability of being empty.
        ignored: voxels to leave out.
        scale: standard deviation in voxels.
        min_opacity: voxels of a lower one are left out.
        empty: id of the empty class.
    """
    rows = logits.permute(1, 2, 3, 0)  # [X, Y, Z, class]
    with torch.no_grad():
        opacities = opacity
        if opacities is None:
            opacities = opacity_from_empty(rows.float().softmax(dim=-1)[..., empty])
        drawn = opacities >= min_opacity
        if ignored is not None:
            drawn &= ~ignored
        voxels = _from_above(drawn)
    # with gradients, of the drawn voxels alone: most are not
    probabilities = rows[voxels.unbind(1)].float().softmax(dim=1)
    if opacity is None:
        opacities = opacity_from_empty(probabilities[:, empty])
    else:
        opacities = opacity[voxels.unbind(1)]
    return _spheres(voxels, opacities, probabilities, grid, scale)


def cascade_gaussians(
    coarse: Float[Tensor, "class cx cy cz"],
    fine: Float[Tensor, "child class"],
    children: Int[Tensor, "child 3"],
    grid: VoxelGrid,
    *,
    ignored: Bool[Tensor, "x y z"] | None = None,
    scale: float = SCALE,
    min_opacity: float = MIN_OPACITY,
    empty: int = EMPTY,
) -> Gaussians:
    """As ``predicted_gaussians`` of the logits of a cascade, which the CPU need not make dense.

    Args:
        coarse: logits on the coarse grid.
        fine: logits of the voxels at ``children``; every other voxel of ``grid`` has those of its
            coarse one.
        children: voxels (x, y, z) of ``grid``: all children of a coarse voxel or none, without
            duplicates.
        ignored: voxels to leave out.
        scale: standard deviation in voxels.
        min_opacity: voxels of a lower one are left out.
        empty: id of the empty class.
    """
    ratio = grid.shape[0] // coarse.shape[1]
    if not backend.use_kernel("cascade_gaussians", coarse, fine):
        dense = upsample(coarse, ratio).permute(1, 2, 3, 0)
        dense = dense.index_put(children.unbind(1), fine.to(dense.dtype)).permute(3, 0, 1, 2)
        return predicted_gaussians(
            dense, grid, ignored=ignored, scale=scale, min_opacity=min_opacity, empty=empty
        )
    with torch.no_grad():
        drawn = opacity_from_empty(coarse.float().softmax(dim=0)[empty]) >= min_opacity
        drawn[(children // ratio).unbind(1)] = False  # their children are drawn instead
        coarse_row = torch.full(drawn.shape, -1, dtype=torch.int32)
        rows = torch.arange(len(fine), len(fine) + int(drawn.sum()), dtype=torch.int32)
        coarse_row[drawn] = rows
        row_of = coarse_row.permute(2, 1, 0)  # [Z, Y, X], the order of the camera above
        for axis in range(3):
            row_of = row_of.repeat_interleave(ratio, dim=axis)
        row_of.permute(2, 1, 0)[children.unbind(1)] = torch.arange(len(fine), dtype=torch.int32)
        if ignored is not None:
            row_of[ignored.permute(2, 1, 0)] = -1
    logits = torch.cat([fine, coarse[:, drawn].T]).float()
    probabilities, opacities, voxels = DrawnVoxels.apply(logits, row_of, min_opacity, empty)
    return _spheres(voxels, opacities, probabilities, grid, scale)


def true_gaussians(
    labels: UInt8[Tensor, "x y z"],
    classes: int,
    grid: VoxelGrid,
    *,
    scale: float = SCALE,
    empty: int = EMPTY,
) -> Gaussians:
    """One opaque Gaussian for every occupied voxel of labels, whether true or predicted; none for
    empty and ignored voxels.

    Args:
        classes: number of classes, the empty one included.
        scale: standard deviation in voxels.
        empty: id of the empty class.
    """
    voxels = _from_above((labels != empty) & (labels != IGNORE))
    features = torch.eye(classes, device=labels.device)[labels[voxels.unbind(1)].long()]
    return _spheres(voxels, features.new_ones(len(features)), features, grid, scale)


def centred_inside(gaussians: Gaussians, camera: Cameras) -> Gaussians:
    """The Gaussians whose centres project into the image of a single perspective view, beyond its
    near plane.
    """
    pose, lens = camera.camera_from_grid[0], camera.intrinsics[0]
    in_camera = gaussians.means @ pose[:3, :3].T + pose[:3, 3]
    pixel = in_camera @ lens[:2].T / in_camera[:, 2:].clamp(min=camera.near_m)
    size = pixel.new_tensor([camera.size[1], camera.size[0]])
    inside = ((pixel >= -0.5) & (pixel < size - 0.5)).all(dim=1) & (in_camera[:, 2] > camera.near_m)
    return Gaussians(*(getattr(gaussians, each.name)[inside] for each in fields(gaussians)))


def opacity_from_empty(empty: Float[Tensor, "*voxel"]) -> Float[Tensor, "*voxel"]:
    """Opacity 1 - p', where p' is the probability p of being empty, driven to 0 or 1: p' = p^2
    below 1/2 and 1 - (1 - p)^2 above (as in the authors' code).
    """
    return torch.where(empty < 0.5, 1 - empty**2, (1 - empty) ** 2)


def _from_above(drawn: Bool[Tensor, "x y z"]) -> Int[Tensor, "drawn 3"]:
    """The voxels to draw, highest first, row by row: in the order in which the camera above draws
    them, so that it walks straight through memory.
    """
    z, y, x = drawn.permute(2, 1, 0).flip(0).nonzero().unbind(1)
    return torch.stack([x, y, drawn.shape[2] - 1 - z], dim=1)


def _spheres(
    voxels: Tensor, opacities: Tensor, features: Tensor, grid: VoxelGrid, scale: float
) -> Gaussians:
    centres = grid.centres(voxels)
    identity = centres.new_tensor([1.0, 0, 0, 0])
    return Gaussians(
        means=centres,
        quaternions=identity.expand(len(centres), 4),
        scales=centres.new_full((len(centres), 3), scale * grid.voxel_size_m),
        opacities=opacities,
        features=features,
    )
