"""Exact changes of the grid of a frame and its labels: no voxel is resampled, no label is lost
except at the edge of the range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.geometry.poses import invert_pose
from occ_core.taxonomy import IGNORE
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid

Labelled = tuple[Frame, UInt8[Tensor, "x y z"]]
"""A frame of batch 1 and the class ids of its voxels."""


def flip(frame: Frame, labels: UInt8[Tensor, "x y z"], axis: int) -> Labelled:
    """Mirrors the grid along ``axis`` (0: x, 1: y), which must be centred at 0.

    Images stay as they are; their cameras are mirrored.
    """
    mirror = np.eye(4)
    mirror[axis, axis] = -1
    return _moved(frame, mirror), labels.flip(axis)


def quarter_turns(frame: Frame, labels: UInt8[Tensor, "x y z"], turns: int) -> Labelled:
    """Turns the content of the grid by 90 degrees ``turns`` times, from x towards y, about z.

    The grid must be square in x and y and centred at 0.
    """
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns % 4]
    rotation = np.eye(4)
    rotation[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return _moved(frame, rotation), labels.rot90(turns, (0, 1))


def lift(frame: Frame, labels: UInt8[Tensor, "x y z"], voxels: int, size_m: float) -> Labelled:
    """Raises the grid by whole voxels, as if the sensor that it is fixed to were mounted higher.

    A part of a voxel would mix the labels of two. What enters the range is unknown and ignored.

    Args:
        voxels: may be negative.
        size_m: edge length of a voxel.
    """
    lowering = np.eye(4)
    lowering[2, 3] = -voxels * size_m
    lifted = labels.roll(-voxels, 2)
    lifted[:, :, -voxels if voxels > 0 else 0 : None if voxels > 0 else -voxels] = IGNORE
    return _moved(frame, lowering), lifted


def mirrored_axes(grid: VoxelGrid) -> tuple[int, ...]:
    """The axes (0: x, 1: y) along which a mirror maps the grid onto itself: those centred at 0.

    Raises:
        ValueError: there is none.
    """
    axes = tuple(axis for axis in (0, 1) if grid.range_m[axis] == -grid.range_m[axis + 3])
    if not axes:
        raise ValueError(
            f"mirrored frames need a grid centred at 0 in x or y, got {grid.range_m}; set "
            "AugmentConfig.flip to 0"
        )
    return axes


def check_square(grid: VoxelGrid) -> None:
    """Refuses a grid that a quarter turn does not map onto itself.

    Raises:
        ValueError: the grid is not square in x and y and centred at 0.
    """
    x_min, y_min, _, x_max, y_max, _ = grid.range_m
    if not -x_min == -y_min == x_max == y_max:
        raise ValueError(
            "AugmentConfig.quarter_turn needs a grid that is square in x and y and centred at 0, "
            f"got {grid.range_m}; leave it out"
        )


def _moved(frame: Frame, new_from_old: np.ndarray) -> Frame:
    """The frame in a new grid frame, whose axes are those of the old one in another order or
    reversed.
    """
    old_from_new = torch.from_numpy(invert_pose(new_from_old))
    return replace(
        frame,
        grid_from_camera=torch.from_numpy(new_from_old).float() @ frame.grid_from_camera,
        points=tuple(_moved_points(cloud, new_from_old) for cloud in frame.points),
        world_from_grid=frame.world_from_grid @ old_from_new,
    )


def _moved_points(points: Float[Tensor, "_ 5"], new_from_old: np.ndarray) -> Float[Tensor, "_ 5"]:
    # Column by column: exact, and a fraction of the time of a product of matrices.
    old, new = points.numpy(), points.numpy().copy()
    for axis, row in enumerate(new_from_old[:3].astype(np.float32)):
        source = np.abs(row[:3]).argmax()
        new[:, axis] = old[:, source] * row[source] + row[3]
    return torch.from_numpy(new)
