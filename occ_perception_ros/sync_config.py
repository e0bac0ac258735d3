"""Options of the matching of sweeps and images. Needs neither ROS nor torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from occ_perception_ros.ranges import range_problems, refuse

NUSCENES_OFFSETS_S = (-0.043, -0.035, -0.028, -0.001, -0.010, -0.020)
"""Camera stamp minus LiDAR stamp in nuScenes (front left, front, front right, back left, back, back
right): a sweep is stamped at its end, and a camera fires when the beam passes its centre."""


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Which LiDAR sweeps and images form a set."""

    frame_period_s: float = field(default=0.5, metadata={"range": (0.0, 60.0), "dynamic": True})
    """Period of the sets, each at most a quarter of it early; the sweeps between are accumulated.
    0: a set for every sweep."""
    camera_offsets_s: tuple[float, ...] = field(
        default=NUSCENES_OFFSETS_S, metadata={"dynamic": True}
    )
    """Camera stamp minus LiDAR stamp: one value per camera, or a single one for all."""
    tolerance_s: float = field(default=0.045, metadata={"range": (0.0, 10.0), "dynamic": True})
    """Largest deviation from the offset, either way; below the sweep interval, or two sweeps would
    match one image."""
    timeout_s: float = field(default=0.1, metadata={"range": (0.0, 10.0), "dynamic": True})
    """How long to wait for the image of an active camera: in sensor time after the sweep, and live
    in real time too."""
    silence_s: float = field(default=1.2, metadata={"range": (0.0, 60.0), "dynamic": True})
    """A camera without an image for this long is lost; sets no longer wait for it until it
    returns."""
    startup_grace_s: float = field(default=2.0, metadata={"range": (0.0, 60.0), "dynamic": True})
    """How long after the first sweep sets wait for cameras that have not sent any image."""
    min_cameras: int = field(default=1, metadata={"range": (0, 32), "dynamic": True})
    """Smallest number of images in a set; 0 allows LiDAR alone once all cameras are lost."""
    sweeps: int = field(default=10, metadata={"range": (1, 100)})
    """Number of sweeps in a set, including the anchor."""
    regression_s: float = field(default=0.5, metadata={"range": (0.01, 3600.0), "dynamic": True})
    """A sweep that is older than the newest by more than this starts a new pass, as in a looped
    bag; one that is older by less is late and dropped."""
    max_memory_gap_s: float = field(default=2.0, metadata={"range": (0.1, 3600.0), "dynamic": True})
    """Longest gap between sweeps across which the memory is kept."""

    def __post_init__(self) -> None:
        refuse(self.problems())

    def problems(self) -> list[str]:
        """What is wrong with the values, one text each."""
        problems = range_problems(self)
        offsets = self.camera_offsets_s
        if not offsets or not all(abs(offset) <= 10 for offset in offsets):
            problems.append(f"camera_offsets_s must hold offsets up to 10 s, got {list(offsets)}")
        return problems


def fit_problems(cameras: Sequence[str], config: SyncConfig) -> list[str]:
    """Describes what in the configuration does not fit the number of cameras."""
    problems = []
    offsets = len(config.camera_offsets_s)
    if cameras and offsets not in (1, len(cameras)):
        problems.append(
            f"sync.camera_offsets_s holds {offsets} offsets, but there are {len(cameras)} cameras "
            f"{list(cameras)}; give one offset per camera, or one for all"
        )
    if cameras and config.min_cameras > len(cameras):
        problems.append(
            f"sync.min_cameras is {config.min_cameras}, but there are only {len(cameras)} cameras"
        )
    return problems
