"""Matches each LiDAR sweep with the camera images that belong to it. Needs neither ROS nor torch.

The LiDAR sweep is the anchor. An image belongs to a sweep if its stamp lies within ``tolerance_s``
of the sweep's stamp plus the camera's offset, on either side: a later image is as wrong as an older
one. A set is released as soon as every camera is in, otherwise when no more images can be expected.
The stamps of later sweeps decide that, so that a live run and a replay of its bag give the same
sets.

Live, a time-out lasts at least as long in the time in which the process ran, too. After a stall (a
process without processor time, a player that slept) seconds of sweeps are received within
milliseconds: by their stamps alone every time-out would be over before the other topics have been
received. For the same reason a camera's state depends on its images' stamps, not on their order.

While sweeps wait, only images of cameras that they wait for are a reason to look at them.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from occ_perception_ros.image_stream import (
    ABSENT,
    EARLY,
    LATE,
    OFFSETS_KEPT,
    PASSED,
    SILENT,
    UNSEEN,
    ImageStream,
    StampedImage,
)
from occ_perception_ros.ranges import refuse
from occ_perception_ros.sync_config import SyncConfig, fit_problems

NS = 1_000_000_000

OUTCOMES = ("sets", "idle", "starting", "below_min_cameras", "stood_back", "overtaken")
"""What becomes of a sweep that is due, once it no longer waits: it is released in a set, or refused
for one of these reasons. ``overtaken``: by a set so near that it is no longer due."""

_NEVER_S = float("inf")


class SensorSet(NamedTuple):
    """One anchor sweep and the data that belong to it."""

    stamp_ns: int
    images: dict[str, StampedImage]
    """Stamp and image of each camera that has one, by name."""
    missing: dict[str, str]
    """Why each other camera has no image, by name."""
    sweeps: tuple[tuple[int, Any], ...]
    """Stamps and sweeps, the anchor last."""
    reset_reason: str | None
    """Why the memory of earlier sets is no longer valid; None: it is valid."""


class LidarAnchoredSynchronizer:
    """Collects stamps with arbitrary payloads and returns the sets that they complete.

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
        self._clock_s = clock_s
        self._streams = {camera: ImageStream() for camera in cameras}
        self._absent: frozenset[str] = frozenset()
        """Cameras of which no image will come."""
        self._heard_s: dict[str, float] = {}
        """Running time of each camera's last image."""
        self._sweeps: list[tuple[int, Any]] = []
        self._pending: deque[int] = deque()
        """Stamps of the sweeps that wait, ascending."""
        self._received_s: dict[int, float] = {}
        """Running time at which each pending sweep was received, by its stamp."""
        self._awaited: set[str] = set()
        """A camera for each pending sweep that it waits for: until an image of this one comes, or a
        time-out ends, the sweep waits, whatever the other cameras send."""
        self._wait_ends_s = _NEVER_S
        """Running time at which a pending sweep's wait may end without any message."""
        self._counts: dict[str, int] = defaultdict(int)
        """See ``counts``; a Counter takes five times as long to count."""
        self._first_ns: int | None = None
        self._newest_ns: int | None = None
        self._due_ns: int | None = None
        """When the next set is due; in a new pass, the stamp of its first sweep."""
        self._reset_reason: str | None = None
        self.reconfigure(config)

    @property
    def counts(self) -> Counter[str]:
        """The number of sweeps that were ``due``, and what became of each of them, see
        ``OUTCOMES``; besides ``resets``, ``duplicates`` and ``out_of_order`` messages.
        """
        return Counter(self._counts)

    @property
    def resets(self) -> int:
        """How many passes have ended."""
        return self._counts["resets"]

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest sweep."""
        return self._newest_ns

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
            stream.reconfigure(
                offset_s,
                tolerance_s=config.tolerance_s,
                timeout_s=config.timeout_s,
                silence_s=config.silence_s,
                regression_s=config.regression_s,
            )
        self._period_ns = round(config.frame_period_s * NS)
        self._timeout_ns = round(config.timeout_s * NS)
        self._regression_ns = round(config.regression_s * NS)
        self._gap_ns = round(config.max_memory_gap_s * NS)
        self._grace_ns = round(config.startup_grace_s * NS)
        self._memory_ns = max(round(config.tolerance_s * NS), self._regression_ns)
        """How much older than a pending sweep an image may be to be of use."""
        self._awaited = set(self._streams)  # until the next image, whatever its camera

    def leave_out(self, cameras: Iterable[str]) -> None:
        """No longer waits for the first image of these cameras, which will send none."""
        self._absent |= set(cameras)
        self._awaited = set(self._streams)

    def add_image(self, camera: str, stamp_ns: int, image: Any) -> list[SensorSet]:
        """Stores an image; returns the sets that it completes."""
        problem = self._streams[camera].add(stamp_ns, image)
        if problem:
            self._counts[problem] += 1
            if problem == "out_of_order":
                return []
        if self._clock_s is not None:
            now_s = self._heard_s[camera] = self._clock_s()
            if now_s >= self._wait_ends_s:
                return self._release()
        return self._release() if camera in self._awaited else []

    def add_sweep(self, stamp_ns: int, sweep: Any) -> list[SensorSet]:
        """Stores a sweep; returns the sets that it completes or ends the wait of."""
        released: list[SensorSet] = []
        if self._newest_ns is not None and not 0 < stamp_ns - self._newest_ns <= self._gap_ns:
            ahead_ns = stamp_ns - self._newest_ns
            if ahead_ns < -self._regression_ns:
                reason = f"LiDAR stamps went back by {-ahead_ns / NS:.3f} s"
            elif ahead_ns > self._gap_ns:
                reason = f"no LiDAR sweep for {ahead_ns / NS:.3f} s"
            elif ahead_ns < 0:
                self._counts["out_of_order"] += 1
                return []
            else:
                self._counts["duplicates"] += 1
                self._sweeps[-1] = (stamp_ns, sweep)
                return self._release()
            released = self.restart(stamp_ns, reason)
        self._first_ns = stamp_ns if self._first_ns is None else self._first_ns
        self._due_ns = stamp_ns if self._due_ns is None else self._due_ns
        self._newest_ns = stamp_ns
        self._sweeps.append((stamp_ns, sweep))
        if len(self._sweeps) > self.config.sweeps + self._PENDING_KEPT:
            del self._sweeps[0]
        if self._is_due(stamp_ns):
            released += self._add_due(stamp_ns)
        elif self._pending:
            released += self._release()
        needed_ns = (self._pending[0] if self._pending else stamp_ns) - self._memory_ns
        for stream in self._streams.values():
            stream.forget_before(needed_ns)
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
        self._counts["resets"] += 1
        for stream in self._streams.values():
            stream.restart(stamp_ns, went_back)
        return released

    def offsets_s(self) -> dict[str, float]:
        """The configured offset of each camera."""
        return {camera: stream.offset_ns / NS for camera, stream in self._streams.items()}

    def suggested_offsets_s(self) -> dict[str, float]:
        """Measured values for ``camera_offsets_s``: medians of camera stamp minus LiDAR stamp.

        They are measured over the first sets or, before the first set, over the sweeps without any
        image near them.
        """
        return {
            camera: statistics.median(stream.offsets_ns) / NS
            for camera, stream in self._streams.items()
            if stream.offsets_ns
        }

    def _add_due(self, stamp_ns: int) -> list[SensorSet]:
        """Judges the newest sweep, of which a set is due, and those that wait."""
        self._counts["due"] += 1
        if self._clock_s is not None:
            self._received_s = {ns: self._received_s[ns] for ns in self._pending}
            self._received_s[stamp_ns] = self._clock_s()
        if self._pending:
            self._pending.append(stamp_ns)
            if len(self._pending) > self._PENDING_KEPT:
                self._pending.popleft()
                self._counts["overtaken"] += 1
            return self._release()
        released: list[SensorSet] = []
        self._awaited.clear()
        self._wait_ends_s = _NEVER_S
        if self._waits(stamp_ns, released):
            self._pending.append(stamp_ns)
        return released

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether a set of that stamp is due; it may be a quarter of a period early."""
        return self._due_ns is None or 4 * (self._due_ns - stamp_ns) <= self._period_ns

    def _release(self, wait: bool = True) -> list[SensorSet]:
        """The pending sets that are complete; without ``wait``, the incomplete ones too."""
        released: list[SensorSet] = []
        self._awaited.clear()
        self._wait_ends_s = _NEVER_S
        waiting_ns: int | None = None
        for stamp_ns in list(self._pending):
            if not self._is_due(stamp_ns):  # a set that was just released moved the due time
                self._pending.remove(stamp_ns)
                self._counts["overtaken"] += 1
                continue
            if waiting_ns is not None and 4 * (stamp_ns - waiting_ns) >= 3 * self._period_ns:
                # A set of the next period must not overtake one that waits.
                if self._pending[0] != waiting_ns:  # it was overtaken by one of its own period
                    self._awaited.update(self._streams)
                break
            if not self._waits(stamp_ns, released, wait):
                self._pending.remove(stamp_ns)
            elif waiting_ns is None:
                waiting_ns = stamp_ns
        return released

    def _waits(self, stamp_ns: int, released: list[SensorSet], wait: bool = True) -> bool:
        """Whether a sweep has to wait; if it is released instead, its set is appended."""
        images, missing = self._find(stamp_ns)
        verdict = self._verdict(stamp_ns, missing, wait) if missing else "sets"
        if verdict == "wait":
            self._note_wait(stamp_ns, missing)
            return True
        self._counts[verdict] += 1
        if verdict == "sets":
            released.append(self._set(stamp_ns, images, missing))
        elif verdict == "idle" and not self._counts["sets"]:
            # No sweep has matched any image yet: the configured offsets may be wrong.
            self._measure_offsets(stamp_ns)
        return False

    def _find(self, stamp_ns: int) -> tuple[dict[str, StampedImage], dict[str, str]]:
        """The images that belong to a sweep, and why the other cameras have none."""
        images: dict[str, StampedImage] = {}
        missing: dict[str, str] = {}
        for camera, stream in self._streams.items():
            image = stream.find(stamp_ns)
            if image is not None:
                images[camera] = image
                continue
            reason = stream.reason(stamp_ns)
            if reason == UNSEEN and camera in self._absent:
                reason = ABSENT
            elif reason == SILENT and self._is_heard(camera):
                reason = LATE
            missing[camera] = reason
        return images, missing

    def _is_heard(self, camera: str) -> bool:
        """Whether a camera that is silent by its stamps has sent an image lately: after a stall,
        the sweeps may have been received first.
        """
        if self._clock_s is None or camera not in self._heard_s:
            return False
        return self._clock_s() - self._heard_s[camera] <= self.config.silence_s

    def _verdict(self, stamp_ns: int, missing: dict[str, str], wait: bool) -> str:
        """``"sets"``: release the sweep; ``"wait"``; or the name under which a refused one is
        counted.

        Args:
            stamp_ns: the sweep's stamp.
            missing: why cameras have no image for it; there is at least one.
            wait: whether more messages may arrive.
        """
        assert self._first_ns is not None and self._due_ns is not None  # a sweep is pending
        reasons = missing.values()
        is_late, has_passed = LATE in reasons, PASSED in reasons
        in_grace = 0 <= stamp_ns - self._first_ns < self._grace_ns
        # A camera whose first image is later than the sweep will send none for it.
        is_coming = in_grace and UNSEEN in reasons
        if wait and (is_late or is_coming) and not self._timed_out(stamp_ns):
            return "wait"
        if is_coming or (in_grace and EARLY in reasons):
            return "starting"
        cameras_in = len(self._streams) - len(missing)
        if cameras_in == 0 and (has_passed or is_late):
            return "idle"  # a sweep between two exposures
        if cameras_in < self.config.min_cameras:
            return "below_min_cameras"
        if has_passed and stamp_ns - self._due_ns < self._period_ns:
            return "stood_back"  # the camera fires in another phase: a later sweep may match all
        return "sets"

    def _timed_out(self, stamp_ns: int) -> bool:
        assert self._newest_ns is not None  # a sweep is pending
        if self._newest_ns - stamp_ns < self._timeout_ns:
            return False
        if self._clock_s is None:
            return True
        return self._clock_s() >= self._received_s[stamp_ns] + self.config.timeout_s

    def _note_wait(self, stamp_ns: int, missing: dict[str, str]) -> None:
        """Notes what may end a sweep's wait, besides the next sweep: an image of a camera that is
        late or, at the start, yet to come; live, the end of a time-out.
        """
        late = [camera for camera, reason in missing.items() if reason == LATE]
        coming = [camera for camera, reason in missing.items() if reason == UNSEEN]
        self._awaited.add((late or coming)[0])
        if self._clock_s is not None:
            now_s, silence_s = self._clock_s(), self.config.silence_s
            ends_s = [self._received_s[stamp_ns] + self.config.timeout_s]
            ends_s += [self._heard_s.get(camera, _NEVER_S) + silence_s for camera in late]
            self._wait_ends_s = min([self._wait_ends_s, *(end for end in ends_s if end > now_s)])

    def _measure_offsets(self, stamp_ns: int) -> None:
        for stream in self._streams.values():
            if self._counts["sets"] == 1:
                stream.offsets_ns.clear()  # those of sweeps without images
            stream.measure_offset(stamp_ns)

    def _set(
        self, stamp_ns: int, images: dict[str, StampedImage], missing: dict[str, str]
    ) -> SensorSet:
        """The set of a sweep that no longer waits; the next one is due a period later."""
        while self._pending and self._pending[0] < stamp_ns:
            self._pending.popleft()
            self._counts["overtaken"] += 1
        if self._counts["sets"] <= OFFSETS_KEPT:
            self._measure_offsets(stamp_ns)
        # Due times advance by whole periods: sets that are slightly early or late keep the rate.
        self._due_ns = max(stamp_ns, self._due_ns or stamp_ns) + self._period_ns
        sweeps, end = self._sweeps, len(self._sweeps)
        while sweeps[end - 1][0] > stamp_ns:
            end -= 1
        last = tuple(sweeps[max(0, end - self.config.sweeps) : end])
        reason, self._reset_reason = self._reset_reason, None
        return SensorSet(stamp_ns, images, missing, last, reason)
