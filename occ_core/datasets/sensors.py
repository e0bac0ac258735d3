"""The model's ``Frame`` from the sensors of one instant, for data sets and the robot alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from occ_core.geometry.images import fit_image
from occ_core.types import DriveContext, Frame


@dataclass(frozen=True, slots=True, eq=False)
class CameraSample:
    """One camera's image at the model's size, and the camera that took it."""

    image: UInt8[np.ndarray, "height width 3"]
    """RGB."""
    intrinsics: Float[np.ndarray, "3 3"]
    """In pixels of ``image``."""
    grid_from_camera: Float[np.ndarray, "4 4"]
    """The camera's pose when it took the image; its axes: x right, y down, z forward."""

    @classmethod
    def fitted(
        cls,
        image: np.ndarray,
        intrinsics: np.ndarray,
        grid_from_camera: np.ndarray,
        image_size: tuple[int, int],
    ) -> CameraSample:
        """The sample of an RGB image of any size, fitted to the model's size by ``fit_image``.

        Args:
            image: uint8 ``[h, w, 3]``.
            intrinsics: ``[3, 3]``, in pixels of ``image``.
            grid_from_camera: ``[4, 4]``.
            image_size: ``(height, width)`` of the model's images.

        Raises:
            ValueError: ``image`` is not uint8 ``[h, w, 3]``.
        """
        return cls(*fit_image(image, intrinsics, image_size), grid_from_camera)


def frame_from_sensors(
    cameras: Sequence[CameraSample | None],
    points: np.ndarray,
    world_from_grid: np.ndarray,
    stamp_ns: int,
    context: DriveContext,
    image_size: tuple[int, int],
) -> Frame:
    """The frame of one instant, with a batch size of 1 and memory of its own.

    Args:
        cameras: samples in the model's order. None masks a missing camera: its image is black, its
            matrices are identities.
        points: float32 ``[M, 5]`` in the grid frame, as ``accumulate_sweeps`` returns them.
        world_from_grid: ``[4, 4]``.
        stamp_ns: time of the newest LiDAR sweep.
        context: weather and region of the drive.
        image_size: ``(height, width)`` of the model's images.

    Raises:
        ValueError: the points or an image have the wrong shape.
    """
    if points.ndim != 2 or points.shape[1] != 5:
        raise ValueError(
            f"points must be [M, 5] (x, y, z, intensity, age), got {list(points.shape)}"
        )
    images = np.zeros((len(cameras), *image_size, 3), dtype=np.uint8)
    intrinsics = np.tile(np.eye(3, dtype=np.float32), (len(cameras), 1, 1))
    grid_from_camera = np.tile(np.eye(4, dtype=np.float32), (len(cameras), 1, 1))
    for index, camera in enumerate(cameras):
        if camera is None:
            continue
        if camera.image.shape[:2] != image_size:
            raise ValueError(
                f"the image of camera {index} must have the model's size {list(image_size)}, got "
                f"{list(camera.image.shape[:2])}; CameraSample.fitted makes it fit"
            )
        images[index] = camera.image
        intrinsics[index] = camera.intrinsics
        grid_from_camera[index] = camera.grid_from_camera
    return Frame(
        images=torch.from_numpy(images).permute(0, 3, 1, 2)[None],
        camera_mask=torch.tensor([[camera is not None for camera in cameras]], dtype=torch.bool),
        intrinsics=torch.from_numpy(intrinsics)[None],
        grid_from_camera=torch.from_numpy(grid_from_camera)[None],
        points=(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)),),
        world_from_grid=torch.from_numpy(np.array(world_from_grid, dtype=np.float64))[None],
        stamp_ns=(stamp_ns,),
        context=(context,),
    )
