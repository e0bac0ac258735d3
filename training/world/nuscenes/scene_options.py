"""The part of a drive that becomes a nuScenes scene, and the times of its sweeps."""

from __future__ import annotations

from dataclasses import dataclass

from training.world.sensors.rig import FULL_SIZE, LIDAR

SWEEPS_PER_KEYFRAME = 10
"""20 Hz sweeps, 2 Hz keyframes."""


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """The keyframes of a drive that are written, and how."""

    version: str = "v1.0-town"
    """Name of the folder with the tables."""
    keyframes: int = 40
    """Two a second."""
    image_size: tuple[int, int] = FULL_SIZE
    """Height and width in pixels."""
    first: int = 0
    """The keyframe of the drive with which the scene begins."""

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")
        if self.first < 0:
            raise ValueError(f"first must not be negative, got {self.first}")
        if min(self.image_size) < 8:
            raise ValueError(
                f"image_size must be at least 8 8 (height width), got {self.image_size}"
            )

    @property
    def last(self) -> int:
        """The keyframe of the drive with which the scene ends."""
        return self.first + self.keyframes - 1

    @property
    def begin_s(self) -> float:
        """Start of the first sweep: ten sweeps precede each keyframe, the first one included."""
        return self.first * SWEEPS_PER_KEYFRAME * LIDAR.period_us * 1e-6

    @property
    def end_s(self) -> float:
        """End of the sweep of the last keyframe; the drive must not be shorter."""
        return sweep_end_s(keyframe_sweep(self.last))


def keyframe_sweep(keyframe: int) -> int:
    """Number of the sweep in a drive that belongs to a keyframe."""
    return (keyframe + 1) * SWEEPS_PER_KEYFRAME


def sweep_end_s(number: int) -> float:
    """Time at which a sweep of a drive is complete; its file is stamped with it."""
    return (number + 1) * LIDAR.period_us * 1e-6
