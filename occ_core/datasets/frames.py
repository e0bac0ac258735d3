"""Frames and occupancy labels of nuScenes keyframes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.datasets.surroundocc import (
    coarsen_labels,
    label_path,
    mask_path,
    read_labels,
    read_masks,
)
from occ_core.geometry.points import accumulate_sweeps
from occ_core.geometry.poses import invert_pose
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid


class NuScenesFrames(Dataset[tuple[Frame, UInt8[Tensor, "x y z"] | None]]):
    """Frames of nuScenes keyframes in the LiDAR frame, with occupancy labels where they exist.

    An item is ``(Frame of batch 1, labels uint8 [X, Y, Z] or None)``. A missing or damaged image
    masks its camera, with a warning.

    Args:
        root: nuScenes data root; SurroundOcc's labels are in its folder ``nuscenes_occ``.
        version: folder of tables; None takes the only ``v1.0-*`` folder.
        scenes: names of the scenes (see ``split_scenes``); None takes all.
        image_size: ``(height, width)`` of the model's images.
        sweeps: how many LiDAR sweeps before the keyframe are joined to it.
        grid: SurroundOcc's grid, or a coarser one over the same range.

    Raises:
        FileNotFoundError: a table is missing; when an item is read: a LiDAR file is missing.
        ValueError: a table or a file is malformed, or there are no labels for ``grid``.
    """

    def __init__(
        self,
        root: Path | str,
        version: str | None = None,
        scenes: Sequence[str] | None = None,
        image_size: tuple[int, int] = (128, 352),
        sweeps: int = 9,
        grid: VoxelGrid = SURROUNDOCC_GRID,
    ) -> None:
        self.root = Path(root)
        self.image_size = image_size
        self.grid = grid
        self.coarsening = round(grid.voxel_size_m / SURROUNDOCC_GRID.voxel_size_m)
        if SURROUNDOCC_GRID.coarser(self.coarsening) != grid:
            raise ValueError(
                f"labels exist for {SURROUNDOCC_GRID} and its coarser forms, got {grid}"
            )
        self.keyframes = NuScenes(self.root, version).keyframes(scenes, sweeps=sweeps)

    def __len__(self) -> int:
        return len(self.keyframes)

    def __getitem__(self, index: int) -> tuple[Frame, Tensor | None]:
        return frame_from_keyframe(self.keyframes[index], self.image_size), self.labels(index)

    def labels(self, index: int) -> UInt8[Tensor, "x y z"] | None:
        """Class ids of a keyframe's voxels, or None where it has no labels."""
        path = label_path(self.root, self.keyframes[index].lidar.path)
        if not path.is_file():
            return None
        labels = read_labels(path, SURROUNDOCC_GRID)
        return torch.from_numpy(coarsen_labels(labels, self.coarsening))

    def visible(self, index: int) -> Bool[Tensor, "x y z"] | None:
        """Voxels that a camera's ray reached, or None where the data root has no masks.

        A coarse voxel is visible where any of its parts is.
        """
        path = mask_path(self.root, self.keyframes[index].lidar.path)
        if not path.is_file():
            return None
        _, mask_camera = read_masks(path, SURROUNDOCC_GRID)
        reached = torch.from_numpy(mask_camera)[None].float()
        return F.max_pool3d(reached, self.coarsening)[0] > 0


def frame_from_keyframe(keyframe: Keyframe, image_size: tuple[int, int]) -> Frame:
    """Reads the sensors of a keyframe from their files; the grid frame is the LiDAR frame.

    A missing or damaged image masks its camera, with a warning.

    Args:
        image_size: ``(height, width)`` of the model's images.

    Raises:
        FileNotFoundError: a LiDAR file is missing.
        ValueError: a LiDAR file is truncated.
    """
    sweeps = [
        (sweep.read(), sweep.world_from_lidar, sweep.stamp_ns)
        for sweep in (*reversed(keyframe.sweeps), keyframe.lidar)
    ]
    return frame_from_sensors(
        [_camera_sample(keyframe, channel, image_size) for channel in NUSCENES_CAMERAS],
        accumulate_sweeps(sweeps),
        keyframe.lidar.world_from_lidar,
        keyframe.stamp_ns,
        keyframe.context,
        image_size,
    )


def _camera_sample(
    keyframe: Keyframe, channel: str, image_size: tuple[int, int]
) -> CameraSample | None:
    camera = keyframe.cameras.get(channel)
    if camera is None:
        return None
    try:
        image, intrinsics = camera.read(min_width=image_size[1])
    except (FileNotFoundError, ValueError) as error:
        warnings.warn(f"{channel} is masked: {error}", stacklevel=3)
        return None
    grid_from_camera = invert_pose(keyframe.lidar.world_from_lidar) @ camera.world_from_camera
    return CameraSample.fitted(image, intrinsics, grid_from_camera, image_size)
