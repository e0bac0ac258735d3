"""Voxels -> Gaussians (GaussRender, section 3.3, "Voxel 'Gaussianization'"): one sphere a voxel, at
its centre, of fixed size.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from occ_core.rendering.cpu.voxel_gaussians import DrawnVoxels
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid

SCALE = 0.5
"""Standard deviation in voxels: the paper's 2 s = c."""
LEAST_OPACITY = 0.02
"""Fainter voxels are not drawn: they are many, and hardly show."""


def predicted_gaussians(
    logits: Float[Tensor, "class x y z"],
    grid: VoxelGrid,
    *,
    opacity: Float[Tensor, "x y z"] | None = None,
    ignored: Bool[Tensor, "x y z"] | None = None,
    scale: float = SCALE,
) -> Gaussians:
    """One Gaussian for every voxel of a prediction that can be seen; class probabilities, empty
    among them, are its features.

    Args:
        opacity: learned; None derives it from the probability of being empty.
        ignored: voxels that are left out.
        scale: standard deviation in voxels.
    """
    rows = logits.permute(1, 2, 3, 0)  # [X, Y, Z, class]
    with torch.no_grad():
        seen = (
            opacity_from_empty(rows.float().softmax(dim=-1)[..., EMPTY])
            if opacity is None
            else opacity
        )
        drawn = seen >= LEAST_OPACITY
        if ignored is not None:
            drawn &= ~ignored
        voxels = _from_above(drawn)
    probabilities = (
        rows[voxels.unbind(1)].float().softmax(dim=1)
    )  # of those drawn alone: most are not
    opacities = (
        opacity_from_empty(probabilities[:, EMPTY])
        if opacity is None
        else opacity[voxels.unbind(1)]
    )
    return _spheres(voxels, opacities, probabilities, grid, scale)


def cascade_gaussians(
    coarse: Float[Tensor, "class cx cy cz"],
    fine: Float[Tensor, "child class"],
    children: Int[Tensor, "child 3"],
    grid: VoxelGrid,
    *,
    ignored: Bool[Tensor, "x y z"] | None = None,
    scale: float = SCALE,
) -> Gaussians:
    """``predicted_gaussians(dense_logits(...))`` of a cascade, on the CPU, without making its
    logits dense; opacity is derived.

    Args:
        fine: of the voxels at ``children``, all or none of a parent's; all others of the grid have
            their parent's among
            ``coarse``.
        children: cells (x, y, z) of ``grid``, none of them twice.
        ignored: voxels that are left out.
        scale: standard deviation in voxels.
    """
    ratio = grid.shape[0] // coarse.shape[1]
    with torch.no_grad():
        whole = opacity_from_empty(coarse.float().softmax(dim=0)[EMPTY]) >= LEAST_OPACITY
        whole[(children // ratio).unbind(1)] = False  # what is left is drawn as it is
        parents = torch.full(whole.shape, -1, dtype=torch.int32)
        parents[whole] = torch.arange(len(fine), len(fine) + int(whole.sum()), dtype=torch.int32)
        row_of = parents.permute(2, 1, 0)  # [Z, Y, X], as the camera above goes through them
        for axis in range(3):
            row_of = row_of.repeat_interleave(ratio, dim=axis)
        row_of.permute(2, 1, 0)[children.unbind(1)] = torch.arange(len(fine), dtype=torch.int32)
        if ignored is not None:
            row_of[ignored.permute(2, 1, 0)] = -1
    said = torch.cat([fine, coarse[:, whole].T]).float()
    probabilities, opacities, voxels = DrawnVoxels.apply(said, row_of, LEAST_OPACITY)
    return _spheres(voxels, opacities, probabilities, grid, scale)


def true_gaussians(
    labels: UInt8[Tensor, "x y z"], classes: int, grid: VoxelGrid, *, scale: float = SCALE
) -> Gaussians:
    """One opaque Gaussian for every occupied voxel of a truth, or of a decided prediction; none for
    empty and ignored ones.
    """
    voxels = _from_above((labels != EMPTY) & (labels != IGNORE))
    features = torch.eye(classes, device=labels.device)[labels[voxels.unbind(1)].long()]
    return _spheres(voxels, features.new_ones(len(features)), features, grid, scale)


def opacity_from_empty(empty: Float[Tensor, "*voxel"]) -> Float[Tensor, "*voxel"]:
    """1 - p', the probability p of being empty driven to 0 or 1: p' = p^2 below 1/2, 1 - (1 - p)^2
    above (as released).
    """
    return torch.where(empty < 0.5, 1 - empty**2, (1 - empty) ** 2)


class OpacityNetwork(nn.Sequential):
    """Voxel features -> opacity, where a model has features (two hidden layers, as released);
    starts at sigmoid(-1) = 0.27.
    """

    def __init__(self, channels: int) -> None:
        last = nn.Linear(channels, 1)
        nn.init.zeros_(last.bias)
        super().__init__(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, features: Float[Tensor, "channel x y z"]) -> Float[Tensor, "x y z"]:
        return torch.sigmoid(super().forward(features.permute(1, 2, 3, 0).float())[..., 0] - 1)


def _from_above(drawn: Bool[Tensor, "x y z"]) -> Int[Tensor, "drawn 3"]:
    """The highest first, row by row: the camera above draws them in this order, and walks straight
    through memory.
    """
    z, y, x = drawn.permute(2, 1, 0).flip(0).nonzero().unbind(1)
    return torch.stack([x, y, drawn.shape[2] - 1 - z], dim=1)


def _spheres(
    voxels: Tensor, opacities: Tensor, features: Tensor, grid: VoxelGrid, scale: float
) -> Gaussians:
    centres = grid.centres(voxels)
    upright = centres.new_tensor([1.0, 0, 0, 0])
    return Gaussians(
        means=centres,
        quaternions=upright.expand(len(centres), 4),
        scales=centres.new_full((len(centres), 3), scale * grid.voxel_size_m),
        opacities=opacities,
        features=features,
    )
