"""What labels are made from: a drive's LiDAR sweeps with their classes, its objects and keyframes.

Class ids are those of the data set, from 0 on; what a drive calls 0 is occupied, but of no class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from occ_core.voxel_grid import VoxelGrid
from training.labels.tracks import ObjectTrack

UNKNOWN = -1
"""Class of a point that nobody has labelled."""
NOISE = -2
"""Class of a point that is known to lie on no surface, such as a raindrop."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelSweep:
    """One LiDAR revolution: its returns, without those from the ego vehicle."""

    points: np.ndarray
    """float32 [N, 3], metres in the LiDAR's frame at the end of the revolution."""
    classes: np.ndarray
    """int16 [N]: class ids, ``UNKNOWN`` or ``NOISE``."""
    world_from_lidar: np.ndarray
    """float64 [4, 4], at the end of the revolution."""
    end_s: float
    """When the revolution ends."""
    period_s: float
    """How long it takes."""
    first_azimuth_rad: float
    """Where it begins, clockwise from the LiDAR's y axis; it runs clockwise."""
    rings: np.ndarray | None = None
    """uint8 [N], neighbouring rings one apart; None where it is not known."""

    def fired_at_s(self, position: np.ndarray) -> np.ndarray:
        """When the beam passed positions ``[..., 3]`` in the LiDAR's frame, float64 ``[...]``."""
        azimuth = np.arctan2(position[..., 0], position[..., 1]) - self.first_azimuth_rad
        return self.end_s - self.period_s * (1.0 - azimuth % (2 * np.pi) / (2 * np.pi))


@dataclass(frozen=True, slots=True, eq=False)
class LabelCamera:
    """A camera at a keyframe, for the mask of what cameras see."""

    size: tuple[int, int]
    """Height and width in pixels."""
    intrinsics: np.ndarray
    """float64 [3, 3]."""
    world_from_camera: np.ndarray
    """float64 [4, 4]; the camera's axes: x right, y down, z forward."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelKeyframe:
    """An instant that gets labels."""

    name: str
    """As the files of its labels are named after it."""
    sweep: int
    """Index of its sweep in the drive."""
    world_from_ego: np.ndarray
    """float64 [4, 4]."""
    cameras: tuple[LabelCamera, ...] = ()
    sample_token: str = ""
    """Tokens in nuScenes, after which some layouts name their files."""
    lidar_token: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LabelDrive:
    """One drive, or the part of one that is labelled in one go."""

    name: str
    token: str
    """The scene's token in nuScenes, else empty."""
    sweeps: tuple[LabelSweep, ...]
    """In the order of time."""
    tracks: tuple[ObjectTrack, ...]
    keyframes: tuple[LabelKeyframe, ...]
    moving: frozenset[int] = frozenset()
    """Classes of what moves: points of such a class that lie in no object's box belong to their own
    sweep alone.
    """
    ground: frozenset[int] = frozenset()
    """Classes of flat ground."""
    objects: frozenset[int] = frozenset()
    """Classes of things, small beside ground and walls."""
    porous: frozenset[int] = frozenset()
    """Classes of what rays enter, such as vegetation."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledVoxels:
    """The labels of one keyframe."""

    keyframe: LabelKeyframe
    grid: VoxelGrid
    voxels: np.ndarray
    """int64 [K], flat indices of the occupied voxels in C order, ascending."""
    classes: np.ndarray
    """int16 [K]: class ids, 0 for a surface of no class."""
    mask_lidar: np.ndarray
    """bool [X, Y, Z]: voxels that a LiDAR ray of the drive crossed or ended in."""
    mask_camera: np.ndarray
    """bool [X, Y, Z]: those of them that a camera sees at the keyframe."""


LoadDrive = Callable[[], LabelDrive]
"""Reads a drive; a worker calls it in its own process."""
