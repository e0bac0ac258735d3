"""TACOcc's preprocessing of what the model gets (section III): images without their sky, points
without noise. The paper names neither method; ours need no labels and no trained network.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.geometry.points import NEWEST_S, project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.preprocessing.sky import sky_masks
from occ_core.types import DriveContext, Frame


def mask_inputs(frame: Frame) -> Frame:
    """The frame with black sky, and without the points that ``surface_points`` leaves out; all else
    is shared with ``frame``, which stays as it is.
    """
    images, clouds = frame.images.clone(), []
    for sample, cloud in enumerate(frame.points):
        surfaces = _on_surfaces(cloud, frame.context[sample])
        sky = _sky(frame, sample, surfaces)
        images[sample].masked_fill_(sky[:, None].to(images.device), 0)
        clouds.append(surfaces)
    return replace(frame, images=images, points=tuple(clouds))


def frame_sky(frame: Frame, sample: int) -> Bool[Tensor, "camera h w"]:
    """Where the cameras of one sample see the sky, on the CPU; nowhere for a masked camera."""
    newest = _newest(frame.points[sample])
    return _sky(frame, sample, _on_surfaces(newest, frame.context[sample]))


def _sky(
    frame: Frame, sample: int, surfaces: Float[Tensor, "point 5"]
) -> Bool[Tensor, "camera h w"]:
    """As ``frame_sky``; the newest points of ``surfaces`` are where no sky is."""
    points = _newest(surfaces).cpu().numpy()
    present = frame.camera_mask[sample].nonzero()[:, 0].tolist()
    images = [frame.images[sample, each].cpu().permute(1, 2, 0).numpy() for each in present]
    intrinsics = [frame.intrinsics[sample, each].cpu().double().numpy() for each in present]
    poses = [frame.grid_from_camera[sample, each].cpu().double().numpy() for each in present]
    pixels = [
        project_points(matrix, transform_points(invert_pose(pose), points))[0]
        for matrix, pose in zip(intrinsics, poses, strict=True)
    ]
    world_from_grid = frame.world_from_grid[sample].cpu().numpy()
    found = sky_masks(images, intrinsics, [world_from_grid @ pose for pose in poses], pixels)
    masks = torch.zeros(frame.camera_mask.shape[1], *frame.images.shape[-2:], dtype=torch.bool)
    for camera, mask in zip(present, found, strict=True):
        masks[camera] = torch.from_numpy(mask)
    return masks


def _newest(cloud: Float[Tensor, "_ 5"]) -> Float[Tensor, "_ 5"]:
    return cloud[cloud[:, 4] < NEWEST_S]


def _on_surfaces(
    cloud: Float[Tensor, "point 5"], context: DriveContext
) -> Float[Tensor, "surface 5"]:
    """The points that ``surface_points`` keeps of every sweep by itself: sweeps side by side would
    be neighbours of each other's noise. Seen from the grid's origin, a sweep of half a second ago
    is off by some metres, which hardly changes who is whose neighbour.
    """
    # Only here: Open3D takes memory that a robot whose model masks nothing should not pay.
    from occ_core.preprocessing.lidar_filter import surface_points

    points = cloud.cpu().numpy()
    kept = np.zeros(len(points), dtype=bool)
    for age_s in np.unique(points[:, 4]):
        sweep = points[:, 4] == age_s
        kept[sweep] = surface_points(points[sweep], context)
    return cloud[torch.from_numpy(kept).to(cloud.device)]
