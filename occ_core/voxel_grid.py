"""The voxel grid: its range in metres, its voxels, and the conversions between the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class VoxelGrid:
    """An axis-aligned grid of cubic voxels.

    Along each axis voxel i spans ``min + i * size`` to ``min + (i + 1) * size``.

    Args:
        range_m: ``(x_min, y_min, z_min, x_max, y_max, z_max)`` in metres, in the grid frame.
        voxel_size_m: edge length of a voxel in metres; every extent must be a multiple of it.

    Raises:
        ValueError: a field is out of range; the text names it and its value.
    """

    range_m: tuple[float, float, float, float, float, float] = (-50.0, -50.0, -5.0, 50.0, 50.0, 3.0)
    voxel_size_m: float = 0.5

    def __post_init__(self) -> None:
        # whole numbers too become floats: C code that takes doubles misreads Python's ints
        object.__setattr__(self, "voxel_size_m", float(self.voxel_size_m))
        object.__setattr__(self, "range_m", tuple(map(float, self.range_m)))
        if self.voxel_size_m <= 0:
            raise ValueError(f"VoxelGrid.voxel_size_m must be positive, got {self.voxel_size_m}")
        if len(self.range_m) != 6 or any(
            low >= high for low, high in zip(self.range_m[:3], self.range_m[3:], strict=True)
        ):
            raise ValueError(
                "VoxelGrid.range_m must be (x_min, y_min, z_min, x_max, y_max, z_max) with min < "
                f"max, got {self.range_m}"
            )
        for axis, low, high in zip("xyz", self.range_m[:3], self.range_m[3:], strict=True):
            cells = (high - low) / self.voxel_size_m
            if abs(cells - round(cells)) > 1e-6:
                raise ValueError(
                    f"VoxelGrid.range_m along {axis} is {high - low} m, not a whole number of "
                    f"voxels of {self.voxel_size_m} m"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        x, y, z = (
            round((high - low) / self.voxel_size_m)
            for low, high in zip(self.range_m[:3], self.range_m[3:], strict=True)
        )
        return x, y, z

    @property
    def min_m(self) -> tuple[float, float, float]:
        """The minimum corner in metres."""
        return self.range_m[:3]

    def coarser(self, ratio: int) -> VoxelGrid:
        """The grid over the same range with voxels ``ratio`` times as large.

        Raises:
            ValueError: ``ratio`` does not divide the shape.
        """
        if any(cells % ratio for cells in self.shape):
            raise ValueError(f"a grid of shape {self.shape} cannot be coarsened by {ratio}")
        return VoxelGrid(self.range_m, self.voxel_size_m * ratio)

    def finer(self, ratio: int) -> VoxelGrid:
        """The grid over the same range with voxels ``ratio`` times as small."""
        return VoxelGrid(self.range_m, self.voxel_size_m / ratio)

    def index(self, points_m: Float[Tensor, "*n 3"]) -> Int[Tensor, "*n 3"]:
        """Voxel indices of points in metres; for points outside the grid they are out of range (see
        ``contains``).
        """
        return torch.floor((points_m - points_m.new_tensor(self.min_m)) / self.voxel_size_m).long()

    def contains(self, index: Int[Tensor, "*n 3"]) -> Bool[Tensor, "*n"]:
        """Whether each voxel index lies inside the grid."""
        return ((index >= 0) & (index < index.new_tensor(self.shape))).all(-1)

    def centres(self, index: Int[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Centres of voxels in metres: ``min + (i + 0.5) * size``."""
        minimum = torch.tensor(self.min_m, dtype=torch.float32, device=index.device)
        return minimum + (index.to(torch.float32) + 0.5) * self.voxel_size_m

    def all_centres(self, device: torch.device | str = "cpu") -> Float[Tensor, "x y z 3"]:
        """Centres of all voxels in metres."""
        axes = [torch.arange(cells, device=device) for cells in self.shape]
        return self.centres(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1))

    def numpy_index(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``index`` and ``contains``, for arrays.

        Args:
            points_m: points ``[N, 3]`` in metres.

        Returns:
            The voxel indices ``[K, 3]`` of the points inside the grid, and the mask ``[N]`` that
            selects those points.
        """
        index = np.floor((points_m - np.asarray(self.min_m)) / self.voxel_size_m).astype(np.int64)
        inside = ((index >= 0) & (index < np.asarray(self.shape))).all(-1)
        return index[inside], inside


SURROUNDOCC_GRID = VoxelGrid()
"""SurroundOcc's 200x200x16 voxels of 0.5 m, fixed in the LiDAR frame (its section 3.4)."""
