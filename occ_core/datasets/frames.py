"""From sensor data to the model's ``Frame``: the one way, for training and the robot alike."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.surroundocc import (
    coarsen_labels,
    label_path,
    mask_path,
    read_labels,
    read_masks,
)
from occ_core.geometry.images import fit_image
from occ_core.geometry.points import accumulate_sweeps
from occ_core.geometry.poses import invert_pose
from occ_core.types import DriveContext, Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid


def frame_from_sensors(
    images: Sequence[np.ndarray | None],
    intrinsics: Sequence[np.ndarray | None],
    grid_from_camera: Sequence[np.ndarray | None],
    points: np.ndarray,
    world_from_grid: np.ndarray,
    stamp_ns: int,
    context: DriveContext,
    image_size: tuple[int, int],
) -> Frame:
    """The frame, of batch 1, of one instant.

    A camera without image, intrinsics or pose is masked: zero pixels, identity matrices.

    Args:
        images: RGB uint8 ``[h, w, 3]`` of each camera, of any size, or None.
        intrinsics: ``[3, 3]`` of each camera, in pixels of its image, or None.
        grid_from_camera: ``[4, 4]`` of each camera, or None.
        points: float32 ``[M, 5]`` of ``accumulate_sweeps``, in the grid frame.
        world_from_grid: ``[4, 4]``.
        image_size: ``(height, width)`` that the model takes.

    Raises:
        ValueError: the cameras' lists differ in length, or an array is of a wrong shape.
    """
    if not len(images) == len(intrinsics) == len(grid_from_camera):
        raise ValueError(
            f"every camera needs an entry (or None): got {len(images)} images, {len(intrinsics)} "
            "intrinsics, "
            f"{len(grid_from_camera)} poses"
        )
    if points.ndim != 2 or points.shape[1] != 5:
        raise ValueError(
            f"points must be [M, 5] (x, y, z, intensity, age), got {list(points.shape)}"
        )
    height, width = image_size
    pixels = np.zeros((len(images), height, width, 3), dtype=np.uint8)
    cameras = np.tile(np.eye(3, dtype=np.float32), (len(images), 1, 1))
    poses = np.tile(np.eye(4, dtype=np.float32), (len(images), 1, 1))
    mask = np.zeros(len(images), dtype=bool)
    for index, (image, matrix, pose) in enumerate(
        zip(images, intrinsics, grid_from_camera, strict=True)
    ):
        if image is None or matrix is None or pose is None:
            continue
        pixels[index], cameras[index] = fit_image(image, matrix, image_size)
        poses[index] = pose
        mask[index] = True
    return Frame(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2)[None],
        camera_mask=torch.from_numpy(mask)[None],
        intrinsics=torch.from_numpy(cameras)[None],
        grid_from_camera=torch.from_numpy(poses)[None],
        points=(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)),),
        world_from_grid=torch.from_numpy(np.array(world_from_grid, dtype=np.float64))[None],
        stamp_ns=(stamp_ns,),
        context=(context,),
    )


class NuScenesFrames(Dataset[tuple[Frame, UInt8[Tensor, "x y z"] | None]]):
    """Frames of nuScenes keyframes in the LiDAR frame, each with its occupancy labels where they
    exist.

    An item is ``(Frame of batch 1, labels uint8 [X, Y, Z] or None)``. An image that is missing or
    corrupt masks its camera, with a warning.

    Args:
        root: nuScenes data root; SurroundOcc's labels lie in its ``nuscenes_occ``.
        version: folder of tables; None takes the only ``v1.0-*`` folder.
        scenes: names of the scenes (see ``split_scenes``); None takes all.
        image_size: ``(height, width)`` that the model takes.
        sweeps: how many LiDAR sweeps before the keyframe are joined to it.
        grid: SurroundOcc's, or a coarser one over the same range.

    Raises:
        FileNotFoundError: a table is missing; on reading an item, a LiDAR file.
        ValueError: a table or a file is malformed.
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

    def labels(self, index: int) -> Tensor | None:
        """Labels uint8 [X, Y, Z] of a keyframe, None where there are none."""
        path = label_path(self.root, self.keyframes[index].lidar.path)
        if not path.is_file():
            return None
        return torch.from_numpy(
            coarsen_labels(read_labels(path, SURROUNDOCC_GRID), self.coarsening)
        )

    def visible(self, index: int) -> Bool[Tensor, "x y z"] | None:
        """The voxels that a camera's ray reached, a coarser one where any of its parts was; None
        where nobody knows.
        """
        path = mask_path(self.root, self.keyframes[index].lidar.path)
        if not path.is_file():
            return None
        seen = torch.from_numpy(read_masks(path, SURROUNDOCC_GRID)[1])
        return F.max_pool3d(seen[None].float(), self.coarsening)[0] > 0


def frame_from_keyframe(keyframe: Keyframe, image_size: tuple[int, int]) -> Frame:
    """The frame of a keyframe, its sensors read from their files; the grid frame is the LiDAR's.

    Raises:
        FileNotFoundError: a LiDAR file is missing.
        ValueError: a LiDAR file is truncated.
    """
    world_from_grid = keyframe.lidar.world_from_lidar
    grid_from_world = invert_pose(world_from_grid)
    images: list[np.ndarray | None] = []
    intrinsics: list[np.ndarray | None] = []
    poses: list[np.ndarray | None] = []
    for channel in NUSCENES_CAMERAS:
        image, matrix, pose = None, None, None
        view = keyframe.cameras.get(channel)
        if view is not None:
            try:
                image, matrix = view.read(min_width=image_size[1])
                pose = grid_from_world @ view.world_from_camera
            except (FileNotFoundError, ValueError) as error:
                warnings.warn(f"{channel} is masked: {error}", stacklevel=2)
        images.append(image)
        intrinsics.append(matrix)
        poses.append(pose)
    sweeps = [
        (sweep.read(), sweep.world_from_lidar, sweep.stamp_ns)
        for sweep in (*reversed(keyframe.sweeps), keyframe.lidar)
    ]
    return frame_from_sensors(
        images,
        intrinsics,
        poses,
        accumulate_sweeps(sweeps),
        world_from_grid,
        keyframe.stamp_ns,
        keyframe.context,
        image_size,
    )
