"""What the node's program does to its own process, and why."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

ResultT = TypeVar("ResultT")

_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""The second is Humble's name for the first."""


def end_process(code: int) -> NoReturn:
    """Ends the process at once, without the interpreter's clean-up.

    Destroying torch and DDS takes a second of processor time. On a busy machine that is longer than
    a launch waits after Ctrl-C before it kills the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_process_after(seconds: float, code: int) -> threading.Timer:
    """Ends the process with that exit code after a while, unless the timer is cancelled."""
    timer = threading.Timer(seconds, end_process, args=(code,))
    timer.daemon = True
    timer.start()
    return timer


@contextmanager
def ended_after(seconds: float, code: int) -> Iterator[None]:
    """Ends the process with that exit code if the body has not ended in time.

    The node's orderly end waits for a frame and takes leave of all peers, and both take long on a
    busy machine. What is left undone the peers notice by themselves.
    """
    timer = end_process_after(seconds, code)
    try:
        yield
    finally:
        timer.cancel()


def end_process_on_stop_signal() -> None:
    """Makes SIGINT and SIGTERM end the process at once, with exit code 0.

    This is for the start, before there is anything to clean up: importing packages and loading
    weights takes seconds, on a busy machine longer than a launch waits before it kills.
    """
    on_stop_signal(lambda: os._exit(0))


def on_stop_signal(action: Callable[[], object]) -> None:
    """Makes SIGINT and SIGTERM call ``action``, instead of any earlier action."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def use_middleware_profile() -> None:
    """Gives Fast DDS the package's profile, unless the user has chosen one; before ``rclpy.init``.

    Its own default is 512 KiB of shared memory for all messages in transit, less than one sweep:
    half of them would be lost. See ``config/fastdds.xml``.
    """
    chosen = (*_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
    if any(os.environ.get(name) for name in chosen):
        return
    package = Path(__file__).resolve().parent
    places = [package.parent / "config"]  # a checkout
    places += [folder / "share" / package.name / "config" for folder in package.parents]
    for place in places:
        if (place / "fastdds.xml").is_file():
            name = _PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") == "humble"]
            os.environ[name] = str(place / "fastdds.xml")
            return


class RunningClock:
    """Time in seconds in which the process ran, for time-outs that a stopped process must not miss.

    It is meant to be read many times a second. Between two readings at most ``_STEP_S`` pass: if
    more has passed, the process got no processor time and could not receive what it waits for.
    After a stop of ``_STOP_S`` or more, the clock stands for ``_REPEAT_S``: the buffers of the
    middleware may have overflowed, and reliable publishers repeat what was lost within 3 s.
    """

    _STEP_S = 0.05
    _STOP_S = 1.0
    _REPEAT_S = 3.5

    def __init__(self) -> None:
        self._running_s = 0.0
        self._read_s = time.monotonic()
        self._stands_until_s = 0.0

    def __call__(self) -> float:
        now_s = time.monotonic()
        elapsed_s, self._read_s = now_s - self._read_s, now_s
        if elapsed_s >= self._STOP_S:
            self._stands_until_s = now_s + self._REPEAT_S
        if now_s >= self._stands_until_s:
            self._running_s += min(elapsed_s, self._STEP_S)
        return self._running_s


def run_in_temporary_thread(function: Callable[[], ResultT]) -> ResultT:
    """Runs torch in a thread that ends afterwards, and returns the function's result.

    OpenMP creates a team of helper threads for every thread that computes. If all teams together
    have more threads than the processor has cores, idle helpers sleep between two operations
    instead of waiting actively, and the worker becomes twice as slow. A team ends with its thread.
    """
    # Not at the top: until a program's own handlers are set, SIGINT ends it with a traceback.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(function).result()
