"""Progress of the demo on the terminal."""

from __future__ import annotations

import re
import time

_STARTED = time.monotonic()


def say(text: str) -> None:
    """Prints a line with the time since the start of the demo."""
    print(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", flush=True)


class LogCounter:
    """Reads a count from the log of a process and prints it whenever it grows.

    Args:
        pattern: a regular expression with the count as its only group; the last match is used.
        unit: singular of the counted items.
        total: the final count.
    """

    def __init__(self, pattern: str, unit: str, total: int) -> None:
        self.count = 0
        self.changed_s = time.monotonic()
        """When the count grew last, on the monotonic clock."""
        self._pattern, self._unit, self._total = re.compile(pattern), unit, total

    def update(self, log: str) -> None:
        """Reads the whole log so far."""
        count = int((self._pattern.findall(log) or [0])[-1])
        if count > self.count:
            self.count, self.changed_s = count, time.monotonic()
            say(f"  {self._unit} {count} of {self._total}")
