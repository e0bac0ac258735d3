"""Collects one LiDAR sweep and the camera images that belong to it. Pure Python: neither ROS nor
torch.

The LiDAR sweep is the anchor. A camera belongs to a sweep when its stamp lies within
``tolerance_s`` of the sweep's stamp plus that camera's ``offset`` (two-sided: an image from the
future is as wrong as an old one). A set leaves at once when every camera is in; otherwise when
nothing more can be expected, decided by the stamps of later sweeps, so that a live run and a replay
of the same bag give the same sets.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

NS = 1_000_000_000

NUSCENES_OFFSETS_S = (-0.043, -0.035, -0.028, -0.001, -0.010, -0.020)
"""Camera stamp minus LiDAR stamp of nuScenes' rig (front left, front, front right, back left, back,
back right): a sweep is stamped at its end, and a camera fires when the beam passes its centre."""


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """When a LiDAR sweep and which images make a set."""

    frame_period_s: float = field(default=0.5, metadata={"range": (0.0, 60.0)})
    """At most one set every period, a quarter of it early at most; sweeps between are only
    accumulated. 0: every sweep.
    """
    camera_offsets_s: tuple[float, ...] = NUSCENES_OFFSETS_S
    """Camera stamp minus LiDAR stamp, one a camera, or a single one for all."""
    tolerance_s: float = field(default=0.045, metadata={"range": (0.0, 10.0)})
    """Largest deviation from the offset, either way; below the sweep interval, or two sweeps claim
    one image.
    """
    timeout_s: float = field(default=0.1, metadata={"range": (0.0, 10.0)})
    """How long, after the sweep, a camera that is alive is waited for."""
    silence_s: float = field(default=1.2, metadata={"range": (0.0, 60.0)})
    """A camera without an image for this long is lost: it is no longer waited for until it comes
    back.
    """
    startup_grace_s: float = field(default=2.0, metadata={"range": (0.0, 60.0)})
    """From the first sweep on, how long a camera that never came holds sets back."""
    min_cameras: int = field(default=1, metadata={"range": (0, 32)})
    """Fewer images than this make no set; 0 allows LiDAR alone once all cameras are lost."""
    sweeps: int = field(default=10, metadata={"range": (1, 100)})
    """How many sweeps, the anchor included, a set carries."""
    regression_s: float = field(default=0.5, metadata={"range": (0.01, 3600.0)})
    """A sweep older than the newest by more than this is a new pass (a bag's loop), by less a
    straggler that is dropped.
    """
    max_memory_gap_s: float = field(default=2.0, metadata={"range": (0.1, 3600.0)})
    """Sweeps further apart than this share no memory."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must lie in {low}..{high}, got {getattr(self, name)}"
            for name, spec in self.__dataclass_fields__.items()
            if "range" in spec.metadata
            for low, high in [spec.metadata["range"]]
            if not low <= getattr(self, name) <= high
        ]
        if not self.camera_offsets_s or any(abs(offset) > 10 for offset in self.camera_offsets_s):
            problems.append(
                f"camera_offsets_s must hold offsets below 10 s, got {self.camera_offsets_s}"
            )
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class SensorSet:
    """One anchor sweep and what belongs to it."""

    stamp_ns: int
    images: dict[str, tuple[int, Any]]
    """Camera -> stamp and image, of the cameras that are in."""
    missing: dict[str, str]
    """Camera -> why it is not in."""
    sweeps: tuple[tuple[int, Any], ...]
    """Stamps and sweeps, the anchor last."""
    reset_reason: str | None
    """Why what was remembered before this set no longer holds; ``None``: it holds."""


class _Camera(Enum):
    IN = "fused"
    LATE = "late"
    PASSED = "no image near this sweep's stamp"
    SILENT = "silent"
    UNSEEN = "never seen"


class _Stream:
    """The newest images of one camera, stamps ascending."""

    def __init__(self, offset_ns: int, capacity: int) -> None:
        self.offset_ns = offset_ns
        self.images: deque[tuple[int, Any]] = deque(maxlen=capacity)
        self.last_ns: int | None = None
        """Newest stamp; on a restart, the stamp of the restart."""
        self.offsets_ns: deque[int] = deque(maxlen=50)
        """Nearest image's stamp minus the sweep's."""

    def nearest(self, stamp_ns: int) -> tuple[int, Any] | None:
        """The image nearest to the sweep's stamp plus the offset."""
        if not self.images:
            return None
        target = stamp_ns + self.offset_ns
        position = bisect_left(self.images, target, key=lambda image: image[0])
        around = [self.images[i] for i in (position - 1, position) if 0 <= i < len(self.images)]
        return min(around, key=lambda image: abs(image[0] - target))


class LidarAnchoredSynchronizer:
    """The collector. Give it stamps and anything (it looks only at stamps); take the sets it
    returns.

    Args:
        cameras: names, in the order of ``config.camera_offsets_s``.
    """

    _IMAGES_KEPT = 32
    _PENDING_KEPT = 64

    def __init__(self, cameras: Sequence[str], config: SyncConfig) -> None:
        offsets = (
            config.camera_offsets_s * len(cameras)
            if len(config.camera_offsets_s) == 1
            else config.camera_offsets_s
        )
        if len(offsets) != len(cameras):
            raise ValueError(
                f"camera_offsets_s holds {len(offsets)} offsets, but there are {len(cameras)} "
                f"cameras {list(cameras)}; "
                "give one a camera, or one for all"
            )
        if config.min_cameras > len(cameras):
            raise ValueError(
                f"min_cameras is {config.min_cameras}, but there are only {len(cameras)} cameras"
            )
        self.config = config
        self.counts: Counter[str] = Counter()
        self._streams = {
            camera: _Stream(round(offset * NS), self._IMAGES_KEPT)
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
        """Stores a sweep; returns the sets that it completes or whose time is over."""
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
        """Nothing more will come (the end of a bag, or silence): the sets whose time is over by
        that.
        """
        return self._release(over=True)

    def restart(self, stamp_ns: int | None, reason: str) -> list[SensorSet]:
        """Forgets everything that does not belong around ``stamp_ns`` (``None``: everything);
        returns what was still pending.
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
                # A camera that was there is expected in the new pass too, until it proves silent.
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
        """Median of camera stamp minus LiDAR stamp: what ``camera_offsets_s`` ought to be.

        Over the last sets; before the first, over the sweeps that met no image.
        """
        return {
            camera: statistics.median(stream.offsets_ns) / NS
            for camera, stream in self._streams.items()
            if stream.offsets_ns
        }

    def _is_due(self, stamp_ns: int) -> bool:
        early_ns = self.config.frame_period_s * NS / 4
        return self._due_ns is None or stamp_ns >= self._due_ns - early_ns

    def _release(self, over: bool = False) -> list[SensorSet]:
        released = []
        for stamp_ns in list(self._pending):
            if not self._is_due(stamp_ns):  # a set released just now moved the due time
                self._pending.remove(stamp_ns)
                continue
            states = {
                camera: self._state(stream, stamp_ns) for camera, stream in self._streams.items()
            }
            verdict = self._verdict(
                stamp_ns, set(states.values()), sum(s is _Camera.IN for s in states.values()), over
            )
            if verdict == "wait":
                continue
            self.counts[verdict] += 1
            if verdict != "sets":
                if verdict == "idle" and not self.counts["sets"]:
                    self._note_offsets(
                        stamp_ns
                    )  # no sweep has ever met its images: the configured offsets may be wrong
                self._pending.remove(stamp_ns)
                continue
            if self.counts["sets"] == 1:
                for stream in self._streams.values():
                    stream.offsets_ns.clear()
            self._note_offsets(stamp_ns)
            while self._pending and self._pending[0] <= stamp_ns:
                self._pending.popleft()
            released.append(self._set(stamp_ns, states))
        return released

    def _note_offsets(self, stamp_ns: int) -> None:
        for stream in self._streams.values():
            if (nearest := stream.nearest(stamp_ns)) is not None:
                stream.offsets_ns.append(nearest[0] - stamp_ns)

    def _state(self, stream: _Stream, stamp_ns: int) -> _Camera:
        target = stamp_ns + stream.offset_ns
        nearest = stream.nearest(stamp_ns)
        if nearest is not None and abs(nearest[0] - target) <= self._tolerance_ns:
            return _Camera.IN
        if stream.last_ns is None:
            return _Camera.UNSEEN
        if abs(stream.last_ns - target) > self.config.silence_s * NS:
            return _Camera.SILENT
        return _Camera.PASSED if stream.last_ns > target else _Camera.LATE

    def _verdict(self, stamp_ns: int, states: set[_Camera], cameras_in: int, over: bool) -> str:
        """``"sets"``: release; ``"wait"``; or the name under which a refused anchor is counted."""
        if states == {_Camera.IN}:
            return "sets"
        assert (
            self._newest_ns is not None and self._first_ns is not None and self._due_ns is not None
        )  # a sweep is pending
        over = over or self._newest_ns - stamp_ns >= self.config.timeout_s * NS
        starting = (
            0 <= stamp_ns - self._first_ns < self.config.startup_grace_s * NS
            and _Camera.UNSEEN in states
        )
        if not over and (_Camera.LATE in states or starting):
            return "wait"
        if starting:
            return "starting"
        alive = states & {_Camera.LATE, _Camera.PASSED}
        if cameras_in == 0 and alive:
            return "idle"  # a sweep between two exposures
        if cameras_in < self.config.min_cameras:
            return "below_min_cameras"
        if _Camera.PASSED in states and stamp_ns - self._due_ns < self.config.frame_period_s * NS:
            return "stood_back"  # the camera is alive in another phase: a later sweep may have all
        return "sets"

    def _set(self, stamp_ns: int, states: dict[str, _Camera]) -> SensorSet:
        images = {}
        for camera, stream in self._streams.items():
            nearest = stream.nearest(stamp_ns)
            if nearest is not None and states[camera] is _Camera.IN:
                images[camera] = nearest
        # Due times advance by whole periods, so that sets that come a little early and late keep
        # the mean rate.
        self._due_ns = max(stamp_ns, self._due_ns or stamp_ns) + round(
            self.config.frame_period_s * NS
        )
        reason, self._reset_reason = self._reset_reason, None
        return SensorSet(
            stamp_ns=stamp_ns,
            images=images,
            missing={
                camera: state.value for camera, state in states.items() if state is not _Camera.IN
            },
            sweeps=tuple(sweep for sweep in self._sweeps if sweep[0] <= stamp_ns)[
                -self.config.sweeps :
            ],
            reset_reason=reason,
        )
