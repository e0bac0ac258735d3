"""A real ROS 2 installation: its commands, and a bag of a generated drive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = "occ_perception_ros"
WAIT_S = 600
"""A limit for hangs; no test needs it."""
STOP_S = 60
"""Likewise for what was asked to end."""


class Ros:
    """Runs ROS' commands, and ends what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "ROS_LOG_DIR": str(folder / "log")}
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}

    def run(self, *command: object) -> str:
        """The output of a command that ends by itself, with exit code 0."""
        done = self._done(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def see(self, text: str, *command: object) -> str:
        """The output of a command that is repeated until it succeeds and prints a text.

        A command hears of a node or a topic only some time after it started.
        """
        return self._repeat(text, command, refused=False)

    def see_refusal(self, text: str, *command: object) -> str:
        """Likewise of a command that fails, where the distribution's commands say so."""
        return self._repeat(text, command, refused=True)

    def _repeat(self, text: str, command: Sequence[object], refused: bool) -> str:
        seen: list[str] = []

        def is_seen() -> bool:
            done = self._done(command)
            seen.append(done.stdout + done.stderr)
            return text in seen[-1] and (refused or done.returncode == 0)

        self.poll(is_seen, lambda: f"{command} does not print {text!r}: {seen[-1]}")
        return seen[-1]

    def _done(self, command: Sequence[object]) -> subprocess.CompletedProcess[str]:
        words = [str(part) for part in command]
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=WAIT_S
        )

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        """Starts a command that runs until ``stop``; its output goes to ``log``."""
        path = self.folder / f"{len(self._running)}.log"
        with path.open("wb") as file:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        self._logs[process.pid] = path
        return process

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """What a process has printed so far."""
        return self._logs[process.pid].read_text(errors="replace")

    def wait_for(self, process: subprocess.Popen[bytes], text: str, count: int = 1) -> None:
        """Waits until a running process has printed a text."""
        self.poll(
            lambda: self.log(process).count(text) >= count,
            lambda: f"no {text!r} in: {self.log(process)[-4000:]}",
            process,
        )

    def poll(
        self,
        condition: Callable[[], bool],
        failure: Callable[[], str],
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        """Waits for a condition, while a process runs."""
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            ended = process is not None and process.poll() is not None
            if time.monotonic() > deadline_s or (ended and not condition()):
                pytest.fail(failure())
            time.sleep(0.5)

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """Ends a process, as Ctrl-C does, and returns its exit code."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        return process.wait(STOP_S)

    def stop_all(self) -> None:
        """Ends what still runs, so that it takes its leave: who is killed stays in the graph of
        the next test for as long as the lease of DDS.
        """
        for process in self._running:
            try:
                self.stop(process)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(WAIT_S)


@pytest.fixture(scope="session")
def ros_installation() -> None:
    """Skips where there is no ROS 2 with this package."""
    if shutil.which("ros2") is None:
        pytest.skip("the command ros2 is missing; source a ROS 2 installation")
    found = subprocess.run(["ros2", "pkg", "prefix", PACKAGE], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"{PACKAGE} is not installed; build it with colcon and source its workspace")


@pytest.fixture
def ros(ros_installation: None, tmp_path: Path) -> Iterator[Ros]:
    """Commands of the installation, in a ROS domain of their own."""
    made = Ros(tmp_path)
    yield made
    made.stop_all()


@pytest.fixture(scope="session")
def drive_bag(ros_installation: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag of a generated drive of four keyframes, 1.5 s."""
    folder = tmp_path_factory.mktemp("drive")
    options = ["--seed", "0", "--scenes", "1", "--keyframes", "4", "--image-size", "66", "176"]
    make_world = [sys.executable, "-m", "training.make_world", str(folder / "world"), *options]
    subprocess.run(make_world, cwd=Path(__file__).parents[2], check=True, timeout=WAIT_S)
    convert = ["ros2", "run", PACKAGE, "nuscenes_to_bag"]
    subprocess.run(
        [*convert, str(folder / "world"), str(folder / "bag")], check=True, timeout=WAIT_S
    )
    return folder / "bag"
