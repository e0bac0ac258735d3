"""The node's health as diagnostic_msgs: one overall status and one for each input.

All times are those of a monotonic clock. Missing output is judged by the LiDAR's stamps as well, so
that a slow replay is no fault.
"""

from __future__ import annotations

import threading
from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from occ_perception_ros.sensor_health import ERROR, NS, OK, RECENT_S, STALE, WARN, SensorHealth


class Health:
    """Collects facts from the threads of executor and worker, and makes diagnostics of them.

    Args:
        name: the node's fully qualified name.
        topics: topic of each input by name.
        silence_s: limit for the time without a sweep, and without output.
        max_processing_ms: limit for the processing time of a frame.
        anchor: the input whose messages are answered, which is the LiDAR if there is one.
        grace_s: additional time until the first output.
        max_delays: number of frames in a row above ``max_processing_ms`` that is an error.
        clock_offset_s: limit for the difference of a sensor's stamps from the anchor's.
        hardware_id: name of the computer.
    """

    def __init__(
        self,
        name: str,
        topics: dict[str, str],
        silence_s: float,
        max_processing_ms: float,
        *,
        anchor: str = "points",
        grace_s: float = 0.0,
        max_delays: int = 20,
        clock_offset_s: float = 0.5,
        hardware_id: str = "",
    ) -> None:
        self._name = name
        self._anchor = anchor
        self._kind = "point cloud" if anchor == "points" else "image"
        self._hardware_id = hardware_id
        self._lock = threading.Lock()
        self._is_active = True
        self.set_limits(silence_s, max_processing_ms, grace_s, max_delays, clock_offset_s)
        self._sensors = {sensor: SensorHealth(topic) for sensor, topic in topics.items()}
        self._lidar = self._sensors[anchor]
        self._problems: dict[str, str] = {}
        """Of inputs without a status of their own, such as camera_info."""
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._started_s: float | None = None
        self._output_from: tuple[int, float] | None = None
        """Sweep's stamp and time from which output is missing: the last answer, or the first sweep
        after a start, a silence or a jump in time."""
        self._working: tuple[int, float] | None = None
        """Stamp of the frame that is in work, and since when."""
        self._has_output = False
        self._processing_ms = 0.0
        self._delays = 0
        self._replaced_s = float("-inf")
        self._reduced = ""
        self._last_failure = ""
        self._rejected = ""
        self._stale_context: list[str] = []
        self._clock_problem = ""

    def set_limits(
        self,
        silence_s: float,
        max_processing_ms: float,
        grace_s: float,
        max_delays: int,
        clock_offset_s: float,
    ) -> None:
        """Judges by these limits from now on."""
        with self._lock:
            self._silence_s = silence_s
            self._max_processing_ms = max_processing_ms
            self._grace_s = grace_s
            self._max_delays = max_delays
            self._clock_offset_s = clock_offset_s

    def set_active(self, active: bool, now_s: float) -> None:
        """Notes whether frames are answered: while they are not, there is no output to miss."""
        with self._lock:
            self._is_active = active
            self._started_s, self._replaced_s = now_s, float("-inf")
            self._last_failure = self._rejected = ""
            self._delays = 0
            if self._output_from is not None:
                self._output_from = (self._lidar.last_stamp_ns or 0, now_s)

    # --- inputs ---

    def received(
        self, sensor: str, stamp_ns: int, now_s: float, clock_ns: int | None = None
    ) -> None:
        """Notes that a sensor's message arrived.

        Args:
            sensor: name of the input.
            stamp_ns: stamp of its header.
            now_s: monotonic time.
            clock_ns: the node's clock, with which stamps are compared.
        """
        with self._lock:
            health, lidar = self._sensors[sensor], self._lidar
            if sensor == self._anchor:
                self._restart_silence(health, stamp_ns, now_s)
            elif lidar.last_stamp_ns is not None and lidar.silent_s(now_s) < 1.0:
                health.compare(stamp_ns, lidar.last_stamp_ns)
            health.received(stamp_ns, now_s)
            if clock_ns is not None:
                health.lag_s = (clock_ns - stamp_ns) / NS

    def _restart_silence(self, lidar: SensorHealth, stamp_ns: int, now_s: float) -> None:
        last_ns = lidar.last_stamp_ns
        if (
            last_ns is None
            or lidar.is_silent(now_s, self._silence_s)
            or not 0 <= stamp_ns - last_ns <= self._silence_s * NS
        ):
            self._output_from = (stamp_ns, now_s)

    def resumed(self, now_s: float) -> None:
        """Notes that the process had been stopped: what it missed is no fault of the sensors."""
        with self._lock:
            if self._output_from is not None:
                self._output_from = (self._lidar.last_stamp_ns or 0, now_s)

    def set_problem(self, name: str, text: str) -> None:
        """Notes why an input's messages cannot be received or used.

        Args:
            name: one of the sensors, or any other input.
            text: the reason; empty: they can.
        """
        with self._lock:
            if name in self._sensors:
                self._sensors[name].problem = text
            else:
                self._problems[name] = text

    def lost(self, sensor: str, number: int, now_s: float) -> None:
        """Notes that the middleware lost messages of a sensor."""
        with self._lock:
            self._sensors[sensor].lost += number
            self._sensors[sensor].lost_at_s = now_s

    def has_lost(self) -> bool:
        """Whether the middleware has lost any message."""
        with self._lock:
            return any(health.lost for health in self._sensors.values())

    # --- frames ---

    def began(self, stamp_ns: int, now_s: float) -> None:
        """Notes that the worker has begun a frame."""
        with self._lock:
            self._working = (stamp_ns, now_s)

    def ended(self) -> None:
        """Notes that the worker has ended its frame without an answer."""
        with self._lock:
            self._working = None

    def replaced(self, now_s: float) -> None:
        """Notes that a frame was dropped for a newer one, since the worker was busy."""
        with self._lock:
            self._counts["dropped"] += 1
            self._counts["replaced"] += 1
            self._replaced_s = now_s

    def failed(self, text: str) -> None:
        """Notes why a sweep had no output."""
        with self._lock:
            self._last_failure = text

    def rejected(self, text: str) -> None:
        """Notes why an answer was not published; it is an error until there is another."""
        with self._lock:
            self._rejected = text

    def published(
        self,
        masked: dict[str, str],
        processing_ms: float,
        now_s: float,
        facts: dict[str, str],
        *,
        reduced: str = "",
    ) -> None:
        """Notes that a frame was published.

        Args:
            masked: why each masked camera was not used, by name.
            processing_ms: from the start of decoding to the end of publishing.
            now_s: monotonic time.
            facts: key-value pairs for the overall status.
            reduced: what answers lack to be in time; empty: nothing.
        """
        with self._lock:
            stamp_ns = self._working[0] if self._working else self._lidar.last_stamp_ns
            self._output_from = (stamp_ns or 0, now_s)
            self._working = None
            self._has_output = True
            self._processing_ms = processing_ms
            is_late = processing_ms > self._max_processing_ms
            self._delays = self._delays + 1 if is_late else 0
            self._last_failure = self._rejected = ""
            self._reduced = reduced
            self._facts |= facts
            for sensor, health in self._sensors.items():
                health.is_fused = sensor not in masked
                health.reason = masked.get(sensor, "")

    # --- counters and facts ---

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

    # --- diagnostics ---

    def overall(self, now_s: float) -> tuple[bytes, str]:
        """Level and text of the overall status."""
        with self._lock:
            return self._overall(now_s)

    def message(self, stamp_ns: int, now_s: float) -> DiagnosticArray:
        """All statuses, the overall one first."""
        with self._lock:
            level, text = self._overall(now_s)
            names = (
                "frames_in",
                "frames_out",
                "dropped",
                "replaced",
                "failed",
                "resets",
                "inactive",
                "withdrawn",
            )
            values: dict[str, object] = {
                **{name: self._counts[name] for name in names},
                "lifecycle_state": "active" if self._is_active else "inactive",
                "lost": sum(health.lost for health in self._sensors.values()),
                "processing_ms": f"{self._processing_ms:.1f}",
                **self._facts,
            }
            array = DiagnosticArray()
            array.header.stamp.sec, array.header.stamp.nanosec = divmod(stamp_ns, NS)
            array.status.append(self._status(self._name, level, text, values))
            for sensor, health in self._sensors.items():
                level, text = health.judge(
                    now_s, self._silence_s, self._clock_offset_s, self._has_output
                )
                name = f"{self._name}: {sensor}"
                array.status.append(self._status(name, level, text, health.values(now_s)))
            return array

    def _overall(self, now_s: float) -> tuple[bytes, str]:
        if self._started_s is None:
            self._started_s = now_s
        if not self._is_active:
            return OK, "inactive: configured, but does not answer"
        if self._clock_problem:
            return ERROR, self._clock_problem
        lidar = self._lidar
        if self._output_from is None:
            if lidar.problem:
                return ERROR, lidar.problem
            waited_s = now_s - self._started_s
            text = f"no {self._kind} on '{lidar.topic}' for {waited_s:.1f} s"
            return (STALE if waited_s > self._silence_s else OK), text
        if lidar.is_silent(now_s, self._silence_s):
            silent_s = lidar.silent_s(now_s)
            return STALE, f"no {self._kind} on '{lidar.topic}' for {silent_s:.1f} s"
        if error := self._error(now_s):
            return ERROR, error
        if self._last_failure:
            return WARN, self._last_failure
        warnings = self._warnings(now_s)
        if warnings:
            return WARN, "; ".join(warnings)
        return OK, "running" if self._has_output else "starting"

    def _error(self, now_s: float) -> str:
        """Why there are no answers, or only late ones; empty where there are."""
        motion = self._sensors.get("odometry")
        if problem := motion.problem if motion else self._problems.get("/tf"):
            return problem
        if self._rejected:
            return self._rejected
        if (missing_s := self._without_output_s(now_s)) > 0:
            lost = [health.topic for health in self._sensors.values() if health.loses(now_s)]
            reason = self._work(now_s) or self._last_failure or "no set of sensor data is complete"
            if lost:
                reason += f"; messages of {', '.join(lost)} are lost"
            return f"no output for {missing_s:.1f} s: {reason}"
        if self._delays >= self._max_delays:
            return (
                f"the last {self._delays} frames took more than "
                f"{self._max_processing_ms:.0f} ms each, the last {self._processing_ms:.0f} "
                "ms"
            )
        return ""

    def _without_output_s(self, now_s: float) -> float:
        """Time without output, if it is too long by the clock and by the LiDAR's stamps; else 0."""
        newest_ns = self._lidar.last_stamp_ns
        assert self._output_from is not None and newest_ns is not None  # a sweep was received
        missing_s = now_s - self._output_from[1]
        by_stamps_s = (newest_ns - self._output_from[0]) / NS
        limit_s = self._silence_s + (0.0 if self._has_output else self._grace_s)
        return missing_s if min(missing_s, by_stamps_s) > limit_s else 0.0

    def _work(self, now_s: float) -> str:
        """The frame in work, if it takes too long."""
        if self._working is None:
            return ""
        stamp_ns, since_s = self._working
        if (now_s - since_s) * 1e3 <= self._max_processing_ms:
            return ""
        return (
            f"the model has worked for {now_s - since_s:.1f} s on the frame of "
            f"{stamp_ns / NS:.3f} s"
        )

    def _warnings(self, now_s: float) -> list[str]:
        warnings = []
        clock_limit_s = self._clock_offset_s
        for sensor, health in self._sensors.items():
            problem = health.problem or health.clock_problem(clock_limit_s)
            if self._has_output and not health.is_fused:
                warnings.append(f"camera '{sensor}' is masked: {problem or health.reason}")
            elif problem:
                warnings.append(f"{sensor}: {problem}")
            if health.loses(now_s):
                warnings.append(f"messages of '{health.topic}' are lost, {health.lost} so far")
        warnings += [text for text in self._problems.values() if text]
        if work := self._work(now_s):
            warnings.append(work)
        elif self._processing_ms > self._max_processing_ms:
            warnings.append(
                f"a frame took {self._processing_ms:.0f} ms, more than "
                f"{self._max_processing_ms:.0f} ms"
            )
        if self._reduced:
            warnings.append(self._reduced)
        if now_s - self._replaced_s < RECENT_S:
            warnings.append(
                f"{self._counts['replaced']} frames so far were dropped for newer ones, since the "
                "model was busy"
            )
        if self._stale_context:
            warnings.append(f"context is stale, using defaults: {', '.join(self._stale_context)}")
        return warnings

    def _status(
        self, name: str, level: bytes, text: str, values: dict[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=name,
            message=text,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
