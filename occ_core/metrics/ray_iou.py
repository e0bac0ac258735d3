"""RayIoU (SparseOcc, Liu et al. 2024, section 4): the prediction as a LiDAR would see it.

Thick surfaces raise the voxel IoU where only visible voxels are scored; here they gain nothing,
since a ray sees only the first voxel.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.class_ids import ClassIds, checked_ids
from occ_core.metrics.processes import sum_over_processes
from occ_core.ops.cpu.ray_casting import NEVER_INSIDE
from occ_core.ops.ray_casting import RayHits, cast_voxel_rays
from occ_core.taxonomy import EMPTY, IGNORE
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

MAX_ORIGINS = 8
BORDER_M = 1.0
"""Origins nearer to the grid's sides are left out (SparseOcc: beyond 39 of Occ3D's 40 m)."""


class RayIoUScores(TypedDict):
    """Fractions in [0, 1]; a class that no ray meets is NaN and is left out of the means."""

    ray_iou: float
    """Mean over the thresholds."""
    by_threshold: dict[str, float]
    """Mean over the classes, by threshold in metres."""
    per_class: dict[str, float]
    """Mean over the thresholds."""


class RayIoU:
    """Counts over a whole data set, then scores once, over all processes of a distributed run.

    A ray counts if it meets something in the truth. It is a hit if the first occupied voxel that it
    meets in the prediction has the same class, at a distance that differs by less than the
    threshold.

    Args:
        grid: the grid of predictions and truth.
        labels: meaning of the class ids; every class but the empty one is averaged.
        thresholds_m: distances in metres.
        device: where to count.

    Attributes:
        hits: number of hits by threshold and class, int64 ``[threshold, class]``.
        true: number of rays by true class, int64 ``[class]``.
        predicted: number of rays by predicted class, int64 ``[class]``.

    Raises:
        ValueError: there is no threshold, or one is not positive.
    """

    def __init__(
        self,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        labels: LabelSet = NUSCENES,
        thresholds_m: tuple[float, ...] = (1.0, 2.0, 4.0),
        device: torch.device | str = "cpu",
    ) -> None:
        if not thresholds_m or min(thresholds_m) <= 0:
            raise ValueError(f"RayIoU needs thresholds above 0 m, got {thresholds_m}")
        self.grid, self.labels, self.thresholds_m = grid, labels, thresholds_m
        self.directions = lidar_directions().to(device)
        classes = len(labels.names)
        self.hits = torch.zeros(len(thresholds_m), classes, dtype=torch.int64, device=device)
        self.true = torch.zeros(classes, dtype=torch.int64, device=device)
        self.predicted = torch.zeros(classes, dtype=torch.int64, device=device)

    def update(self, prediction: ClassIds, truth: ClassIds, origins_m: Tensor | np.ndarray) -> None:
        """Adds one grid of class ids; voxels whose truth is 255 count as empty on both sides.

        Args:
            prediction: integers ``[X, Y, Z]``, a tensor or an array.
            truth: likewise.
            origins_m: positions of the LiDAR in the grid frame, ``[origin, 3]``; see
                ``ray_origins``.

        Raises:
            TypeError: something is neither a tensor nor an array, or ids are no integers.
            ValueError: a shape differs from the grid's, an id is not that of a class, or an origin
                lies beyond the sides of the grid.
        """
        device, empty = self.hits.device, self.labels.empty
        prediction, truth = checked_ids(prediction, truth, self.labels)
        unknown = truth == IGNORE
        truth, prediction = (
            labels.masked_fill(unknown, empty).to(device) for labels in (truth, prediction)
        )
        origins = torch.as_tensor(origins_m, device=device).double()
        true, found = cast_through_both(
            truth, prediction, self.grid, origins, self.directions, empty
        )
        counted = true.label != empty
        label, depth = true.label[counted].long(), true.depth_m[counted]
        found_label = found.label.long()
        classes = len(self.labels.names)
        self.true += torch.bincount(label, minlength=classes)
        self.predicted += torch.bincount(found_label, minlength=classes)
        for number, threshold in enumerate(self.thresholds_m):
            right = (found_label == label) & ((found.depth_m - depth).abs() < threshold)
            self.hits[number] += torch.bincount(label[right], minlength=classes)

    def compute(self) -> RayIoUScores:
        """The scores of everything counted so far."""
        hits, true, predicted = (
            sum_over_processes(count).cpu().double()
            for count in (self.hits, self.true, self.predicted)
        )
        iou = (hits / (true + predicted - hits))[:, self.labels.occupied]  # 0 / 0 = NaN
        means = iou.nanmean(dim=1)
        thresholds = [f"{metres:g}" for metres in self.thresholds_m]
        return RayIoUScores(
            ray_iou=means.mean().item(),
            by_threshold=dict(zip(thresholds, means.tolist(), strict=True)),
            per_class=dict(zip(self.labels.occupied_names, iou.mean(dim=0).tolist(), strict=True)),
        )


def cast_through_both(
    truth: UInt8[Tensor, "x y z"],
    prediction: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins_m: Float[Tensor, "origin 3"],
    directions: Float[Tensor, "ray 3"],
    empty: int = EMPTY,
) -> tuple[RayHits, RayHits]:
    """Hits of all rays in the truth, and in the prediction of those that hit something.

    Args:
        truth: class ids.
        prediction: class ids.
        grid: the grid of both.
        origins_m: in the grid frame, above, below or inside the grid.
        directions: unit vectors; every origin sends a ray in every direction.
        empty: id of the empty class.

    Returns:
        ``RayHits`` of ``origin * ray`` rays, and of those among them that meet something in the
        truth; their depths are float32, as the reference rounds them.
    """
    origins, rays = reference_rays(origins_m, directions, grid)
    true = _cast(truth, grid, origins, rays, empty)
    counted = true.label != empty
    return true, _cast(prediction, grid, origins[counted], rays[counted], empty)


def reference_rays(
    origins_m: Float[Tensor, "origin 3"], directions: Float[Tensor, "ray 3"], grid: VoxelGrid
) -> tuple[Float[Tensor, "all 3"], Float[Tensor, "all 3"]]:
    """Origins and unit vectors of all ``origin * ray`` rays in voxels, float64, as SparseOcc's code
    rounds them: a direction is the difference of two float32 points a metre apart.
    """
    size = origins_m.new_tensor(grid.voxel_size_m, dtype=torch.float32).double()
    low = origins_m.new_tensor(grid.min_m, dtype=torch.float32).double()
    from_m = origins_m.double().repeat_interleave(len(directions), dim=0)
    to_m = from_m + directions.float().double().repeat(len(origins_m), 1)
    start, end = (((point - low) / size).float().double() for point in (from_m, to_m))
    x, y, z = (end - start).unbind(1)
    return start, (end - start) / (x * x + y * y + z * z).sqrt()[:, None]


def _cast(
    labels: UInt8[Tensor, "x y z"],
    grid: VoxelGrid,
    origins: Float[Tensor, "ray 3"],
    directions: Float[Tensor, "ray 3"],
    empty: int,
) -> RayHits:
    label, depth = cast_voxel_rays(labels, grid, origins, directions, empty, any_height=True)
    # of a ray that never enters the grid the reference reports the grid's first voxel at depth -1
    never = depth == NEVER_INSIDE
    label = torch.where(never, labels[0, 0, 0], label)
    return RayHits(label, depth.masked_fill(never, -1).float() * grid.voxel_size_m)


def lidar_directions() -> Float[Tensor, "ray 3"]:
    """SparseOcc's 39 x 360 = 14,040 unit vectors in float64, like a nuScenes LiDAR's beams.

    There is one per degree of azimuth. The first ten pitches meet the ground at increasing
    distances, tan(pitch) = -1 / (k + 1); the others rise evenly to 0.22 rad.
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
    """Origins of the rays in metres in the grid frame: positions of the LiDAR along the drive.

    Those beyond the grid's sides, or within ``BORDER_M`` of them, are left out, and the others are
    thinned evenly to ``MAX_ORIGINS``. Origins above and below the grid stay: on a slope the vehicle
    has been there.

    Args:
        grid_from_world: float64, of the scored keyframe.
        lidar_m: positions of the LiDAR in the world at all keyframes of the drive, float64.
        grid: the grid in which rays are cast.
    """
    positions = lidar_m @ grid_from_world[:3, :3].T + grid_from_world[:3, 3]
    low, high = positions.new_tensor(grid.range_m[:2]), positions.new_tensor(grid.range_m[3:5])
    sides = positions[:, :2]
    positions = positions[((sides > low + BORDER_M) & (sides < high - BORDER_M)).all(dim=1)]
    if len(positions) > MAX_ORIGINS:
        positions = positions[torch.linspace(0, len(positions) - 1, MAX_ORIGINS).round().long()]
    return positions
