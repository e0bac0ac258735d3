"""Which voxels lines of sight go through, and where they end (Amanatides and Woo 1987).

A line of sight is the segment from a sensor to what it measured: space on the way is free. It may
start or end outside the grid. The fraction of a segment at which a plane is crossed is computed
from the plane itself, not summed up step by step, so that the torch form and the compiled loop
agree on every voxel. Of planes crossed at once, that across z counts first, then y, then x.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from occ_core.ops import backend
from occ_core.ops.cpu import line_of_sight as kernels
from occ_core.ops.cpu.line_of_sight import CROSSED as CROSSED
from occ_core.ops.cpu.line_of_sight import ENDED as ENDED
from occ_core.ops.cpu.line_of_sight import UNSEEN as UNSEEN
from occ_core.voxel_grid import VoxelGrid


def see_through(
    seen: UInt8[Tensor, "x y z"],
    walls: Bool[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "ray 3"],
    ends_m: Float[Tensor, "ray 3"],
) -> None:
    """Marks in ``seen`` what lines of sight show; a larger mark there stays.

    Args:
        seen: written to: ``CROSSED`` where a line goes through, ``ENDED`` where one ends.
        walls: voxels at which every line ends.
        grid: geometry of the voxels.
        origins_m: where the lines start, in the grid frame.
        ends_m: where they end.

    Raises:
        ValueError: the shapes do not fit, or a coordinate is not finite.
    """
    if seen.shape != grid.shape or walls.shape != grid.shape:
        raise ValueError(
            f"seen and walls on this grid must be of shape {list(grid.shape)}, got "
            f"{list(seen.shape)} and {list(walls.shape)}"
        )
    if seen.is_contiguous() and backend.use_kernel("see_through", seen, walls, origins_m, ends_m):
        is_finite = kernels.see_through(seen, walls, grid, origins_m, ends_m)
    else:
        is_finite = bool(origins_m.isfinite().all() and ends_m.isfinite().all())
        if is_finite:
            minimum = torch.tensor(grid.min_m, dtype=torch.float64, device=origins_m.device)
            lines = ((each.double() - minimum) / grid.voxel_size_m for each in (origins_m, ends_m))
            _see_in_steps(seen, walls, *lines)
    if not is_finite:
        raise ValueError("lines of sight must have finite ends; leave out those that do not")


def _see_in_steps(
    seen: UInt8[Tensor, "x y z"],
    walls: Bool[Tensor, "x y z"],
    origins: Float[Tensor, "ray 3"],
    ends: Float[Tensor, "ray 3"],
) -> None:
    """All lines together, voxel by voxel; coordinates are in voxels."""
    shape = torch.tensor(seen.shape, device=seen.device)
    ways = ends - origins
    enters, enters_grid = _entrance(origins, ways, shape)
    origins, ends, ways = origins[enters_grid], ends[enters_grid], ways[enters_grid]
    forward, per_plane = ways >= 0, 1 / ways
    voxel = (origins + enters[enters_grid, None] * ways).floor().long()
    voxel = voxel.clamp(min=torch.zeros_like(shape), max=shape - 1)
    last = ends.floor().long()
    while len(voxel):
        time = torch.where(ways == 0, torch.inf, (voxel + forward - origins) * per_plane)
        leaves = time.amin(dim=1)
        goes_on = ~(walls[voxel.unbind(1)] | (voxel == last).all(dim=1) | (leaves > 1))
        crossed, ended = voxel[goes_on].unbind(1), voxel[~goes_on].unbind(1)
        seen[ended] = seen[ended].clamp(min=ENDED)
        seen[crossed] = CROSSED
        axis = 2 - (time == leaves[:, None]).flip(1).int().argmax(dim=1)
        step = torch.zeros_like(voxel).scatter_(1, axis[:, None], 1)
        voxel = voxel + torch.where(forward, step, -step)
        active = goes_on & ((voxel >= 0) & (voxel < shape)).all(dim=1)
        origins, last, ways = origins[active], last[active], ways[active]
        forward, per_plane, voxel = forward[active], per_plane[active], voxel[active]


def _entrance(
    origins: Float[Tensor, "ray 3"], ways: Float[Tensor, "ray 3"], shape: Int[Tensor, " 3"]
) -> tuple[Float[Tensor, " ray"], Bool[Tensor, " ray"]]:
    """The fraction of each line at which it enters the grid, and whether it does at all."""
    low, high = -origins / ways, (shape - origins) / ways  # infinite where it runs along the planes
    beside = (ways == 0) & ((origins < 0) | (origins >= shape))
    inside = (ways == 0) & ~beside
    enters = torch.where(inside, 0.0, torch.minimum(low, high)).amax(dim=1).clamp(min=0)
    leaves = torch.where(inside, 1.0, torch.maximum(low, high)).amin(dim=1)
    return enters, ~beside.any(dim=1) & (enters < leaves) & (enters <= 1)
