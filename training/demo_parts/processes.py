"""Child processes of the demo: each writes a log, is watched while others are waited for, and ends
with the demo.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TAIL_LINES = 25
POLL_S = 0.1


class ChildError(RuntimeError):
    """A child process failed, or did not do in time what it was waited for."""


class Children:
    """A context manager that starts processes and ends every one that still runs when it is left,
    however it is left.

    Args:
        log_folder: each child's output goes to ``<name>.log`` in there.
        environment: added to this process's own, for all children.
        grace_s: how long a child may take after each of SIGINT and SIGTERM before it is killed.
    """

    def __init__(self, log_folder: Path, environment: dict[str, str], grace_s: float = 8.0) -> None:
        self._log_folder = log_folder
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._grace_s = grace_s
        self._running: list[Child] = []

    def start(self, name: str, command: Sequence[str | Path]) -> Child:
        """Starts a process that runs beside this one."""
        child = Child(
            name,
            [str(part) for part in command],
            self._log_folder / f"{name}.log",
            self._environment,
        )
        self._running.append(child)
        return child

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        timeout_s: float,
        watch: Callable[[str], object] = lambda log: None,
    ) -> str:
        """Starts a process, waits for its end, and gives its output.

        Args:
            watch: called with the output so far, again and again.

        Raises:
            ChildError: it failed, or another child ended meanwhile.
        """
        child = self.start(name, command)

        def ended() -> bool:
            watch(child.log())
            return child.returncode is not None

        self.wait(ended, f"{name} to finish", timeout_s, ending=child)
        child.expect_success()
        self._running.remove(child)
        return child.log()

    def wait(
        self, done: Callable[[], bool], what: str, timeout_s: float, ending: Child | None = None
    ) -> None:
        """Waits until ``done()``; every child but ``ending`` must stay alive meanwhile.

        Raises:
            ChildError: a child ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            for child in self._running:
                if child is not ending and child.returncode is not None:
                    raise ChildError(
                        f"{child.name} ended with code {child.returncode} while waiting for "
                        f"{what}.\n{child.tail()}"
                    )
            if time.monotonic() > deadline:
                tails = "\n".join(child.tail() for child in self._running)
                raise ChildError(f"waited {timeout_s:.0f} s in vain for {what}.\n{tails}")
            time.sleep(POLL_S)

    def stop(self, child: Child) -> None:
        """Ends one child cleanly.

        Raises:
            ChildError: it ended with an error.
        """
        child.end(self._grace_s)
        self._running.remove(child)
        child.expect_success()

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._running:
            child.signal(signal.SIGINT)
        for child in self._running:
            child.end(self._grace_s)


class Child:
    """One process in a group of its own, so that its children end with it and Ctrl-C reaches the
    demo alone.
    """

    def __init__(
        self, name: str, command: list[str], log_path: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self.log_path = log_path
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    @property
    def returncode(self) -> int | None:
        """``None`` while it runs."""
        return self._process.poll()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def tail(self) -> str:
        """The last lines of its log, under a heading."""
        lines = self.log().splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- the end of {self.log_path} ---", *lines])

    def expect_success(self) -> None:
        if self.returncode != 0:
            raise ChildError(f"{self.name} ended with code {self.returncode}.\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children, if it still runs."""
        if self.returncode is None:
            os.killpg(self._process.pid, number)

    def end(self, grace_s: float) -> None:
        """Asks it to end, ever more firmly, until it has."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            try:
                self._process.wait(grace_s)
                return
            except subprocess.TimeoutExpired:
                print(f"{self.name} ignores {number.name}", file=sys.stderr)
