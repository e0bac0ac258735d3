"""RayIoU (SparseOcc, Liu et al. 2024, section 4): the prediction as a LiDAR would see it.

Thick surfaces, which raise the voxel IoU where only visible voxels are scored, gain nothing: a ray
sees the first one alone.
"""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.geometry.ray_casting import RayHits, cast_rays
from occ_core.metrics.processes import summed_over_processes
from occ_core.taxonomy import CLASS_NAMES, EMPTY, IGNORE, NUM_CLASSES
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

MOST_ORIGINS = 8
BORDER_M = 1.0
"""Origins nearer than this to the sides of the grid are left out (39 of Occ3D's 40 m)."""


class RayIoUScores(TypedDict):
    """What ``RayIoU.compute`` returns; a class that no ray meets has NaN and is left out of the
    means.
    """

    ray_iou: float
    """Mean over the thresholds."""
    by_threshold: dict[str, float]
    """Threshold in metres -> mean over the classes."""
    per_class: dict[str, float]
    """Mean over the thresholds."""


class RayIoU:
    """Counts over a whole data set, then scores once, over all processes of a distributed run.

    A ray counts where it meets something in the truth. It is right where the prediction's first
    voxel along it has the same class and lies less than the threshold nearer or farther.

    Attributes:
        hits: int64 ``[threshold, class]``; ``true``, ``predicted``: int64 ``[class]``.
    """

    def __init__(
        self,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        num_classes: int = NUM_CLASSES,
        thresholds_m: tuple[float, ...] = (1.0, 2.0, 4.0),
        device: torch.device | str = "cpu",
    ) -> None:
        if not thresholds_m or min(thresholds_m) <= 0:
            raise ValueError(f"RayIoU needs thresholds above 0 m, got {thresholds_m}")
        self.grid, self.num_classes, self.thresholds_m = grid, num_classes, thresholds_m
        self.directions = lidar_directions().to(device)
        self.hits = torch.zeros(len(thresholds_m), num_classes, dtype=torch.int64, device=device)
        self.true = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.predicted = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def update(
        self,
        prediction: UInt8[Tensor, "x y z"],
        truth: UInt8[Tensor, "x y z"],
        origins_m: Float[Tensor, "origin 3"],
    ) -> None:
        """Adds one grid of class ids; voxels whose truth is 255 are empty on both sides.

        Args:
            origins_m: where the LiDAR was, in the grid frame and inside the grid; see
                ``ray_origins``.

        Raises:
            ValueError: shapes differ from the grid's, or an origin lies outside.
        """
        device = self.hits.device
        unknown = truth == IGNORE
        truth, prediction = (
            labels.masked_fill(unknown, EMPTY).to(device) for labels in (truth, prediction)
        )
        true, found = cast_through_both(
            truth, prediction, self.grid, origins_m.to(device).double(), self.directions
        )
        counted = true.label != EMPTY
        label, depth, found_label = (
            true.label[counted].long(),
            true.depth_m[counted],
            found.label.long(),
        )
        self.true += torch.bincount(label, minlength=self.num_classes)
        self.predicted += torch.bincount(found_label, minlength=self.num_classes)
        for number, threshold in enumerate(self.thresholds_m):
            right = (found_label == label) & ((found.depth_m - depth).abs() < threshold)
            self.hits[number] += torch.bincount(label[right], minlength=self.num_classes)

    def compute(self) -> RayIoUScores:
        """The scores of everything counted so far."""
        counts = (self.hits, self.true, self.predicted)
        hits, true, predicted = (summed_over_processes(one).cpu().double() for one in counts)
        iou = (hits / (true + predicted - hits))[:, EMPTY + 1 :]  # 0 / 0 = NaN
        means = iou.nanmean(dim=1)
        return RayIoUScores(
            ray_iou=means.mean().item(),
            by_threshold={
                f"{metres:g}": mean
                for metres, mean in zip(self.thresholds_m, means.tolist(), strict=True)
            },
            per_class=dict(
                zip(
                    CLASS_NAMES[EMPTY + 1 : self.num_classes], iou.mean(dim=0).tolist(), strict=True
                )
            ),
        )


def cast_through_both(
    truth: UInt8[Tensor, "x y z"],
    prediction: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "origin 3"],
    directions: Float[Tensor, "ray 3"],
) -> tuple[RayHits, RayHits]:
    """What all rays, each direction from each origin, meet in the truth; and in the prediction, of
    those that meet something.
    """
    origins = origins_m.repeat_interleave(len(directions), dim=0)
    directions = directions.repeat(len(origins_m), 1)
    true = cast_rays(truth, grid, origins, directions)
    counted = true.label != EMPTY
    found = cast_rays(prediction, grid, origins[counted], directions[counted])
    return true, found


def lidar_directions() -> Float[Tensor, "ray 3"]:
    """SparseOcc's 39 x 360 = 14,040 rays, float64, of length 1: the beams of a nuScenes LiDAR, one
    a degree around.

    The first ten beams meet the ground at rising distances, tan(pitch) = -1 / (k + 1); the rest
    rise evenly to 0.22 rad.
    """
    pitches = [math.atan(k + 1) - math.pi / 2 for k in range(10)]
    increment = pitches[-1] - pitches[-2]
    while pitches[-1] < 0.21:
        pitches.append(pitches[-1] + increment)
    pitch = torch.tensor(pitches, dtype=torch.float64)[:, None]
    azimuth = torch.arange(360, dtype=torch.float64).deg2rad()[None, :]
    rays = torch.stack(
        [
            pitch.cos() * azimuth.cos(),
            pitch.cos() * azimuth.sin(),
            pitch.sin().expand(-1, azimuth.shape[1]),
        ],
        dim=-1,
    )
    return rays.flatten(0, 1)


def ray_origins(
    grid_from_world: Float[Tensor, "4 4"], lidar_m: Float[Tensor, "keyframe 3"], grid: VoxelGrid
) -> Float[Tensor, "origin 3"]:
    """Where rays start: the places along the drive at which the LiDAR was, those in the grid,
    evenly thinned to eight.

    Args:
        grid_from_world: float64 pose of the scored keyframe.
        lidar_m: the LiDAR's positions at all keyframes of the drive, float64, in the world.
    """
    places = lidar_m @ grid_from_world[:3, :3].T + grid_from_world[:3, 3]
    low, high = places.new_tensor(grid.range_m[:3]), places.new_tensor(grid.range_m[3:])
    margin = places.new_tensor([BORDER_M, BORDER_M, 0.0])
    places = places[((places > low + margin) & (places < high - margin)).all(dim=1)]
    if len(places) > MOST_ORIGINS:
        places = places[torch.linspace(0, len(places) - 1, MOST_ORIGINS).round().long()]
    return places
