"""Labelled, augmented frames as training sees them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from occ_core.datasets.samples import LabelledFrames, SweepOrigin
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.geometry.poses import invert_pose
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.preprocessing.masked_inputs import mask_inputs
from occ_core.taxonomy import IGNORE
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
        empty: id of the empty class.
        masked_inputs: as ``OccupancyConfig.masked_inputs``; before ``config`` varies the frame.

    Where ``frames.damaged`` is ``skip``, the nearest intact keyframe of the drive stands in for one
    that cannot be read or has no labels, with a warning that counts them.

    Raises:
        FileNotFoundError: on reading an item without labels, or with a missing sweep.
        ValueError: on reading an item with a damaged file, or of a drive in which all are damaged.
    """

    def __init__(
        self,
        frames: LabelledFrames,
        cascade_ratio: int,
        config: AugmentConfig | None,
        seed: int,
        *,
        whole_drives: bool = False,
        rendered: VoxelGrid | None = None,
        empty: int = NUSCENES.empty,
        masked_inputs: bool = False,
    ) -> None:
        self.frames = frames
        self.cascade_ratio = cascade_ratio
        self.config = config
        self.seed = seed
        self.whole_drives = whole_drives
        self.rendered = rendered
        self.empty = empty
        self.masked_inputs = masked_inputs
        self.first_of_drive = [drive[0] for drive in drives(frames) for _ in drive]
        # Shared by the loader's processes, so that the count is of them all.
        self._damaged = torch.zeros(len(frames), dtype=torch.bool).share_memory_()

    def __getitem__(self, key: tuple[int, int]) -> Example:
        epoch, index = key
        drive = self.first_of_drive[index]
        ends_drive = self.first_of_drive[index + 1 : index + 2] != [drive]
        index, frame, labels = self._intact(index)
        original = frame
        if self.config is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            drive_rng = rng
            if self.whole_drives:
                drive_rng = np.random.default_rng([self.seed, epoch, self.first_of_drive[index]])
            world_from_grid = frame.world_from_grid[0].numpy()
            sweeps = sweep_poses(self.frames.sweeps(index), world_from_grid)
            frame, labels = augment(
                frame, labels, self.frames.grid, sweeps, self.config, rng, drive_rng
            )
        coarse = torch.from_numpy(coarsen_labels(labels.numpy(), self.cascade_ratio, self.empty))
        extras: tuple[SkyAndMotion, ...] = ()
        if self.rendered is not None:
            poses = [each.world_from_grid[0].numpy() for each in (frame, original)]
            # Whole metres and halves, and quarter turns: 6 digits take away the rounding errors.
            grid_from_stored = np.round(invert_pose(poses[0]) @ poses[1], 6)
            extras = (
                sky_and_motion(self.frames, index, original, grid_from_stored, self.rendered),
            )
        return Example(frame, labels[None], coarse[None], (epoch, drive), ends_drive, extras)

    def _intact(self, index: int) -> tuple[int, Frame, Tensor]:
        """The keyframe, or with ``skip`` the nearest intact one of its drive; its index, sensors
        and labels.
        """
        if self.frames.damaged == "stop":
            return index, *self._read(index)
        drive = self.first_of_drive[index]
        alike = [each for each, first in enumerate(self.first_of_drive) if first == drive]
        for nearest in sorted(alike, key=lambda each: abs(each - index)):
            if self._damaged[nearest]:
                continue
            try:
                return nearest, *self._read(nearest)
            except (FileNotFoundError, ValueError) as error:
                self._damaged[nearest] = True
                count = int(self._damaged.sum())
                warnings.warn(f"left out, {count} keyframes so far: {error}", stacklevel=2)
        raise ValueError(
            f"no keyframe of {self.frames.drive(drive)} can be read; "
            "`python -m training.check_data` names every fault"
        )

    def _read(self, index: int) -> tuple[Frame, Tensor]:
        labels = self.frames.labels(index)
        if labels is None:
            raise FileNotFoundError(
                f"{self.frames.label_path(index)} is missing or damaged; training needs the "
                "occupancy labels of every keyframe"
            )
        frame = self.frames.frame(index)
        return mask_inputs(frame) if self.masked_inputs else frame, labels


def collate(examples: list[Example]) -> Example:
    """Joins examples along the batch dimension."""
    frames, labels, coarse, *_, extras = zip(*examples, strict=True)
    return Example(
        collate_frames(list(frames)), torch.cat(labels), torch.cat(coarse), extras=sum(extras, ())
    )


def drives(frames: LabelledFrames) -> list[list[int]]:
    """Indices of every drive's keyframes, in temporal order."""
    by_name: dict[str, list[int]] = {}
    for index in range(len(frames)):
        by_name.setdefault(frames.drive(index), []).append(index)
    return list(by_name.values())


def sweep_poses(
    sweeps: Sequence[SweepOrigin], world_from_grid: Float[np.ndarray, "4 4"]
) -> list[SweepPose]:
    """Poses of a keyframe's sweeps, the newest first, in its grid."""
    grid_from_world = invert_pose(world_from_grid)
    return [
        SweepPose(
            (sweeps[0].stamp_ns - sweep.stamp_ns) * 1e-9, grid_from_world @ sweep.world_from_sensor
        )
        for sweep in sweeps
    ]


def count_voxels(
    frames: LabelledFrames, at_most: int = 64, label_set: LabelSet = NUSCENES
) -> Tensor:
    """Voxels per class, float64 ``[class]``, over evenly spread keyframes with labels.

    Args:
        frames: the keyframes.
        at_most: number of keyframes to read.
        label_set: meaning of the class ids.
    """
    classes = len(label_set.names)
    counts = torch.zeros(classes, dtype=torch.float64)
    for index in np.unique(np.linspace(0, len(frames) - 1, at_most).astype(int)):
        labels = frames.labels(int(index))
        if labels is not None:
            counts += torch.bincount(labels[labels != IGNORE].long(), minlength=classes)
    return counts
