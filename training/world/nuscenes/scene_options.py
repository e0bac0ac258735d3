"""The part of a drive that becomes a nuScenes scene, and the times of its keyframes and sweeps."""

from __future__ import annotations

from dataclasses import dataclass

from training.world.sensors.rig import FULL_SIZE

_KEYFRAME_US = 500_000
"""2 Hz keyframes."""
_FIRST_END_US = 50_000
"""End of sweep 0, which is left out where a revolution takes longer."""


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
    rig: int = 0
    """Number of the sensors, where drives have sensors of their own."""

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
        """Start of the first sweep: half a second of sweeps precedes each keyframe."""
        return self.first * _KEYFRAME_US * 1e-6

    @property
    def end_s(self) -> float:
        """End of the sweep of the last keyframe; the drive must not be shorter."""
        return ((self.last + 1) * _KEYFRAME_US + _FIRST_END_US) * 1e-6


@dataclass(frozen=True)
class SweepClock:
    """Numbers and times of the sweeps of a drive."""

    period_us: int
    """Duration of a revolution; keyframes are a whole number of revolutions apart."""

    def __post_init__(self) -> None:
        if not 0 < self.period_us <= _KEYFRAME_US or _KEYFRAME_US % self.period_us:
            raise ValueError(
                f"period_us must divide the {_KEYFRAME_US} us between keyframes, got "
                f"{self.period_us}"
            )

    @property
    def per_keyframe(self) -> int:
        """Sweeps between two keyframes, the second included."""
        return _KEYFRAME_US // self.period_us

    @property
    def first_sweep(self) -> int:
        """Number of the first sweep that does not begin before its drive."""
        return 0 if self.period_us <= _FIRST_END_US else 1

    def keyframe_sweep(self, keyframe: int) -> int:
        """Number of the sweep in a drive that belongs to a keyframe."""
        return (keyframe + 1) * self.per_keyframe

    def end_s(self, number: int) -> float:
        """Time at which a sweep of a drive is complete; its file is stamped with it."""
        return (number * self.period_us + _FIRST_END_US) * 1e-6
