"""What a frozen model knows of single LiDAR points: features at labelled points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.geometry.points import project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.model import OccupancyModel
from occ_core.ops.interpolate import interpolate
from occ_core.ops.sparse import to_dense
from occ_core.taxonomy import NUM_CLASSES
from occ_core.types import Frame

NEAREST_M = 1.0
"""Points nearer to a camera are left out: they show the vehicle itself."""


@dataclass(frozen=True)
class PointFeatures:
    """Labelled points of several keyframes and what the model has at each."""

    features: dict[str, Float[Tensor, "point _"]]
    """``image``: the image features that the head would look up there. ``lidar``: those of the
    LiDAR branch in the point's own voxel. ``fused``: these, and the volume that the head reads.
    ``fused_and_image``: all of them. What the model lacks is left out.
    """
    classes: Int[Tensor, " point"]
    """1 to 16."""
    range_m: Float[Tensor, " point"]
    """Horizontal distance from the LiDAR."""
    drive: Int[Tensor, " point"]
    """Number of the drive, in the order in which they were given."""


@torch.no_grad()
def point_features(
    model: OccupancyModel,
    frames: NuScenesFrames,
    drives: Sequence[Sequence[int]],
    points: int,
    seed: int,
) -> PointFeatures:
    """Features at points of the newest sweep that a camera sees, drawn with sqrt-balanced classes:
    a class's share among the drawn points grows with the square root of its share among all.

    Args:
        model: in evaluation mode; every keyframe is a first one, without memory.
        drives: indices of the keyframes, drive by drive.
        points: at most this many points of each keyframe.
        seed: of the draw.

    Raises:
        FileNotFoundError: the data root lacks nuScenes-lidarseg.
        ValueError: a keyframe's classes do not fit its points.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[PointFeatures] = []
    keyframes = [(number, index) for number, drive in enumerate(drives) for index in drive]
    for number, index in tqdm(keyframes, desc="features", unit="frame", leave=False):
        frame, _ = frames[index]
        keyframe = frames.keyframes[index]
        xyz_m = torch.from_numpy(keyframe.lidar.read()[:, :3].astype(np.float32))
        classes = torch.from_numpy(keyframe.read_lidarseg().astype(np.int64))
        inside = frames.grid.contains(frames.grid.index(xyz_m))
        candidates = ((classes > 0) & inside & _seen(frame, xyz_m)).nonzero()[:, 0]
        if not len(candidates):
            continue
        chosen = candidates[_draw(classes[candidates], points, generator)]
        parts.append(
            PointFeatures(
                _features(model, frame, xyz_m[chosen]),
                classes[chosen],
                xyz_m[chosen, :2].norm(dim=1),
                torch.full((len(chosen),), number),
            )
        )
    if not parts:
        raise ValueError(f"no camera of {frames.root} sees a labelled LiDAR point")
    return PointFeatures(
        {name: torch.cat([part.features[name] for part in parts]) for name in parts[0].features},
        torch.cat([part.classes for part in parts]),
        torch.cat([part.range_m for part in parts]),
        torch.cat([part.drive for part in parts]),
    )


def _features(
    model: OccupancyModel, frame: Frame, xyz_m: Float[Tensor, "point 3"]
) -> dict[str, Tensor]:
    """The features of a frame at points, by name; see ``PointFeatures``."""
    grid = model.config.grid
    sample = torch.zeros(len(xyz_m), dtype=torch.long)
    image = model.image_branch(frame).sampler(xyz_m, sample)
    own_voxel = to_dense(model.lidar_encoder(frame.points).fine)[0]  # [C, X, Y, Z]
    x, y, z = grid.index(xyz_m).unbind(1)
    lidar = own_voxel[:, x, y, z].T
    volume, coarse = model(frame).volume, model.config.coarse_grid
    cell = (xyz_m - xyz_m.new_tensor(coarse.min_m)) / coarse.voxel_size_m - 0.5
    fused = torch.cat([lidar, interpolate(volume, cell, sample)], dim=1)
    by_name = {"image": image, "lidar": lidar, "fused": fused}
    if image.shape[1]:
        by_name["fused_and_image"] = torch.cat([fused, image], dim=1)
    return {name: each.float() for name, each in by_name.items() if each.shape[1]}


def _seen(frame: Frame, xyz_m: Float[Tensor, "point 3"]) -> Bool[Tensor, " point"]:
    """Whether each point projects into the image of a camera that is not masked."""
    seen = np.zeros(len(xyz_m), dtype=bool)
    height, width = frame.images.shape[-2:]
    for camera in frame.camera_mask[0].nonzero()[:, 0]:
        camera_from_grid = invert_pose(frame.grid_from_camera[0, camera].double().numpy())
        pixel, depth_m = project_points(
            frame.intrinsics[0, camera].numpy(), transform_points(camera_from_grid, xyz_m.numpy())
        )
        column, row = pixel.T  # NaN behind the camera: every comparison is false
        inside = (column > -0.5) & (column < width - 0.5) & (row > -0.5) & (row < height - 0.5)
        seen |= inside & (depth_m > NEAREST_M)
    return torch.from_numpy(seen)


def _draw(
    classes: Int[Tensor, " point"], points: int, generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """Indices of at most ``points`` points, sqrt-balanced, none of them twice."""
    counts = torch.bincount(classes, minlength=NUM_CLASSES)
    weight = counts[classes].double().rsqrt()
    return torch.multinomial(weight, min(points, len(classes)), generator=generator)
