"""The readable twin of ``LidarAnchoredSynchronizer``, for comparison.

After every message it judges every sweep that waits by all images; it notes nothing of a judgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from occ_perception_ros.sync_config import SyncConfig
from occ_perception_ros.synchronizer import SensorSet

NS = 1_000_000_000
IMAGES_KEPT, PENDING_KEPT = 96, 128


@dataclass
class Camera:
    """The images of one camera."""

    offset_ns: int
    images: dict[int, Any] = field(default_factory=dict)
    """By their stamps, ascending."""
    known_ns: int | None = None
    """Stamp of the newest image that was dropped."""
    went_back: bool = False
    heard_s: float = float("-inf")

    def drop(self, stamps_ns: list[int]) -> None:
        for stamp_ns in stamps_ns:
            del self.images[stamp_ns]
            self.known_ns = stamp_ns

    def nearest_ns(self, sweep_ns: int) -> int | None:
        target_ns = sweep_ns + self.offset_ns
        return min(self.images, key=lambda stamp_ns: abs(stamp_ns - target_ns), default=None)


class PlainSynchronizer:
    """See ``LidarAnchoredSynchronizer``, of which it has the same public methods."""

    def __init__(
        self, cameras: Sequence[str], config: SyncConfig, clock_s: Callable[[], float] | None = None
    ) -> None:
        self.config, self.clock_s, self.counts = config, clock_s, Counter[str]()
        offsets_s = config.camera_offsets_s
        self.cameras = {
            camera: Camera(round(offset_s * NS))
            for camera, offset_s in zip(cameras, offsets_s, strict=True)
        }
        self.absent: set[str] = set()
        self.sweeps: dict[int, Any] = {}
        self.pending: dict[int, float] = {}
        """Stamps of the sweeps that wait, and when they were received."""
        self.first_ns = self.newest_ns = self.due_ns = None
        self.reset_reason: str | None = None

    def now_s(self) -> float:
        return 0.0 if self.clock_s is None else self.clock_s()

    def leave_out(self, cameras: Sequence[str]) -> None:
        self.absent |= set(cameras)

    def add_image(self, name: str, stamp_ns: int, image: Any) -> list[SensorSet]:
        camera = self.cameras[name]
        behind_ns = max(camera.images, default=stamp_ns - 1) - stamp_ns
        if behind_ns > self.config.regression_s * NS:
            camera.drop(list(camera.images))
            camera.went_back = True
        elif behind_ns > 0:
            self.counts["out_of_order"] += 1
            return []
        elif behind_ns == 0:
            self.counts["duplicates"] += 1
        camera.images[stamp_ns] = image
        camera.drop(list(camera.images)[:-IMAGES_KEPT])
        camera.heard_s = self.now_s()
        return self.release()

    def add_sweep(self, stamp_ns: int, sweep: Any) -> list[SensorSet]:
        released: list[SensorSet] = []
        if self.newest_ns is not None:
            ahead_s = (stamp_ns - self.newest_ns) / NS
            if ahead_s < -self.config.regression_s:
                released = self.restart(stamp_ns, f"LiDAR stamps went back by {-ahead_s:.3f} s")
            elif ahead_s > self.config.max_memory_gap_s:
                released = self.restart(stamp_ns, f"no LiDAR sweep for {ahead_s:.3f} s")
            elif ahead_s < 0:
                self.counts["out_of_order"] += 1
                return []
            elif ahead_s == 0:
                self.counts["duplicates"] += 1
                self.sweeps[stamp_ns] = sweep
                return self.release()
        self.first_ns = stamp_ns if self.first_ns is None else self.first_ns
        self.due_ns = stamp_ns if self.due_ns is None else self.due_ns
        self.newest_ns = stamp_ns
        self.sweeps[stamp_ns] = sweep
        if self.is_due(stamp_ns):
            self.counts["due"] += 1
            if len(self.pending) == PENDING_KEPT:
                self.counts["overtaken"] += 1
                del self.pending[min(self.pending)]
            self.pending[stamp_ns] = self.now_s()
        released += self.release()
        memory_s = max(self.config.tolerance_s, self.config.regression_s)
        useful_ns = min(self.pending, default=stamp_ns) - round(memory_s * NS)
        for camera in self.cameras.values():
            old = [image for image in camera.images if image < useful_ns + camera.offset_ns]
            if len(old) < len(camera.images):  # else it may be in the next pass already
                camera.drop(old)
        return released

    def poll(self) -> list[SensorSet]:
        return self.release()

    def flush(self) -> list[SensorSet]:
        return self.release(wait=False)

    def restart(self, stamp_ns: int | None, reason: str) -> list[SensorSet]:
        released = self.flush()
        went_back = None not in (stamp_ns, self.newest_ns) and stamp_ns < self.newest_ns
        for camera in self.cameras.values():
            if stamp_ns is None:
                camera.drop(list(camera.images))
                continue
            is_known = camera.known_ns is not None or bool(camera.images)
            window_ns = round(self.config.regression_s * NS)
            mixed = went_back and not camera.went_back
            camera.images = {
                ns: image
                for ns, image in camera.images.items()
                if ns >= stamp_ns - window_ns and not (mixed and ns > stamp_ns + window_ns)
            }
            camera.went_back = False
            if is_known:
                camera.known_ns = min([stamp_ns + camera.offset_ns, *camera.images])
        self.pending.clear()
        self.sweeps.clear()
        self.newest_ns = self.due_ns = None
        self.reset_reason = reason
        self.counts["resets"] += 1
        return released

    def is_due(self, stamp_ns: int) -> bool:
        return stamp_ns >= self.due_ns - round(self.config.frame_period_s * NS) // 4

    def release(self, wait: bool = True) -> list[SensorSet]:
        released: list[SensorSet] = []
        first_waiting_ns = None
        for stamp_ns in sorted(self.pending):
            if not self.is_due(stamp_ns):
                self.counts["overtaken"] += 1
                self.pending.pop(stamp_ns, None)
                continue
            period_ns = round(self.config.frame_period_s * NS)
            if first_waiting_ns is not None and 4 * (stamp_ns - first_waiting_ns) >= 3 * period_ns:
                break
            states = {name: self.state(name, stamp_ns) for name in self.cameras}
            verdict = self.verdict(stamp_ns, list(states.values()), wait)
            if verdict == "wait":
                first_waiting_ns = first_waiting_ns or stamp_ns
                continue
            self.counts[verdict] += 1
            del self.pending[stamp_ns]
            if verdict == "sets":
                released.append(self.set_of(stamp_ns, states))
        return released

    def state(self, name: str, sweep_ns: int) -> str:
        camera = self.cameras[name]
        target_ns = sweep_ns + camera.offset_ns
        nearest_ns = camera.nearest_ns(sweep_ns)
        if nearest_ns is not None and abs(nearest_ns - target_ns) <= self.config.tolerance_s * NS:
            return "in"
        before = [image for image in camera.images if image < target_ns]
        after = [image for image in camera.images if image >= target_ns]
        before_ns = max(before, default=camera.known_ns)
        if before_ns is None:
            if after:
                return "all images so far are later than this sweep"
            return "known to send no image" if name in self.absent else "never received"
        if target_ns - before_ns > self.config.silence_s * NS:
            silent_s = self.now_s() - camera.heard_s
            if self.clock_s is None or silent_s > self.config.silence_s:
                return "silent"
            return "late"
        if min(after, default=float("inf")) - target_ns <= self.config.timeout_s * NS:
            return "no image near this sweep's stamp"
        return "late"

    def verdict(self, stamp_ns: int, states: list[str], wait: bool) -> str:
        cameras_in = states.count("in")
        if cameras_in == len(states):
            return "sets"
        timed_out = self.newest_ns - stamp_ns >= self.config.timeout_s * NS and (
            self.clock_s is None or self.now_s() - self.pending[stamp_ns] >= self.config.timeout_s
        )
        in_grace = 0 <= stamp_ns - self.first_ns < self.config.startup_grace_s * NS
        unseen, early = (
            text in states
            for text in ("never received", "all images so far are later than this sweep")
        )
        passed, late = "no image near this sweep's stamp" in states, "late" in states
        if wait and not timed_out and (late or (in_grace and unseen)):
            return "wait"
        if in_grace and (unseen or early):
            return "starting"
        if cameras_in == 0 and (passed or late):
            return "idle"
        if cameras_in < self.config.min_cameras:
            return "below_min_cameras"
        if passed and stamp_ns - self.due_ns < self.config.frame_period_s * NS:
            return "stood_back"
        return "sets"

    def set_of(self, stamp_ns: int, states: dict[str, str]) -> SensorSet:
        for older_ns in [other for other in self.pending if other < stamp_ns]:
            del self.pending[older_ns]
            self.counts["overtaken"] += 1
        images = {}
        for name, state in states.items():
            if state == "in":
                nearest_ns = self.cameras[name].nearest_ns(stamp_ns)
                images[name] = (nearest_ns, self.cameras[name].images[nearest_ns])
        self.due_ns = max(stamp_ns, self.due_ns) + round(self.config.frame_period_s * NS)
        reason, self.reset_reason = self.reset_reason, None
        sweeps = [sweep for sweep in sorted(self.sweeps.items()) if sweep[0] <= stamp_ns]
        return SensorSet(
            stamp_ns=stamp_ns,
            images=images,
            missing={name: state for name, state in states.items() if state != "in"},
            sweeps=tuple(sweeps[-self.config.sweeps :]),
            reset_reason=reason,
        )
