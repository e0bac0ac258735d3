"""A log in which a line that would come with every message comes once in a while."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

LOG_PERIOD_S = 5.0
_NUMBER = re.compile(r"[\d.]+")


def without_numbers(text: str) -> str:
    """The text without its numbers: what two lines on the same problem have in common."""
    return _NUMBER.sub("", text)


class ThrottledLog:
    """Passes on a text at most every ``LOG_PERIOD_S`` for each key; from any thread.

    Args:
        write: logs a text.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._logged_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, key: str, text: str) -> None:
        """Logs ``text``, unless a text of the same key was logged shortly before.

        Args:
            key: short, and the same for the same problem.
            text: the whole line; its numbers may differ each time.
        """
        now_s = self._clock()
        with self._lock:
            if now_s - self._logged_s.get(key, float("-inf")) < LOG_PERIOD_S:
                return
            self._logged_s[key] = now_s
        self._write(text)
