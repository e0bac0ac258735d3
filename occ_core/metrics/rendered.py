"""Prediction and truth compared through cameras (GaussRender, section 4 and appendix D).

Voxels are rendered as for GaussRender's loss, but opaque and with a single class each.
"""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from jaxtyping import UInt8
from torch import Tensor

from occ_core.metrics.label_sets import SURROUNDOCC, LabelSet
from occ_core.metrics.occupancy import OccupancyScore, OccupancyScores
from occ_core.metrics.processes import sum_over_processes
from occ_core.rendering.bev_cameras import bev_camera
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import render
from occ_core.rendering.voxel_gaussians import true_gaussians
from occ_core.taxonomy import EMPTY, IGNORE
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

    Raises:
        ValueError: the empty class of ``labels`` is not 0.
    """

    def __init__(
        self,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        labels: LabelSet = SURROUNDOCC,
        device: torch.device | str = "cpu",
    ) -> None:
        if labels.empty != EMPTY:
            raise ValueError(
                f"images are scored by labels whose empty class is {EMPTY}, got {labels.empty}; "
                "map the ids first"
            )
        self.grid, self.pixels = grid, OccupancyScore(labels, device)
        # Sum of the differences of depth in metres, and number of pixels.
        self.depth = torch.zeros(2, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(
        self, prediction: UInt8[Tensor, "x y z"], truth: UInt8[Tensor, "x y z"], cameras: Cameras
    ) -> None:
        """Adds images of one grid of class ids; voxels whose truth is 255 are not rendered.

        Args:
            cameras: one or more, each of which renders the prediction and the truth.
        """
        prediction = prediction.masked_fill(truth == IGNORE, EMPTY)
        predicted_scene, true_scene = (
            true_gaussians(labels, self.pixels.num_classes, self.grid)
            for labels in (prediction, truth)
        )
        for view in range(len(cameras.intrinsics)):
            camera = cameras.only(view)
            predicted, true = render(predicted_scene, camera), render(true_scene, camera)
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
        self, prediction: UInt8[Tensor, "x y z"], truth: UInt8[Tensor, "x y z"]
    ) -> None:
        """Adds one grid of class ids, seen from above."""
        super().update(prediction, truth, bev_camera(self.grid, device=prediction.device))
