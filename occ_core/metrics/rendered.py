"""Prediction and truth compared through cameras (GaussRender, section 4 and appendix D).

Voxels are rendered as for GaussRender's loss, but opaque and with a single class each.
"""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.class_ids import ClassIds, checked_ids
from occ_core.metrics.occupancy import OccupancyScore, OccupancyScores
from occ_core.metrics.processes import sum_over_processes
from occ_core.rendering.bev_cameras import bev_camera
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import render
from occ_core.rendering.voxel_gaussians import true_gaussians
from occ_core.taxonomy import IGNORE
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

MIN_DEPTH_M = 0.1
"""Pixels whose true depth is smaller show nothing and have no depth score."""


class ImageScores(TypedDict):
    """Scores over the pixels of all images."""

    semantics: OccupancyScores
    """IoU and mIoU over the pixels."""
    depth_l1_m: float
    """Mean absolute difference of depth where the truth shows something; NaN without any."""


class ImageScore:
    """Counts over a whole data set, then scores once, over all processes of a distributed run.

    Args:
        grid: the grid of predictions and truth.
        labels: meaning of the class ids.
        device: where to count.
    """

    def __init__(
        self,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        labels: LabelSet = NUSCENES,
        device: torch.device | str = "cpu",
    ) -> None:
        self.grid, self.pixels = grid, OccupancyScore(labels, device)
        # Sum of the differences of depth in metres, and number of pixels.
        self.depth = torch.zeros(2, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, prediction: ClassIds, truth: ClassIds, cameras: Cameras) -> None:
        """Adds images of one grid of class ids; voxels whose truth is 255 are not rendered.

        Args:
            cameras: one or more, each of which renders the prediction and the truth.

        Raises:
            TypeError: one of the grids is neither a tensor nor an array, or holds no integers.
            ValueError: the shapes differ, or an id is not that of a class.
        """
        empty = self.pixels.labels.empty
        prediction, truth = checked_ids(prediction, truth, self.pixels.labels)
        prediction = prediction.masked_fill(truth == IGNORE, empty)
        predicted_scene, true_scene = (
            true_gaussians(labels, self.pixels.num_classes, self.grid, empty=empty)
            for labels in (prediction, truth)
        )
        for view in range(len(cameras.intrinsics)):
            camera = cameras.only(view)
            predicted, true = (
                render(scene, camera, empty) for scene in (predicted_scene, true_scene)
            )
            self.pixels.update(
                *(image.semantics.argmax(dim=0).to(torch.uint8) for image in (predicted, true))
            )
            has_depth = true.depth_m > MIN_DEPTH_M
            difference = (predicted.depth_m - true.depth_m).abs()[has_depth].double().sum()
            self.depth += torch.stack([difference, has_depth.sum().double()]).to(self.depth.device)

    def compute(self) -> ImageScores:
        """The scores of everything counted so far, over all processes of a distributed run."""
        difference, pixels = sum_over_processes(self.depth).tolist()
        return ImageScores(
            semantics=self.pixels.compute(), depth_l1_m=difference / pixels if pixels else math.nan
        )


class BevScore(ImageScore):
    """``ImageScore`` through an orthographic camera above the grid: BeV IoU and mIoU."""

    def update(  # type: ignore[override]  # it brings its own camera
        self, prediction: ClassIds, truth: ClassIds
    ) -> None:
        """Adds one grid of class ids, seen from above."""
        device = truth.device if isinstance(truth, Tensor) else "cpu"
        super().update(prediction, truth, bev_camera(self.grid, device=device))
