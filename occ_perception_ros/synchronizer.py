"""Matches each LiDAR sweep with the camera images that belong to it. Needs neither ROS nor torch.

The LiDAR sweep is the anchor. An image belongs to a sweep if its stamp lies within ``tolerance_s``
of the sweep's stamp plus the camera's offset, on either side: a later image is as wrong as an older
one. A set is released as soon as every camera is in, otherwise when no more images can be expected.
The stamps of later sweeps decide that, so that a live run and a replay of its bag give the same
sets.

Live, a time-out lasts at least as long in the time in which the process ran, too. After a stall (a
process without processor time, a player that slept) seconds of sweeps are received within
milliseconds: by their stamps alone every time-out would be over before the other topics have been
received. For the same reason the
state of a camera depends on the stamps of its images, not on the order in which they are received.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from occ_perception_ros.image_stream import CameraState, ImageStream
from occ_perception_ros.ranges import range_problems, refuse

NS = 1_000_000_000

NUSCENES_OFFSETS_S = (-0.043, -0.035, -0.028, -0.001, -0.010, -0.020)
"""Camera stamp minus LiDAR stamp in nuScenes (front left, front, front right, back left, back, back
right): a sweep is stamped at its end, and a camera fires when the beam passes its centre."""


OUTCOMES = ("sets", "idle", "starting", "below_min_cameras", "stood_back", "overtaken")
"""What becomes of a sweep that is due, once it no longer waits: it is released in a set, or refused
for one of these reasons. ``overtaken``: by a set so near that it is no longer due."""


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


class LidarAnchoredSynchronizer:
    """Collects stamps with arbitrary payloads and returns the sets that they complete.

    ``counts`` has the number of sweeps that were ``due``, and what became of each of them, see
    ``OUTCOMES``; besides ``resets``, ``duplicates`` and ``out_of_order`` messages.

    Args:
        cameras: names, in the order of ``config.camera_offsets_s``.
        config: see ``SyncConfig``.
        clock_s: the running time of a live run in seconds, see ``process.RunningClock``; None: for
            messages of a file, of which only stamps count.

    Raises:
        ConfigError: the configuration does not fit the number of cameras.
    """

    _PENDING_KEPT = 128

    def __init__(
        self, cameras: Sequence[str], config: SyncConfig, clock_s: Callable[[], float] | None = None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._clock_s = clock_s
        self._streams = {camera: ImageStream() for camera in cameras}
        self.reconfigure(config)
        self._absent: frozenset[str] = frozenset()
        """Cameras of which no image will come."""
        self._heard_s: dict[str, float] = {}
        """Running time of each camera's last image."""
        self._sweeps: deque[tuple[int, Any]] = deque(maxlen=config.sweeps + self._PENDING_KEPT)
        self._pending: deque[int] = deque(maxlen=self._PENDING_KEPT)
        self._received_s: dict[int, float] = {}
        """Wall time at which each pending sweep was received, by its stamp."""
        self._first_ns: int | None = None
        self._newest_ns: int | None = None
        self._due_ns: int | None = None
        """When the next set is due; before the first set of a pass, the stamp of the pass's first
        sweep.
        """
        self._reset_reason: str | None = None

    def reconfigure(self, config: SyncConfig) -> None:
        """Judges sweeps by another configuration from now on; ``sweeps`` is not changed.

        Raises:
            ConfigError: the configuration does not fit the number of cameras.
        """
        refuse(fit_problems(list(self._streams), config))
        self.config = config
        offsets_s = config.camera_offsets_s
        if len(offsets_s) == 1:
            offsets_s *= len(self._streams)
        for stream, offset_s in zip(self._streams.values(), offsets_s, strict=False):
            stream.reconfigure(offset_s, config.tolerance_s, config.timeout_s, config.silence_s)
        self._memory_ns = round(max(config.tolerance_s, config.regression_s) * NS)
        """How much older than a pending sweep an image may be to be of use."""

    def leave_out(self, cameras: Iterable[str]) -> None:
        """No longer waits for the first image of these cameras, which will send none."""
        self._absent |= set(cameras)

    def add_image(self, camera: str, stamp_ns: int, image: Any) -> list[SensorSet]:
        """Stores an image; returns the sets that it completes."""
        stream = self._streams[camera]
        if stream.images:
            behind_ns = stream.images[-1][0] - stamp_ns
            if behind_ns > self.config.regression_s * NS:
                stream.go_back()
            elif behind_ns > 0:
                self.counts["out_of_order"] += 1
                return []
            elif behind_ns == 0:
                self.counts["duplicates"] += 1
        stream.add(stamp_ns, image)
        if self._clock_s is not None:
            self._heard_s[camera] = self._clock_s()
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
            self.counts["due"] += 1
            if len(self._pending) == self._PENDING_KEPT:
                self.counts["overtaken"] += 1
            self._pending.append(stamp_ns)
            if self._clock_s is not None:
                self._received_s[stamp_ns] = self._clock_s()
        released += self._release()
        oldest_ns = self._pending[0] if self._pending else stamp_ns  # stamps ascend
        for stream in self._streams.values():
            stream.forget_before(oldest_ns - self._memory_ns)
        if self._received_s:
            self._received_s = {ns: s for ns, s in self._received_s.items() if ns >= oldest_ns}
        return released

    def poll(self) -> list[SensorSet]:
        """Returns the sets whose wait has ended without any message."""
        return self._release()

    def flush(self) -> list[SensorSet]:
        """Returns the pending sets, when no more data will arrive for them."""
        return self._release(wait=False)

    def restart(self, stamp_ns: int | None, reason: str) -> list[SensorSet]:
        """Starts a new pass and returns the pending sets of the old one.

        Args:
            stamp_ns: stamp of the new pass's first sweep, whose images are kept; None: all data are
                dropped.
            reason: ``reset_reason`` of the next set.
        """
        released = self.flush()
        newest_ns = self._newest_ns
        went_back = stamp_ns is not None and newest_ns is not None and stamp_ns < newest_ns
        self._pending.clear()
        self._received_s.clear()
        self._sweeps.clear()
        self._newest_ns = self._due_ns = None
        self._reset_reason = reason
        self.counts["resets"] += 1
        for stream in self._streams.values():
            stream.restart(stamp_ns, round(self.config.regression_s * NS), went_back)
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
        return self._due_ns is None or stamp_ns >= self._due_ns - self._early_ns(1)

    def _early_ns(self, quarters: int) -> float:
        return quarters * self.config.frame_period_s * NS / 4

    def _release(self, wait: bool = True) -> list[SensorSet]:
        """The pending sets that are complete; without ``wait``, the incomplete ones too."""
        released: list[SensorSet] = []
        if not self._pending:
            return released
        waiting_ns: int | None = None
        for stamp_ns in list(self._pending):
            if not self._is_due(stamp_ns):  # a set that was just released moved the due time
                self._pending.remove(stamp_ns)
                self.counts["overtaken"] += 1
                continue
            if waiting_ns is not None and stamp_ns - waiting_ns >= self._early_ns(3):
                break  # a set of the next period must not overtake one that waits
            states = {camera: self._state(camera, stamp_ns) for camera in self._streams}
            verdict = self._verdict(stamp_ns, list(states.values()), wait)
            if verdict == "wait":
                waiting_ns = stamp_ns if waiting_ns is None else waiting_ns
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
            self._pending.remove(stamp_ns)
            while self._pending and self._pending[0] < stamp_ns:
                self._pending.popleft()
                self.counts["overtaken"] += 1
            released.append(self._set(stamp_ns, states))
        return released

    def _measure_offsets(self, stamp_ns: int) -> None:
        for stream in self._streams.values():
            if (nearest := stream.nearest(stamp_ns)) is not None:
                stream.offsets_ns.append(nearest[0] - stamp_ns)

    def _state(self, camera: str, stamp_ns: int) -> CameraState:
        state = self._streams[camera].state(stamp_ns)
        if state is CameraState.UNSEEN and camera in self._absent:
            return CameraState.ABSENT
        if state is CameraState.SILENT and self._clock_s is not None:
            # By its stamps; after a stall the sweeps may have been received first.
            silent_s = self._clock_s() - self._heard_s.get(camera, float("-inf"))
            if silent_s <= self.config.silence_s:
                return CameraState.LATE
        return state

    def _verdict(self, stamp_ns: int, states: Sequence[CameraState], wait: bool) -> str:
        """``"sets"``: release; ``"wait"``; or the name under which a refused sweep is counted."""
        cameras_in = states.count(CameraState.IN)
        if cameras_in == len(states):
            return "sets"
        assert self._first_ns is not None and self._due_ns is not None  # a sweep is pending
        wait = wait and not self._timed_out(stamp_ns)
        starting = 0 <= stamp_ns - self._first_ns < self.config.startup_grace_s * NS and (
            CameraState.UNSEEN in states or CameraState.EARLY in states
        )
        if wait and (CameraState.LATE in states or starting):
            return "wait"
        if starting:
            return "starting"
        has_passed = CameraState.PASSED in states
        if cameras_in == 0 and (has_passed or CameraState.LATE in states):
            return "idle"  # a sweep between two exposures
        if cameras_in < self.config.min_cameras:
            return "below_min_cameras"
        if has_passed and stamp_ns - self._due_ns < self.config.frame_period_s * NS:
            return "stood_back"  # the camera fires in another phase: a later sweep may match all
        return "sets"

    def _timed_out(self, stamp_ns: int) -> bool:
        assert self._newest_ns is not None  # a sweep is pending
        if self._newest_ns - stamp_ns < self.config.timeout_s * NS:
            return False
        if self._clock_s is None:
            return True
        return self._clock_s() - self._received_s[stamp_ns] >= self.config.timeout_s

    def _set(self, stamp_ns: int, states: dict[str, CameraState]) -> SensorSet:
        images: dict[str, tuple[int, Any]] = {}
        missing: dict[str, str] = {}
        for camera, state in states.items():
            if state is not CameraState.IN:
                missing[camera] = state.value
            elif (nearest := self._streams[camera].nearest(stamp_ns)) is not None:
                images[camera] = nearest
        # Due times advance by whole periods: sets that are slightly early or late keep the rate.
        period_ns = round(self.config.frame_period_s * NS)
        self._due_ns = max(stamp_ns, self._due_ns or stamp_ns) + period_ns
        sweeps = list(self._sweeps)
        while sweeps[-1][0] > stamp_ns:
            sweeps.pop()
        reason, self._reset_reason = self._reset_reason, None
        return SensorSet(
            stamp_ns=stamp_ns,
            images=images,
            missing=missing,
            sweeps=tuple(sweeps[-self.config.sweeps :]),
            reset_reason=reason,
        )
