"""Runs actions at the times of a bag."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

NS = 1_000_000_000


@dataclass
class Punctuality:
    """Delays of the published messages."""

    messages: int = 0
    total_s: float = 0.0
    worst_s: float = 0.0

    def add(self, late_s: float) -> None:
        """Adds the delay of one message."""
        self.messages += 1
        self.total_s += late_s
        self.worst_s = max(self.worst_s, late_s)

    def __str__(self) -> str:
        if self.messages == 0:
            return "no message was played"
        mean_ms, worst_ms = self.total_s / self.messages * 1e3, self.worst_s * 1e3
        late = f"{mean_ms:.2f} ms late on average, {worst_ms:.2f} ms at worst"
        return f"{self.messages} messages, {late}"


def paced(
    actions: Iterator[tuple[int, Callable[[], None]]],
    start_ns: int,
    rate: float,
    stop: threading.Event,
    now_s: Callable[[], float] = time.monotonic,
) -> Punctuality:
    """Runs each action ``(stamp_ns - start_ns) / rate`` after the first call of ``now_s``.

    Args:
        actions: bag times in ascending order, with their actions.
        start_ns: bag time of the start.
        rate: speed relative to the recording.
        stop: ends the run early.
        now_s: a monotonic clock.
    """
    punctuality = Punctuality()
    started_s = now_s()
    for stamp_ns, action in actions:
        deadline_s = started_s + (stamp_ns - start_ns) / NS / rate
        while (remaining_s := deadline_s - now_s()) > 0:
            if stop.wait(remaining_s):
                return punctuality
        if stop.is_set():
            return punctuality
        punctuality.add(max(now_s() - deadline_s, 0.0))
        action()
    return punctuality


def clock_ticks(start_ns: int, end_ns: int, rate: float, frequency_hz: float) -> Iterator[int]:
    """Bag times of the clock's ticks, of which there are ``frequency_hz`` a second of wall time."""
    for number in count():
        stamp_ns = start_ns + round(number * rate / frequency_hz * NS)
        if stamp_ns > end_ns:
            return
        yield stamp_ns
