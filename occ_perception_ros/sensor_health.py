"""What is known about one input: when its messages arrive, which stamps they carry, how it is used.

All times are those of a monotonic clock.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
NS = 1_000_000_000
RECENT_S = 5.0
"""How long a single event, such as a lost message, is reported."""
MIN_STAMPS = 3
"""Number of stamps that must agree before a clock is called wrong."""


@dataclass(slots=True)
class SensorHealth:
    """State of one input."""

    topic: str
    last_stamp_ns: int | None = None
    arrivals_s: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    ahead_s: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    """Stamps minus the stamp of the newest LiDAR sweep at their arrival, for the first message
    after each sweep: many of one moment, after a stall, say no more than one."""
    compared_ns: int | None = None
    """Stamp of the sweep with which the last message was compared."""
    lag_s: float | None = None
    """Node's clock at the last arrival, minus the stamp."""
    is_fused: bool = False
    """Whether it was used in the last frame."""
    reason: str = "never received"
    """Why it was not used in the last frame."""
    problem: str = ""
    """Why its messages cannot be received or used, e.g. an incompatible quality of service."""
    lost: int = 0
    """Number of messages that the middleware has lost."""
    lost_at_s: float = float("-inf")

    def received(self, stamp_ns: int, now_s: float) -> None:
        """Notes an arrival."""
        self.last_stamp_ns = stamp_ns
        self.arrivals_s.append(now_s)
        self.problem = ""  # a compatible publisher has appeared

    def compare(self, stamp_ns: int, sweep_ns: int) -> None:
        """Compares a message's stamp with that of the newest sweep."""
        if sweep_ns != self.compared_ns:
            self.compared_ns = sweep_ns
            self.ahead_s.append((stamp_ns - sweep_ns) / NS)

    def interval_s(self) -> float:
        """Mean interval of the last messages; 0 before the second."""
        if len(self.arrivals_s) < 2:
            return 0.0
        return (self.arrivals_s[-1] - self.arrivals_s[0]) / (len(self.arrivals_s) - 1)

    def rate_hz(self, now_s: float) -> float:
        """Mean rate of the last messages; it decays once they stop."""
        interval_s = self.interval_s()
        if interval_s == 0:
            return 0.0
        overdue_s = max(self.silent_s(now_s) - interval_s, 0.0)
        span_s = self.arrivals_s[-1] - self.arrivals_s[0] + overdue_s
        return (len(self.arrivals_s) - 1) / span_s

    def silent_s(self, now_s: float) -> float:
        """Time since the last message; infinite before the first."""
        return now_s - self.arrivals_s[-1] if self.arrivals_s else float("inf")

    def is_silent(self, now_s: float, silence_s: float) -> bool:
        """Whether the next message is overdue; a slow replay is not silent between two."""
        return self.silent_s(now_s) > max(silence_s, 3 * self.interval_s())

    def clock_problem(self, limit_s: float) -> str:
        """How far the clock is off that stamps the messages, if all recent stamps agree on it."""
        if len(self.ahead_s) < MIN_STAMPS:
            return ""
        offset_s = statistics.median(self.ahead_s)
        if min(self.ahead_s) > limit_s:
            return f"stamps are {offset_s:.1f} s ahead of the LiDAR's"
        if max(self.ahead_s) < -limit_s:
            return f"stamps are {-offset_s:.1f} s behind the LiDAR's"
        return ""

    def loses(self, now_s: float) -> bool:
        """Whether messages were lost in the last seconds."""
        return now_s - self.lost_at_s < RECENT_S

    def judge(
        self, now_s: float, silence_s: float, clock_limit_s: float, has_output: bool
    ) -> tuple[bytes, str]:
        """Level and text of the input's status."""
        if self.problem:
            return ERROR, self.problem
        if self.is_silent(now_s, silence_s):
            return STALE, f"no message on '{self.topic}'"
        if clock := self.clock_problem(clock_limit_s):
            return WARN, clock
        if self.loses(now_s):
            return WARN, f"{self.lost} messages lost on the way"
        if has_output and not self.is_fused:
            return WARN, self.reason
        return OK, "fused" if self.is_fused else "received"

    def values(self, now_s: float) -> dict[str, object]:
        """Key-value pairs for the input's status."""
        values: dict[str, object] = {
            "topic": self.topic,
            "is_fused": self.is_fused,
            "rate_hz": f"{self.rate_hz(now_s):.1f}",
            "lost": self.lost,
        }
        if self.last_stamp_ns is not None:
            values["last_stamp"] = f"{self.last_stamp_ns // NS}.{self.last_stamp_ns % NS:09d}"
            values["age_ms"] = f"{self.silent_s(now_s) * 1e3:.0f}"
        if self.lag_s is not None:
            values["stamp_lag_ms"] = f"{self.lag_s * 1e3:.0f}"
        if self.ahead_s:
            values["stamp_ahead_of_lidar_ms"] = f"{statistics.median(self.ahead_s) * 1e3:.0f}"
        values["reason"] = self.problem or self.reason
        return values
