"""Labelled, augmented frames as training sees them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import Keyframe
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.geometry.poses import invert_pose
from occ_core.taxonomy import IGNORE, NUM_CLASSES
from occ_core.types import Frame, collate_frames
from occ_core.voxel_grid import VoxelGrid
from training.learning.augment import AugmentConfig, augment
from training.learning.augment_lidar import SweepPose
from training.learning.sequential_rendering import SkyAndMotion, sky_and_motion


class Example(NamedTuple):
    """A batch of labelled frames of one instant each."""

    frame: Frame
    labels: UInt8[Tensor, "batch x y z"]
    """Class ids on the predicted grid, 255 ignored."""
    coarse_labels: UInt8[Tensor, "batch _ _ _"]
    """The same on the coarse grid."""
    drive: tuple[int, int] = (0, 0)
    """(pass, index of the drive's first keyframe): the key of the drive's memory."""
    ends_drive: bool = False
    """Whether this is the drive's last keyframe."""
    extras: tuple[SkyAndMotion, ...] = ()
    """One per sample if a renderer takes part, otherwise empty."""

    def to(self, device: torch.device | str) -> Example:
        """The same example with every tensor on ``device``."""
        return self._replace(
            frame=self.frame.to(device),
            labels=self.labels.to(device),
            coarse_labels=self.coarse_labels.to(device),
            extras=tuple(extra.to(device) for extra in self.extras),
        )


class TrainingExamples(Dataset[Example]):
    """Augmented examples by (pass, index); the same key always gives the same example, and every
    pass another variation.

    Args:
        cascade_ratio: voxels of the predicted grid per coarse voxel and axis.
        config: augmentation; None leaves frames as they are.
        whole_drives: mirror, turn and lift all keyframes of a drive alike in a pass, as a memory
            requires.
        rendered: grid of the volume that is rendered; None adds no ``extras``.

    Raises:
        FileNotFoundError: on reading an item without labels.
    """

    def __init__(
        self,
        frames: NuScenesFrames,
        cascade_ratio: int,
        config: AugmentConfig | None,
        seed: int,
        *,
        whole_drives: bool = False,
        rendered: VoxelGrid | None = None,
    ) -> None:
        self.frames = frames
        self.cascade_ratio = cascade_ratio
        self.config = config
        self.seed = seed
        self.whole_drives = whole_drives
        self.rendered = rendered
        self.first_of_drive = [drive[0] for drive in drives(frames) for _ in drive]

    def __getitem__(self, key: tuple[int, int]) -> Example:
        epoch, index = key
        frame, labels = self.frames[index]
        if labels is None:
            lidar = self.frames.keyframes[index].lidar.path
            raise FileNotFoundError(
                f"keyframe of {lidar} has no occupancy labels; training needs nuscenes_occ/ in the "
                "data root"
            )
        original = frame
        if self.config is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            drive_rng = rng
            if self.whole_drives:
                drive_rng = np.random.default_rng([self.seed, epoch, self.first_of_drive[index]])
            sweeps = sweep_poses(self.frames.keyframes[index])
            frame, labels = augment(
                frame, labels, self.frames.grid, sweeps, self.config, rng, drive_rng
            )
        coarse = torch.from_numpy(coarsen_labels(labels.numpy(), self.cascade_ratio))
        extras: tuple[SkyAndMotion, ...] = ()
        if self.rendered is not None:
            poses = [each.world_from_grid[0].numpy() for each in (frame, original)]
            # Whole metres and halves, and quarter turns: 6 digits take away the rounding errors.
            grid_from_stored = np.round(invert_pose(poses[0]) @ poses[1], 6)
            extras = (
                sky_and_motion(self.frames, index, original, grid_from_stored, self.rendered),
            )
        drive = self.first_of_drive[index]
        ends_drive = self.first_of_drive[index + 1 : index + 2] != [drive]
        return Example(frame, labels[None], coarse[None], (epoch, drive), ends_drive, extras)


def collate(examples: list[Example]) -> Example:
    """Joins examples along the batch dimension."""
    frames, labels, coarse, *_, extras = zip(*examples, strict=True)
    return Example(
        collate_frames(list(frames)), torch.cat(labels), torch.cat(coarse), extras=sum(extras, ())
    )


def drives(frames: NuScenesFrames) -> list[list[int]]:
    """Indices of every scene's keyframes, in temporal order."""
    scenes: dict[str, list[int]] = {}
    for index, keyframe in enumerate(frames.keyframes):
        scenes.setdefault(keyframe.scene_name, []).append(index)
    return list(scenes.values())


def sweep_poses(keyframe: Keyframe) -> list[SweepPose]:
    """Poses of a keyframe's sweeps in its frame, in which the newest one is the grid."""
    grid_from_world = invert_pose(keyframe.lidar.world_from_lidar)
    return [
        SweepPose(
            (keyframe.lidar.stamp_ns - sweep.stamp_ns) * 1e-9,
            grid_from_world @ sweep.world_from_lidar,
        )
        for sweep in (keyframe.lidar, *keyframe.sweeps)
    ]


def count_voxels(frames: NuScenesFrames, at_most: int = 64) -> Tensor:
    """Voxels per class, float64 ``[class]``, over evenly spread keyframes with labels."""
    counts = torch.zeros(NUM_CLASSES, dtype=torch.float64)
    for index in np.unique(np.linspace(0, len(frames) - 1, at_most).astype(int)):
        labels = frames.labels(int(index))
        if labels is not None:
            counts += torch.bincount(labels[labels != IGNORE].long(), minlength=NUM_CLASSES)
    return counts
