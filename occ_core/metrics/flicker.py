"""Flicker: how often the prediction of a place that does not change changes between consecutive
frames.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import VoxelGrid

STATIC_CLASSES = tuple(
    CLASS_ID[name]
    for name in (
        "barrier",
        "traffic_cone",
        "driveable_surface",
        "other_flat",
        "sidewalk",
        "terrain",
        "manmade",
        "vegetation",
    )
)
"""Classes that do not move of themselves."""


class Flicker:
    """Counts over a whole data set, then scores once.

    A voxel is compared with the voxel of the frame before that holds its centre, where the truth of
    both is the same static class. The score is the share of compared voxels whose predicted label
    differs.

    Attributes:
        changed, compared: voxels; sum them over processes before ``compute``.
    """

    def __init__(self, grid: VoxelGrid) -> None:
        self.grid = grid
        self.changed = self.compared = 0
        self._before: tuple[Tensor, Tensor, Tensor] | None = None

    def update(
        self,
        prediction: UInt8[Tensor, "x y z"],
        truth: UInt8[Tensor, "x y z"],
        world_from_grid: Float[Tensor, "4 4"],
    ) -> None:
        """Adds the next frame of the drive; ``world_from_grid`` is its pose, float64."""
        if self._before is not None:
            before, truth_before, world_from_before = self._before
            here = torch.isin(truth, truth.new_tensor(STATIC_CLASSES)).nonzero()  # [V, 3]
            before_from_here = (torch.linalg.inv(world_from_before) @ world_from_grid).float()
            there = self.grid.index(
                self.grid.centres(here) @ before_from_here[:3, :3].T + before_from_here[:3, 3]
            )
            inside = self.grid.contains(there)
            now, then = here[inside].unbind(1), there[inside].unbind(1)
            static = truth[now] == truth_before[then]
            self.compared += int(static.sum())
            self.changed += int((static & (prediction[now] != before[then])).sum())
        self._before = prediction, truth, world_from_grid

    def cut(self) -> None:
        """The next frame is of another drive."""
        self._before = None

    def compute(self) -> float:
        """Share in [0, 1]; NaN where nothing was compared."""
        return self.changed / self.compared if self.compared else math.nan
