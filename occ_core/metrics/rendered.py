"""What cameras would see of a prediction and of the truth (GaussRender, section 4 and appendix D):
semantics and depth.

Voxels are drawn as for GaussRender's loss, but opaque and of one class each.
"""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from jaxtyping import UInt8
from torch import Tensor

from occ_core.metrics.label_sets import SURROUNDOCC, LabelSet
from occ_core.metrics.occupancy import OccupancyScore, OccupancyScores
from occ_core.metrics.processes import summed_over_processes
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import render
from occ_core.rendering.virtual_cameras import camera_above
from occ_core.rendering.voxel_gaussians import true_gaussians
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

LEAST_DEPTH_M = 0.1
"""Pixels where the truth is nearer show nothing."""


class ImageScores(TypedDict):
    """What ``ImageScore.compute`` returns."""

    semantics: OccupancyScores
    """IoU and mIoU over pixels."""
    depth_l1_m: float
    """Mean absolute difference where the truth has something; NaN without such a pixel."""


class ImageScore:
    """Counts over a whole data set, then scores once, over all processes of a distributed run."""

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
        self.depth = torch.zeros(
            2, dtype=torch.float64, device=device
        )  # sum of differences in metres, pixels

    @torch.no_grad()
    def update(
        self, prediction: UInt8[Tensor, "x y z"], truth: UInt8[Tensor, "x y z"], cameras: Cameras
    ) -> None:
        """Adds what the cameras see of one grid of class ids; voxels whose truth is 255 are left
        out on both sides.
        """
        prediction = prediction.masked_fill(truth == IGNORE, EMPTY)
        drawn = [
            true_gaussians(labels, self.pixels.num_classes, self.grid)
            for labels in (prediction, truth)
        ]
        for view in range(len(cameras.intrinsics)):
            found, expected = (render(gaussians, cameras.only(view)) for gaussians in drawn)
            self.pixels.update(
                *(seen.semantics.argmax(dim=0).to(torch.uint8) for seen in (found, expected))
            )
            there = expected.depth_m > LEAST_DEPTH_M
            difference = (found.depth_m - expected.depth_m).abs()[there].double().sum()
            self.depth += torch.stack([difference, there.sum().double()]).to(self.depth.device)

    def compute(self) -> ImageScores:
        """The scores of everything counted so far."""
        difference, pixels = summed_over_processes(self.depth).tolist()
        return ImageScores(
            semantics=self.pixels.compute(), depth_l1_m=difference / pixels if pixels else math.nan
        )


class BevScore(ImageScore):
    """The same for the orthographic camera above: BeV IoU and mIoU."""

    def update(  # type: ignore[override]  # the camera is its own
        self, prediction: UInt8[Tensor, "x y z"], truth: UInt8[Tensor, "x y z"]
    ) -> None:
        """Adds one grid of class ids, seen from above."""
        super().update(prediction, truth, camera_above(self.grid, device=prediction.device))
