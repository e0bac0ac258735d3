"""Matches each LiDAR sweep with the camera images that belong to it. Needs neither ROS nor torch.

The LiDAR sweep is the anchor. An image belongs to a sweep if its stamp lies within ``tolerance_s``
of the sweep's stamp plus the camera's offset, on either side: a later image is as wrong as an older
one. A set is released as soon as every camera is in, otherwise when no more images can be expected.
The stamps of later sweeps decide that, not the wall time, so that a live run and a replay of its
bag give the same sets.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from occ_perception_ros.ranges import range_problems

NS = 1_000_000_000

NUSCENES_OFFSETS_S = (-0.043, -0.035, -0.028, -0.001, -0.010, -0.020)
"""Camera stamp minus LiDAR stamp in nuScenes (front left, front, front right, back left, back, back
right): a sweep is stamped at its end, and a camera fires when the beam passes its centre."""


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Which LiDAR sweeps and images form a set."""

    frame_period_s: float = field(default=0.5, metadata={"range": (0.0, 60.0)})
    """Period of the sets, each at most a quarter of it early; the sweeps between are accumulated.
    0: a set for every sweep."""
    camera_offsets_s: tuple[float, ...] = NUSCENES_OFFSETS_S
    """Camera stamp minus LiDAR stamp: one value per camera, or a single one for all."""
    tolerance_s: float = field(default=0.045, metadata={"range": (0.0, 10.0)})
    """Largest deviation from the offset, either way; below the sweep interval, or two sweeps would
    match one image."""
    timeout_s: float = field(default=0.1, metadata={"range": (0.0, 10.0)})
    """How long to wait for the image of an active camera, in sensor time after the sweep."""
    silence_s: float = field(default=1.2, metadata={"range": (0.0, 60.0)})
    """A camera without an image for this long is lost; sets no longer wait for it until it
    returns."""
    startup_grace_s: float = field(default=2.0, metadata={"range": (0.0, 60.0)})
    """How long after the first sweep sets wait for cameras that have not sent any image."""
    min_cameras: int = field(default=1, metadata={"range": (0, 32)})
    """Smallest number of images in a set; 0 allows LiDAR alone once all cameras are lost."""
    sweeps: int = field(default=10, metadata={"range": (1, 100)})
    """Number of sweeps in a set, including the anchor."""
    regression_s: float = field(default=0.5, metadata={"range": (0.01, 3600.0)})
    """A sweep that is older than the newest by more than this starts a new pass, as in a looped
    bag; one that is older by less is late and dropped."""
    max_memory_gap_s: float = field(default=2.0, metadata={"range": (0.1, 3600.0)})
    """Longest gap between sweeps across which the memory is kept."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if not self.camera_offsets_s or any(abs(offset) > 10 for offset in self.camera_offsets_s):
            problems.append(
                f"camera_offsets_s must hold offsets below 10 s, got {self.camera_offsets_s}"
            )
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class SensorSet:
    """One anchor sweep and the data that belong to it."""

    stamp_ns: int
    images: dict[str, tuple[int, Any]]
    """Stamp and image of each camera that has one, by name."""
    missing: dict[str, str]
    """Why each other camera has no image, by name."""
    sweeps: tuple[tuple[int, Any], ...]
    """Stamps and sweeps, the anchor last."""
    reset_reason: str | None
    """Why the memory of earlier sets is no longer valid; None: it is valid."""


class _CameraState(Enum):
    """State of a camera for one sweep; the values are texts for users."""

    IN = "fused"
    LATE = "late"
    PASSED = "no image near this sweep's stamp"
    SILENT = "silent"
    UNSEEN = "never received"


class _ImageStream:
    """The newest images of one camera, in the order of their stamps."""

    def __init__(self, offset_ns: int, capacity: int) -> None:
        self.offset_ns = offset_ns
        self.images: deque[tuple[int, Any]] = deque(maxlen=capacity)
        self.last_ns: int | None = None
        """Newest stamp; after a restart, the stamp of the restart."""
        self.offsets_ns: deque[int] = deque(maxlen=50)
        """Measured offsets: stamp of the nearest image minus that of the sweep."""

    def nearest(self, stamp_ns: int) -> tuple[int, Any] | None:
        """The image nearest to the sweep's stamp plus the offset."""
        if not self.images:
            return None
        target = stamp_ns + self.offset_ns
        position = bisect_left(self.images, target, key=lambda image: image[0])
        around = [self.images[i] for i in (position - 1, position) if 0 <= i < len(self.images)]
        return min(around, key=lambda image: abs(image[0] - target))


class LidarAnchoredSynchronizer:
    """Collects stamps with arbitrary payloads and returns the sets that they complete.

    ``counts`` has the number of released ``sets``, of refused sweeps by reason, and of ``resets``,
    ``duplicates`` and ``out_of_order`` messages.

    Args:
        cameras: names, in the order of ``config.camera_offsets_s``.
        config: see ``SyncConfig``.

    Raises:
        ValueError: the configuration does not fit the number of cameras.
    """

    _IMAGES_KEPT = 32
    _PENDING_KEPT = 64

    def __init__(self, cameras: Sequence[str], config: SyncConfig) -> None:
        offsets = config.camera_offsets_s
        if len(offsets) == 1:
            offsets *= len(cameras)
        if len(offsets) != len(cameras):
            raise ValueError(
                f"camera_offsets_s holds {len(offsets)} offsets, but there are {len(cameras)} "
                f"cameras {list(cameras)}; give one offset per camera, or one for all"
            )
        if config.min_cameras > len(cameras):
            raise ValueError(
                f"min_cameras is {config.min_cameras}, but there are only {len(cameras)} cameras"
            )
        self.config = config
        self.counts: Counter[str] = Counter()
        self._streams = {
            camera: _ImageStream(round(offset * NS), self._IMAGES_KEPT)
            for camera, offset in zip(cameras, offsets, strict=True)
        }
        self._tolerance_ns = round(config.tolerance_s * NS)
        self._sweeps: deque[tuple[int, Any]] = deque(maxlen=config.sweeps + self._PENDING_KEPT)
        self._pending: deque[int] = deque(maxlen=self._PENDING_KEPT)
        self._first_ns: int | None = None
        self._newest_ns: int | None = None
        self._due_ns: int | None = None
        """When the next set is due; before the first set of a pass, the stamp of the pass's first
        sweep.
        """
        self._reset_reason: str | None = None

    def add_image(self, camera: str, stamp_ns: int, image: Any) -> list[SensorSet]:
        """Stores an image; returns the sets that it completes."""
        stream = self._streams[camera]
        if stream.images:
            behind_ns = stream.images[-1][0] - stamp_ns
            if behind_ns > self.config.regression_s * NS:
                stream.images.clear()
            elif behind_ns > 0:
                self.counts["out_of_order"] += 1
                return []
            elif behind_ns == 0:
                self.counts["duplicates"] += 1
                stream.images.pop()
        stream.images.append((stamp_ns, image))
        stream.last_ns = stamp_ns
        return self._release()

    def add_sweep(self, stamp_ns: int, sweep: Any) -> list[SensorSet]:
        """Stores a sweep; returns the sets that it completes or ends the wait of."""
        released: list[SensorSet] = []
        if self._newest_ns is not None:
            ahead_s = (stamp_ns - self._newest_ns) / NS
            if ahead_s < -self.config.regression_s:
                released = self.restart(stamp_ns, f"LiDAR stamps went back by {-ahead_s:.3f} s")
            elif ahead_s > self.config.max_memory_gap_s:
                released = self.restart(stamp_ns, f"no LiDAR sweep for {ahead_s:.3f} s")
            elif ahead_s < 0:
                self.counts["out_of_order"] += 1
                return []
            elif ahead_s == 0:
                self.counts["duplicates"] += 1
                self._sweeps.pop()
                self._sweeps.append((stamp_ns, sweep))
                return self._release()
        if self._first_ns is None:
            self._first_ns = stamp_ns
        if self._due_ns is None:
            self._due_ns = stamp_ns
        self._newest_ns = stamp_ns
        self._sweeps.append((stamp_ns, sweep))
        if self._is_due(stamp_ns):
            self._pending.append(stamp_ns)
        return released + self._release()

    def flush(self) -> list[SensorSet]:
        """Returns the pending sets, when no more data will arrive for them."""
        return self._release(wait=False)

    def restart(self, stamp_ns: int | None, reason: str) -> list[SensorSet]:
        """Starts a new pass and returns the pending sets of the old one.

        Args:
            stamp_ns: images close to this stamp are kept; None: all data are dropped.
            reason: ``reset_reason`` of the next set.
        """
        released = self.flush()
        self._pending.clear()
        self._sweeps.clear()
        self._newest_ns = self._due_ns = None
        self._reset_reason = reason
        self.counts["resets"] += 1
        for stream in self._streams.values():
            near = [
                image
                for image in stream.images
                if stamp_ns is not None
                and abs(image[0] - stamp_ns) <= self.config.regression_s * NS
            ]
            stream.images = deque(near, self._IMAGES_KEPT)
            if stream.last_ns is not None and stamp_ns is not None:
                # A known camera is expected in the new pass too, until it has been silent.
                stream.last_ns = near[-1][0] if near else stamp_ns
        return released

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sweep."""
        return self._newest_ns

    def offsets_s(self) -> dict[str, float]:
        """The configured offset of each camera."""
        return {camera: stream.offset_ns / NS for camera, stream in self._streams.items()}

    def suggested_offsets_s(self) -> dict[str, float]:
        """Measured values for ``camera_offsets_s``: medians of camera stamp minus LiDAR stamp.

        They are measured over the last sets or, before the first set, over the sweeps without any
        image near them.
        """
        return {
            camera: statistics.median(stream.offsets_ns) / NS
            for camera, stream in self._streams.items()
            if stream.offsets_ns
        }

    def _is_due(self, stamp_ns: int) -> bool:
        early_ns = self.config.frame_period_s * NS / 4
        return self._due_ns is None or stamp_ns >= self._due_ns - early_ns

    def _release(self, wait: bool = True) -> list[SensorSet]:
        """The pending sets that are complete; without ``wait``, the incomplete ones too."""
        released = []
        for stamp_ns in list(self._pending):
            if not self._is_due(stamp_ns):  # a set that was just released moved the due time
                self._pending.remove(stamp_ns)
                continue
            states = {
                camera: self._state(stream, stamp_ns) for camera, stream in self._streams.items()
            }
            verdict = self._verdict(stamp_ns, list(states.values()), wait)
            if verdict == "wait":
                continue
            self.counts[verdict] += 1
            if verdict != "sets":
                if verdict == "idle" and not self.counts["sets"]:
                    # No sweep has matched any image yet: the configured offsets may be wrong.
                    self._measure_offsets(stamp_ns)
                self._pending.remove(stamp_ns)
                continue
            if self.counts["sets"] == 1:
                for stream in self._streams.values():
                    stream.offsets_ns.clear()
            self._measure_offsets(stamp_ns)
            while self._pending and self._pending[0] <= stamp_ns:
                self._pending.popleft()
            released.append(self._set(stamp_ns, states))
        return released

    def _measure_offsets(self, stamp_ns: int) -> None:
        for stream in self._streams.values():
            if (nearest := stream.nearest(stamp_ns)) is not None:
                stream.offsets_ns.append(nearest[0] - stamp_ns)

    def _state(self, stream: _ImageStream, stamp_ns: int) -> _CameraState:
        target = stamp_ns + stream.offset_ns
        nearest = stream.nearest(stamp_ns)
        if nearest is not None and abs(nearest[0] - target) <= self._tolerance_ns:
            return _CameraState.IN
        if stream.last_ns is None:
            return _CameraState.UNSEEN
        if abs(stream.last_ns - target) > self.config.silence_s * NS:
            return _CameraState.SILENT
        return _CameraState.PASSED if stream.last_ns > target else _CameraState.LATE

    def _verdict(self, stamp_ns: int, states: Sequence[_CameraState], wait: bool) -> str:
        """``"sets"``: release; ``"wait"``; or the name under which a refused sweep is counted."""
        cameras_in = states.count(_CameraState.IN)
        if cameras_in == len(states):
            return "sets"
        assert self._newest_ns is not None  # a sweep is pending
        assert self._first_ns is not None and self._due_ns is not None
        wait = wait and self._newest_ns - stamp_ns < self.config.timeout_s * NS
        starting = (
            0 <= stamp_ns - self._first_ns < self.config.startup_grace_s * NS
            and _CameraState.UNSEEN in states
        )
        if wait and (_CameraState.LATE in states or starting):
            return "wait"
        if starting:
            return "starting"
        has_passed = _CameraState.PASSED in states
        if cameras_in == 0 and (has_passed or _CameraState.LATE in states):
            return "idle"  # a sweep between two exposures
        if cameras_in < self.config.min_cameras:
            return "below_min_cameras"
        if has_passed and stamp_ns - self._due_ns < self.config.frame_period_s * NS:
            return "stood_back"  # the camera fires in another phase: a later sweep may match all
        return "sets"

    def _set(self, stamp_ns: int, states: dict[str, _CameraState]) -> SensorSet:
        images = {}
        for camera, stream in self._streams.items():
            nearest = stream.nearest(stamp_ns)
            if nearest is not None and states[camera] is _CameraState.IN:
                images[camera] = nearest
        missing = {
            camera: state.value for camera, state in states.items() if state is not _CameraState.IN
        }
        # Due times advance by whole periods: sets that are slightly early or late keep the rate.
        period_ns = round(self.config.frame_period_s * NS)
        self._due_ns = max(stamp_ns, self._due_ns or stamp_ns) + period_ns
        sweeps = [sweep for sweep in self._sweeps if sweep[0] <= stamp_ns]
        reason, self._reset_reason = self._reset_reason, None
        return SensorSet(
            stamp_ns=stamp_ns,
            images=images,
            missing=missing,
            sweeps=tuple(sweeps[-self.config.sweeps :]),
            reset_reason=reason,
        )
