"""The node's health: per sensor and overall, as diagnostic_msgs. Time is a monotonic clock's, so
that it works in any replay.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
NS = 1_000_000_000


@dataclass(slots=True)
class SensorHealth:
    """What is known of one input."""

    topic: str
    last_stamp_ns: int | None = None
    arrivals_s: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    is_fused: bool = False
    reason: str = "never seen"
    """Why it took no part in the last frame."""
    trouble: str = ""
    """What keeps it from being received, e.g. an incompatible quality of service."""

    def rate_hz(self) -> float:
        """Mean rate of the last messages."""
        if len(self.arrivals_s) < 2 or self.arrivals_s[-1] == self.arrivals_s[0]:
            return 0.0
        return (len(self.arrivals_s) - 1) / (self.arrivals_s[-1] - self.arrivals_s[0])


class Health:
    """Collects facts from the executor's and the worker's thread, and tells them.

    Args:
        topics: topic of every input: the cameras' names and ``points``.
        silence_s: without LiDAR, or without an answer to it, for this long, something is wrong.
    """

    def __init__(
        self, name: str, topics: dict[str, str], silence_s: float, max_processing_ms: float
    ) -> None:
        self._name = name
        self._silence_s = silence_s
        self._max_processing_ms = max_processing_ms
        self._lock = threading.Lock()
        self._sensors = {sensor: SensorHealth(topic) for sensor, topic in topics.items()}
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._started_s: float | None = None
        self._first_sweep_s: float | None = None
        self._last_output_s: float | None = None
        self._processing_ms = 0.0
        self._last_trouble = ""
        self._context_stale: list[str] = []
        self._clock_trouble = ""

    def seen(self, sensor: str, stamp_ns: int, now_s: float) -> None:
        """A message of a sensor arrived."""
        with self._lock:
            health = self._sensors[sensor]
            health.last_stamp_ns = stamp_ns
            health.arrivals_s.append(now_s)
            health.trouble = ""  # somebody else publishes what is received
            if sensor == "points" and self._first_sweep_s is None:
                self._first_sweep_s = now_s

    def trouble(self, sensor: str, text: str) -> None:
        """Something keeps a sensor from being received."""
        with self._lock:
            self._sensors[sensor].trouble = text

    def failed(self, text: str) -> None:
        """No answer came of a sweep, and why."""
        with self._lock:
            self._last_trouble = text

    def answered(
        self, masked: dict[str, str], processing_ms: float, now_s: float, facts: dict[str, str]
    ) -> None:
        """A frame was published; ``facts`` are shown as they are."""
        with self._lock:
            self._last_output_s = now_s
            self._processing_ms = processing_ms
            self._last_trouble = ""
            self._facts |= facts
            for sensor, health in self._sensors.items():
                health.is_fused = sensor not in masked
                health.reason = masked.get(sensor, "")

    def count(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def counted(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def tell(
        self,
        facts: dict[str, str] | None = None,
        clock_trouble: str = "",
        context_stale: list[str] | None = None,
    ) -> None:
        """Sets what the node knows beside its frames."""
        with self._lock:
            self._facts |= facts or {}
            self._clock_trouble = clock_trouble
            self._context_stale = context_stale or []

    def overall(self, now_s: float) -> tuple[bytes, str]:
        """Level and one line of reason."""
        with self._lock:
            return self._overall(now_s)

    def message(self, stamp_ns: int, now_s: float) -> DiagnosticArray:
        """Everything, the overall status first."""
        with self._lock:
            level, text = self._overall(now_s)
            values = {
                "frames_in": self._counts["frames_in"],
                "frames_out": self._counts["frames_out"],
                "dropped": self._counts["dropped"],
                "failed": self._counts["failed"],
                "resets": self._counts["resets"],
                "processing_ms": f"{self._processing_ms:.1f}",
                **self._facts,
            }
            array = DiagnosticArray()
            array.header.stamp.sec, array.header.stamp.nanosec = divmod(stamp_ns, NS)
            array.status.append(self._status(self._name, level, text, values))
            for sensor, health in self._sensors.items():
                array.status.append(self._sensor_status(sensor, health, now_s))
            return array

    def _overall(self, now_s: float) -> tuple[bytes, str]:
        if self._started_s is None:
            self._started_s = now_s
        lidar = self._sensors["points"]
        if self._clock_trouble:
            return ERROR, self._clock_trouble
        if self._first_sweep_s is None:
            waited = now_s - self._started_s
            text = lidar.trouble or f"no point cloud on '{lidar.topic}' for {waited:.1f} s"
            return (ERROR if lidar.trouble else STALE if waited > self._silence_s else OK), text
        if now_s - lidar.arrivals_s[-1] > self._silence_s:
            return (
                STALE,
                f"no point cloud on '{lidar.topic}' for {now_s - lidar.arrivals_s[-1]:.1f} s",
            )
        answered_s = self._first_sweep_s if self._last_output_s is None else self._last_output_s
        if now_s - answered_s > self._silence_s:
            return (
                ERROR,
                f"no output for {now_s - answered_s:.1f} s: "
                f"{self._last_trouble or 'no set of sensors is complete'}",
            )
        if self._last_trouble:
            return WARN, self._last_trouble
        masked = [
            (sensor, health.reason)
            for sensor, health in self._sensors.items()
            if not health.is_fused
        ]
        warnings = [
            f"camera '{camera}' is masked: {reason}"
            for camera, reason in masked
            if self._last_output_s is not None
        ]
        if self._processing_ms > self._max_processing_ms:
            warnings.append(
                f"a frame took {self._processing_ms:.0f} ms, more than "
                f"{self._max_processing_ms:.0f} ms"
            )
        if self._context_stale:
            warnings.append(
                f"{' and '.join(self._context_stale)} are stale; their defaults are taken"
            )
        return (WARN, "; ".join(warnings)) if warnings else (OK, "running")

    def _sensor_status(self, sensor: str, health: SensorHealth, now_s: float) -> DiagnosticStatus:
        values: dict[str, object] = {
            "topic": health.topic,
            "is_fused": health.is_fused,
            "rate_hz": f"{health.rate_hz():.1f}",
        }
        if health.last_stamp_ns is not None:
            values["last_stamp"] = f"{health.last_stamp_ns // NS}.{health.last_stamp_ns % NS:09d}"
            values["age_ms"] = f"{(now_s - health.arrivals_s[-1]) * 1e3:.0f}"
        values["reason"] = health.trouble or health.reason
        if health.trouble:
            return self._status(f"{self._name}: {sensor}", ERROR, health.trouble, values)
        if not health.arrivals_s or now_s - health.arrivals_s[-1] > self._silence_s:
            return self._status(
                f"{self._name}: {sensor}", STALE, f"nothing on '{health.topic}'", values
            )
        if self._last_output_s is not None and not health.is_fused:
            return self._status(f"{self._name}: {sensor}", WARN, health.reason, values)
        return self._status(
            f"{self._name}: {sensor}", OK, "fused" if health.is_fused else "received", values
        )

    @staticmethod
    def _status(name: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=name,
            message=text,
            hardware_id="",
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
