"""Frames and occupancy labels of nuScenes keyframes."""

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

from occ_core.datasets.keyframe_labels import (
    KeyframeBenchmark,
    VoxelTruth,
    keyframe_label_path,
    read_keyframe_labels,
    read_keyframe_truth,
)
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.samples import Damaged, SweepOrigin
from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.datasets.surroundocc import coarsen_labels, find_mask, read_masks
from occ_core.geometry.points import accumulate_sweeps
from occ_core.geometry.poses import invert_pose
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.types import Frame
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid


class NuScenesFrames(Dataset[tuple[Frame, UInt8[Tensor, "x y z"] | None]]):
    """Frames of nuScenes keyframes, with a benchmark's occupancy labels where they exist.

    An item is ``(Frame of batch 1, labels uint8 [X, Y, Z] or None)``. A missing image masks its
    camera, with a warning. The grid frame is the benchmark's: the LiDAR frame, or for Occ3D the
    vehicle's at the time of the LiDAR sweep.

    Args:
        root: nuScenes data root; the labels lie in it or beside it.
        version: folder of tables; None takes the only ``v1.0-*`` folder.
        scenes: names of the scenes (see ``split_scenes``); None takes all.
        image_size: ``(height, width)`` of the model's images.
        sweeps: how many LiDAR sweeps before the keyframe are joined to it.
        grid: the benchmark's grid, or a coarser one over the same range.
        benchmark: whose labels are read.
        damaged: what a damaged file of labels does: ``stop`` raises; with ``skip`` the keyframe
            has no labels, with a warning.

    Raises:
        FileNotFoundError: a table is missing; when an item is read: a LiDAR file is missing.
        ValueError: a table or a file is malformed, there is no keyframe, or there are no labels
            for ``grid``.
    """

    def __init__(
        self,
        root: Path | str,
        version: str | None = None,
        scenes: Sequence[str] | None = None,
        image_size: tuple[int, int] = (128, 352),
        sweeps: int = 9,
        grid: VoxelGrid = SURROUNDOCC_GRID,
        benchmark: KeyframeBenchmark = "surroundocc",
        damaged: Damaged = "stop",
    ) -> None:
        self.root = Path(root)
        self.damaged = damaged
        self.image_size = image_size
        self.grid = grid
        self.benchmark = BENCHMARKS[benchmark]
        self._benchmark_name: KeyframeBenchmark = benchmark
        self.coarsening = self.benchmark.coarsening(grid)
        self.keyframes = NuScenes(self.root, version).keyframes(scenes, sweeps=sweeps)
        if not self.keyframes:
            raise ValueError(
                f"{self.root} holds no keyframe; sample_data.json must have LIDAR_TOP records with "
                "is_key_frame true"
            )

    def __len__(self) -> int:
        return len(self.keyframes)

    def __getitem__(self, index: int) -> tuple[Frame, Tensor | None]:
        return self.frame(index), self.labels(index)

    def name(self, index: int) -> str:
        """The token of a keyframe's sample."""
        return self.keyframes[index].sample_token

    def drive(self, index: int) -> str:
        """The name of a keyframe's scene."""
        return self.keyframes[index].scene_name

    def sweeps(self, index: int) -> list[SweepOrigin]:
        """The keyframe's sweep and those before it."""
        keyframe = self.keyframes[index]
        return [
            SweepOrigin(sweep.stamp_ns, sweep.world_from_lidar)
            for sweep in (keyframe.lidar, *keyframe.sweeps)
        ]

    def frame(self, index: int) -> Frame:
        """The sensors of a keyframe."""
        grid_from_lidar = self._grid_from_lidar(index)
        return frame_from_keyframe(self.keyframes[index], self.image_size, grid_from_lidar)

    def world_from_grid(self, index: int) -> np.ndarray:
        """The pose of a keyframe's grid, float64 ``[4, 4]``."""
        return _world_from_grid(self.keyframes[index], self._grid_from_lidar(index))

    def label_path(self, index: int) -> Path:
        """The file of a keyframe's labels, whether it exists or not."""
        return keyframe_label_path(self._benchmark_name, self.root, self.keyframes[index])

    def truth(self, index: int) -> VoxelTruth:
        """Labels and masks of a keyframe at the benchmark's own resolution.

        Raises:
            FileNotFoundError: the keyframe has no labels.
            ValueError: a file is malformed.
        """
        return read_keyframe_truth(self._benchmark_name, self.root, self.keyframes[index])

    def labels(self, index: int) -> UInt8[Tensor, "x y z"] | None:
        """Class ids of a keyframe's voxels, or None where it has no labels.

        Raises:
            ValueError: a file is malformed, and ``damaged`` is ``stop``.
        """
        if not self.label_path(index).is_file():
            return None
        try:
            labels = read_keyframe_labels(self._benchmark_name, self.root, self.keyframes[index])
        except ValueError as error:
            if self.damaged == "stop":
                raise
            warnings.warn(f"taken as without labels: {error}", stacklevel=2)
            return None
        empty = self.benchmark.labels.empty
        return torch.from_numpy(coarsen_labels(labels, self.coarsening, empty))

    def visible(self, index: int) -> Bool[Tensor, "x y z"] | None:
        """Voxels that a camera's ray reached, or None where the data root has no masks.

        A coarse voxel is visible where any of its parts is.
        """
        mask_camera = self._mask_camera(index)
        if mask_camera is None:
            return None
        reached = torch.from_numpy(mask_camera)[None].float()
        return F.max_pool3d(reached, self.coarsening)[0] > 0

    def _mask_camera(self, index: int) -> np.ndarray | None:
        if self._benchmark_name != "surroundocc":
            return self.truth(index).masks.get("mask_camera")
        # Their file is apart from the labels, which need not be read.
        path = find_mask(self.root, self.keyframes[index].lidar.path)
        return read_masks(path, self.benchmark.grid)[1] if path.is_file() else None

    def _grid_from_lidar(self, index: int) -> np.ndarray | None:
        """None where the grid frame is the LiDAR frame."""
        in_ego = self.benchmark.grid_frame == "ego"
        return self.keyframes[index].lidar.ego_from_lidar if in_ego else None


def frame_from_keyframe(
    keyframe: Keyframe, image_size: tuple[int, int], grid_from_lidar: np.ndarray | None = None
) -> Frame:
    """Reads the sensors of a keyframe from their files.

    A missing image masks its camera, with a warning.

    Args:
        keyframe: the instant.
        image_size: ``(height, width)`` of the model's images.
        grid_from_lidar: ``[4, 4]``; None: the grid frame is the LiDAR frame.

    Raises:
        FileNotFoundError: a LiDAR file is missing.
        ValueError: a LiDAR file or an image is damaged.
    """
    sweeps = [
        (sweep.read(), sweep.world_from_lidar, sweep.stamp_ns)
        for sweep in (*reversed(keyframe.sweeps), keyframe.lidar)
    ]
    # The box of the ego vehicle lies in the LiDAR frame, whichever frame the grid has.
    points = accumulate_sweeps(sweeps, grid_from_lidar, box_from_newest=np.eye(4))
    world_from_grid = _world_from_grid(keyframe, grid_from_lidar)
    return frame_from_sensors(
        [
            _camera_sample(keyframe, channel, image_size, world_from_grid)
            for channel in NUSCENES_CAMERAS
        ],
        points,
        world_from_grid,
        keyframe.stamp_ns,
        keyframe.context,
        image_size,
    )


def _world_from_grid(keyframe: Keyframe, grid_from_lidar: np.ndarray | None) -> np.ndarray:
    if grid_from_lidar is None:
        return keyframe.lidar.world_from_lidar
    return keyframe.lidar.world_from_lidar @ invert_pose(grid_from_lidar)


def _camera_sample(
    keyframe: Keyframe, channel: str, image_size: tuple[int, int], world_from_grid: np.ndarray
) -> CameraSample | None:
    camera = keyframe.cameras.get(channel)
    if camera is None:
        return None
    try:
        image, intrinsics = camera.read(min_width=image_size[1])
    except FileNotFoundError as error:
        warnings.warn(f"{channel} is masked: {error}", stacklevel=3)
        return None
    grid_from_camera = invert_pose(world_from_grid) @ camera.world_from_camera
    return CameraSample.fitted(image, intrinsics, grid_from_camera, image_size)
