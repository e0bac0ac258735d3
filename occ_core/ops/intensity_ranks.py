"""LiDAR intensities -> ranks, which are the same for every scale and response of a sensor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.voxel_grid import VoxelGrid

STRIDE = 17
"""Of that many returns one is compared with; a prime, so that all rings of the LiDAR take part."""
STEPS = 1024
"""Steps in which intensities are told apart, between 0 and that which ``BRIGHT`` of the returns
stay below: retroreflectors would take up most of the steps.
"""
BRIGHT = 0.98
HIGHEST = 255.0
"""What a rank of 1 becomes: the intensities of ``Frame.points`` end there."""


def with_intensity_ranks(
    points: Float[Tensor, "point 5"], grid: VoxelGrid
) -> Float[Tensor, "point 5"]:
    """Replaces the intensity of every point by its rank: the fraction of the returns in the grid
    that are fainter, times ``HIGHEST``; 0 where intensities are absent or all the same.

    Args:
        points: as in ``Frame.points``.
    """
    compared = points[::STRIDE]
    counts = grid.contains(grid.index(compared[:, :3]))
    # what does not count is sorted to the end; one more, so that there is something to look up
    known = torch.where(counts, compared[:, 3], torch.inf)
    known = torch.cat([known, known.new_full((1,), torch.inf)]).sort().values
    number = counts.sum()
    bright = known[(number * BRIGHT).long()]
    step = bright.clamp(1e-6, 1e6) / STEPS
    thresholds = torch.arange(STEPS, device=points.device) * step
    ranks = torch.searchsorted(known, thresholds) * (HIGHEST / number.clamp(min=1))
    ranked = points.clone()
    # the lower end as integers, which NaN becomes as well
    ranked[:, 3] = ranks[(points[:, 3] / step).clamp(max=STEPS - 1).int().clamp(min=0)]
    return ranked
