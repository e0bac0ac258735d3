"""The public benchmarks: label set, grid and frame of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import (
    OCC3D,
    OPENOCCUPANCY,
    SEMANTIC_KITTI,
    SSCBENCH_KITTI_360,
    SURROUNDOCC,
)
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

GridFrame = Literal["lidar", "ego", "velodyne"]
"""The frame in which a grid is fixed: ``lidar``, that of nuScenes' LIDAR_TOP (x right, y forward);
``ego``, the vehicle's at the time of the sweep (x forward, y left, origin on the ground under the
rear axle); ``velodyne``, that of KITTI's scanner (x forward, y left).
"""


@dataclass(frozen=True, kw_only=True)
class OccupancyBenchmark:
    """What a benchmark's labels mean and where they lie."""

    labels: LabelSet
    grid: VoxelGrid
    grid_frame: GridFrame

    @property
    def name(self) -> str:
        """The name of the label set, which is the benchmark's too."""
        return self.labels.name

    def coarsening(self, grid: VoxelGrid) -> int:
        """The benchmark's voxels per voxel of a grid over the same range, along each axis.

        Raises:
            ValueError: the grid is neither the benchmark's nor one whose voxels are a whole number
                of times as large.
        """
        ratio = round(grid.voxel_size_m / self.grid.voxel_size_m)
        whole = abs(grid.voxel_size_m - ratio * self.grid.voxel_size_m) < 1e-6
        if ratio < 1 or not whole or grid.range_m != self.grid.range_m:
            raise ValueError(
                f"the grid must be that of {self.name}, {self.grid}, or one over the same range "
                f"whose voxels are a whole number of times as large; got {grid}"
            )
        return ratio


KITTI_GRID = VoxelGrid((0.0, -25.6, -2.0, 51.2, 25.6, 4.4), 0.2)
"""256x256x32 voxels of 0.2 m in front of the Velodyne (x forward, y left), which stands at the
middle of the near side.
"""

BENCHMARKS: dict[str, OccupancyBenchmark] = {
    each.name: each
    for each in (
        OccupancyBenchmark(labels=SURROUNDOCC, grid=SURROUNDOCC_GRID, grid_frame="lidar"),
        OccupancyBenchmark(
            labels=OCC3D,
            grid=VoxelGrid((-40.0, -40.0, -1.0, 40.0, 40.0, 5.4), 0.4),
            grid_frame="ego",
        ),
        OccupancyBenchmark(
            labels=OPENOCCUPANCY,
            grid=VoxelGrid((-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), 0.2),
            grid_frame="lidar",
        ),
        OccupancyBenchmark(labels=SEMANTIC_KITTI, grid=KITTI_GRID, grid_frame="velodyne"),
        OccupancyBenchmark(labels=SSCBENCH_KITTI_360, grid=KITTI_GRID, grid_frame="velodyne"),
    )
}
"""The benchmarks by name."""
