"""Flicker: how often the predicted label of an unchanged place changes from frame to frame."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.voxel_grid import VoxelGrid


class Flicker:
    """Counts over a whole data set, then scores once.

    A voxel is compared with the voxel of the previous frame that contains its centre, where the
    truth of both is the same static class. The score is the fraction of compared voxels whose
    predicted label differs.

    Args:
        grid: the grid of predictions and truth.
        labels: meaning of the class ids; its static classes are compared.

    Attributes:
        changed: number of compared voxels whose label differs.
        compared: number of compared voxels; like ``changed``, of this process only.
    """

    def __init__(self, grid: VoxelGrid, labels: LabelSet = NUSCENES) -> None:
        self.grid, self.static_ids = grid, labels.ids(labels.static)
        self.changed = self.compared = 0
        self._previous: tuple[Tensor, Tensor, Tensor] | None = None

    def update(
        self,
        prediction: UInt8[Tensor, "x y z"],
        truth: UInt8[Tensor, "x y z"],
        world_from_grid: Float[Tensor, "4 4"],
    ) -> None:
        """Adds the next frame of the drive.

        Args:
            prediction: class ids.
            truth: class ids, 255 where unknown.
            world_from_grid: the frame's pose in float64.
        """
        if self._previous is not None:
            previous_prediction, previous_truth, world_from_previous = self._previous
            index = torch.isin(truth, truth.new_tensor(self.static_ids)).nonzero()  # [V, 3]
            # In float64 up to here: world coordinates reach kilometres.
            previous_from_grid = (torch.linalg.inv(world_from_previous) @ world_from_grid).float()
            centres = self.grid.centres(index)
            previous_index = self.grid.index(
                centres @ previous_from_grid[:3, :3].T + previous_from_grid[:3, 3]
            )
            inside = self.grid.contains(previous_index)
            now, before = index[inside].unbind(1), previous_index[inside].unbind(1)
            static = truth[now] == previous_truth[before]
            self.compared += int(static.sum())
            self.changed += int((static & (prediction[now] != previous_prediction[before])).sum())
        self._previous = prediction, truth, world_from_grid

    def start_drive(self) -> None:
        """Begins another drive, whose first frame is compared with nothing."""
        self._previous = None

    def compute(self) -> float:
        """The fraction in [0, 1], or NaN where nothing was compared."""
        return self.changed / self.compared if self.compared else math.nan
