"""Where GaussRender looks from (section 3.2, appendix E.4): one camera of the vehicle, moved; and
one from above.

The cameras' intrinsics stay, their poses are drawn anew at every step. The grid's z axis points up.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.voxel_grid import VoxelGrid

Strategy = Literal["sensor", "lifted", "elevated", "elevated_around", "random", "dynamic"]
"""``lifted`` is what the released code does by default (2 m up, no more); the others are the
paper's Table 5.
"""
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

STANDING: tuple[Strategy, ...] = ("sensor", "lifted")
"""Those that look from the same place in every epoch."""

LIFT_M, PITCH_DEGREES, YAW_DEGREES = 8.0, 20.0, 5.0
"""Of ``elevated``; the yaw is drawn up to this to either side (as released; the paper gives no
figures).
"""
FRONT, BACK = 1, 4
"""Of nuScenes' six cameras, in the order of ``NUSCENES_CAMERAS``."""
BEV_MARGIN_M = 1.0
"""From the camera above to the top of the grid."""


def virtual_camera(
    strategy: Strategy,
    sensors: Cameras,
    weights: Float[Tensor, " view"],
    grid: VoxelGrid,
    random: np.random.Generator,
    target_m: Float[Tensor, " 3"] | None = None,
) -> Cameras:
    """One camera of ``sensors``, drawn by ``weights``, and moved.

    Args:
        weights: how likely each camera is drawn; see ``view_weights``.
        target_m: what ``dynamic`` looks at: where the prediction is worst.

    Raises:
        ValueError: ``dynamic`` without a target.
    """
    drawn = int(
        random.choice(len(weights), p=weights.double().numpy() / weights.double().sum().item())
    )
    grid_from_camera = torch.linalg.inv(sensors.camera_from_grid[drawn].double()).cpu().numpy()
    pose = _moved(
        strategy,
        grid_from_camera,
        grid,
        random,
        None if target_m is None else target_m.double().cpu().numpy(),
    )
    camera_from_grid = torch.from_numpy(np.linalg.inv(pose)).to(sensors.camera_from_grid)
    return replace(sensors.only(drawn), camera_from_grid=camera_from_grid[None])


def _moved(
    strategy: Strategy,
    pose: np.ndarray,
    grid: VoxelGrid,
    random: np.random.Generator,
    target: np.ndarray | None,
) -> np.ndarray:
    """``grid_from_camera`` after the strategy."""
    half_range = (
        grid.range_m[3] - grid.range_m[0]
    ) / 4  # half of how far the scene reaches from its middle
    if strategy == "sensor":
        return pose
    if strategy == "lifted":
        return _raised(pose, 2.0)
    if strategy in ("elevated", "elevated_around"):
        tilted = _raised(pose, LIFT_M) @ _turned(
            PITCH_DEGREES, random.uniform(-YAW_DEGREES, YAW_DEGREES)
        )
        if strategy == "elevated_around":
            tilted[:2, 3] += random.uniform(-half_range, half_range, 2)
        return tilted
    if strategy == "random":
        pitch = random.uniform(0, PITCH_DEGREES)
        turned = _raised(pose, LIFT_M * pitch / PITCH_DEGREES + random.uniform(0, 2)) @ _turned(
            pitch, random.uniform(-10, 10)
        )
        turned[:2, 3] = random.uniform(grid.range_m[:2], grid.range_m[3:5])
        return turned
    if target is None:
        raise ValueError("the strategy 'dynamic' needs a target to look at, got none")
    azimuth, distance = random.uniform(0, 2 * math.pi), random.uniform(0.2, 1) * half_range
    position = target + [distance * math.cos(azimuth), distance * math.sin(azimuth), LIFT_M]
    return looking_at(position, target)


def view_weights(sensors: Cameras) -> Float[Tensor, " view"]:
    """How likely each camera is drawn: of nuScenes' six, front and back twice as likely as the
    others (as released).
    """
    weights = torch.ones(len(sensors.intrinsics))
    if len(weights) == 6:
        weights[[FRONT, BACK]] = 2
    return weights


def worst_place(
    cross_entropy: Float[Tensor, "x y z"], grid: VoxelGrid, side: int = 8
) -> Float[Tensor, " 3"]:
    """Centre in metres of the block of ``side`` x ``side`` columns whose mean cross entropy is
    highest.
    """
    columns = cross_entropy.detach().mean(dim=2)[None, None]
    blocks = torch.nn.functional.avg_pool2d(columns, side, ceil_mode=True)[0, 0]
    i, j = divmod(int(blocks.argmax()), blocks.shape[1])
    x, y, z = grid.shape
    cell = torch.tensor([min((i + 0.5) * side, x - 1), min((j + 0.5) * side, y - 1), z / 2])
    return torch.tensor(grid.min_m) + cell * grid.voxel_size_m


def looking_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``grid_from_camera`` [4, 4] of a camera that looks at a point and stands upright; the point
    must not be straight below.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def camera_above(
    grid: VoxelGrid, pixels_per_voxel: int = 2, device: torch.device | str = "cpu"
) -> Cameras:
    """The paper's camera above: orthographic, over the whole grid, x to the right and y up in the
    image.
    """
    size_m, low = grid.voxel_size_m, grid.min_m
    across, along = (pixels_per_voxel * cells for cells in grid.shape[:2])
    scale = pixels_per_voxel / size_m  # pixels per metre
    intrinsics = torch.tensor(
        [[scale, 0, -scale * low[0] - 0.5], [0, scale, scale * grid.range_m[4] - 0.5], [0, 0, 1]],
        device=device,
    )
    return Cameras(
        intrinsics[None],
        _down_from(grid.range_m[5] + BEV_MARGIN_M, device),
        (along, across),
        orthographic=True,
    )


def pinhole_above(
    grid: VoxelGrid, pixels: int = 400, device: torch.device | str = "cpu"
) -> Cameras:
    """The released camera above: a pinhole, as high over the origin as the grid is wide, its focal
    length equal to its width.
    """
    width_m = grid.range_m[3] - grid.range_m[0]
    intrinsics = torch.tensor(
        [[pixels, 0, pixels / 2 - 0.5], [0, pixels, pixels / 2 - 0.5], [0, 0, 1]], device=device
    )
    return Cameras(intrinsics.float()[None], _down_from(width_m, device), (pixels, pixels))


def _down_from(height_m: float, device: torch.device | str) -> Float[Tensor, "1 4 4"]:
    """Looks down at the origin: x stays, image rows run against y, depth runs down from
    ``height_m``.
    """
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1], device=device))
    pose[2, 3] = height_m
    return pose[None]


def _raised(pose: np.ndarray, metres: float) -> np.ndarray:
    raised = pose.copy()
    raised[2, 3] += metres
    return raised


def _turned(pitch_degrees: float, yaw_degrees: float) -> np.ndarray:
    """Camera from turned camera: first to the right about its y (down), then down about its x."""
    pitch, yaw = math.radians(pitch_degrees), math.radians(yaw_degrees)
    turn = np.eye(4)
    about_y = np.array(
        [[math.cos(yaw), 0.0, math.sin(yaw)], [0.0, 1.0, 0.0], [-math.sin(yaw), 0.0, math.cos(yaw)]]
    )
    about_x = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, math.cos(pitch), math.sin(pitch)],
            [0.0, -math.sin(pitch), math.cos(pitch)],
        ]
    )
    turn[:3, :3] = about_y @ about_x
    return turn
