"""The node's health as diagnostic_msgs: one overall status and one for each sensor.

All times are those of a monotonic clock, so that a replay at any speed is judged alike.
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
    """State of one input."""

    topic: str
    last_stamp_ns: int | None = None
    arrivals_s: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    is_fused: bool = False
    """Whether it was used in the last frame."""
    reason: str = "never received"
    """Why it was not used in the last frame."""
    problem: str = ""
    """Why its messages cannot be received, e.g. an incompatible quality of service."""

    def rate_hz(self) -> float:
        """Mean rate of the last messages."""
        if len(self.arrivals_s) < 2 or self.arrivals_s[-1] == self.arrivals_s[0]:
            return 0.0
        return (len(self.arrivals_s) - 1) / (self.arrivals_s[-1] - self.arrivals_s[0])

    def silent_s(self, now_s: float) -> float:
        """Time since the last message; infinite before the first."""
        return now_s - self.arrivals_s[-1] if self.arrivals_s else float("inf")


class Health:
    """Collects facts from the threads of executor and worker, and makes diagnostics of them.

    Args:
        name: the node's name.
        topics: topic of each input by name; the names are the cameras' and ``points``.
        silence_s: limit for the time without a point cloud, and without output.
        max_processing_ms: limit for the processing time of a frame.
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
        self._last_failure = ""
        self._stale_context: list[str] = []
        self._clock_problem = ""

    def received(self, sensor: str, stamp_ns: int, now_s: float) -> None:
        """Notes that a sensor's message arrived."""
        with self._lock:
            health = self._sensors[sensor]
            health.last_stamp_ns = stamp_ns
            health.arrivals_s.append(now_s)
            health.problem = ""  # a compatible publisher has appeared
            if sensor == "points" and self._first_sweep_s is None:
                self._first_sweep_s = now_s

    def set_problem(self, sensor: str, text: str) -> None:
        """Notes why a sensor's messages cannot be received."""
        with self._lock:
            self._sensors[sensor].problem = text

    def failed(self, text: str) -> None:
        """Notes why a sweep had no output."""
        with self._lock:
            self._last_failure = text

    def published(
        self, masked: dict[str, str], processing_ms: float, now_s: float, facts: dict[str, str]
    ) -> None:
        """Notes that a frame was published.

        Args:
            masked: why each masked camera was not used, by name.
            processing_ms: from the start of decoding to the end of publishing.
            now_s: monotonic time.
            facts: key-value pairs for the overall status.
        """
        with self._lock:
            self._last_output_s = now_s
            self._processing_ms = processing_ms
            self._last_failure = ""
            self._facts |= facts
            for sensor, health in self._sensors.items():
                health.is_fused = sensor not in masked
                health.reason = masked.get(sensor, "")

    def count(self, name: str, by: int = 1) -> None:
        """Increases a counter."""
        with self._lock:
            self._counts[name] += by

    def counted(self, name: str) -> int:
        """The value of a counter."""
        with self._lock:
            return self._counts[name]

    def update(
        self,
        facts: dict[str, str] | None = None,
        clock_problem: str = "",
        stale_context: list[str] | None = None,
    ) -> None:
        """Sets the facts that do not depend on a frame.

        Args:
            facts: key-value pairs for the overall status.
            clock_problem: why there is no time; empty: there is.
            stale_context: topics of the context whose last value is too old.
        """
        with self._lock:
            self._facts |= facts or {}
            self._clock_problem = clock_problem
            self._stale_context = stale_context or []

    def overall(self, now_s: float) -> tuple[bytes, str]:
        """Level and text of the overall status."""
        with self._lock:
            return self._overall(now_s)

    def message(self, stamp_ns: int, now_s: float) -> DiagnosticArray:
        """All statuses, the overall one first."""
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
            array.status.append(_status(self._name, level, text, values))
            for sensor, health in self._sensors.items():
                level, text = self._judge_sensor(health, now_s)
                values = _sensor_values(health, now_s)
                array.status.append(_status(f"{self._name}: {sensor}", level, text, values))
            return array

    def _overall(self, now_s: float) -> tuple[bytes, str]:
        if self._started_s is None:
            self._started_s = now_s
        if self._clock_problem:
            return ERROR, self._clock_problem
        lidar = self._sensors["points"]
        if self._first_sweep_s is None:
            if lidar.problem:
                return ERROR, lidar.problem
            waited_s = now_s - self._started_s
            text = f"no point cloud on '{lidar.topic}' for {waited_s:.1f} s"
            return (STALE if waited_s > self._silence_s else OK), text
        silent_s = lidar.silent_s(now_s)
        if silent_s > self._silence_s:
            return STALE, f"no point cloud on '{lidar.topic}' for {silent_s:.1f} s"
        last_output_s = self._first_sweep_s if self._last_output_s is None else self._last_output_s
        if now_s - last_output_s > self._silence_s:
            reason = self._last_failure or "no set of sensor data is complete"
            return ERROR, f"no output for {now_s - last_output_s:.1f} s: {reason}"
        if self._last_failure:
            return WARN, self._last_failure
        warnings = self._warnings()
        return (WARN, "; ".join(warnings)) if warnings else (OK, "running")

    def _warnings(self) -> list[str]:
        warnings = []
        if self._last_output_s is not None:
            warnings += [
                f"camera '{sensor}' is masked: {health.reason}"
                for sensor, health in self._sensors.items()
                if not health.is_fused
            ]
        if self._processing_ms > self._max_processing_ms:
            warnings.append(
                f"a frame took {self._processing_ms:.0f} ms, more than "
                f"{self._max_processing_ms:.0f} ms"
            )
        if self._stale_context:
            warnings.append(f"context is stale, using defaults: {', '.join(self._stale_context)}")
        return warnings

    def _judge_sensor(self, health: SensorHealth, now_s: float) -> tuple[bytes, str]:
        if health.problem:
            return ERROR, health.problem
        if health.silent_s(now_s) > self._silence_s:
            return STALE, f"no message on '{health.topic}'"
        if self._last_output_s is not None and not health.is_fused:
            return WARN, health.reason
        return OK, "fused" if health.is_fused else "received"


def _sensor_values(health: SensorHealth, now_s: float) -> dict[str, object]:
    values: dict[str, object] = {
        "topic": health.topic,
        "is_fused": health.is_fused,
        "rate_hz": f"{health.rate_hz():.1f}",
    }
    if health.last_stamp_ns is not None:
        values["last_stamp"] = f"{health.last_stamp_ns // NS}.{health.last_stamp_ns % NS:09d}"
        values["age_ms"] = f"{health.silent_s(now_s) * 1e3:.0f}"
    values["reason"] = health.problem or health.reason
    return values


def _status(name: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        hardware_id="",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
