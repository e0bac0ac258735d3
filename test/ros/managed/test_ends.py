"""A managed node that is to end while a transition takes for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

FOR_EVER_S = 86_400
TELL = """
import sys, time
from occ_perception_ros import node, occupancy_node

def tell(word):
    print(word, file=sys.stderr, flush=True)
"""
LOADS_FOR_EVER = f"""{TELL}
def load(config):
    tell("loading")
    time.sleep({FOR_EVER_S})

occupancy_node._load_engine = load
occupancy_node.main()
"""


class Program:
    """A node in a process of its own, and what it has written."""

    def __init__(self, code: str, fleet: Any, *values: str) -> None:
        values = (f"calibration_file:={fleet.calibration}", "cameras:=['']", *values)
        given = [word for value in values for word in ("-p", value)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--ros-args", *given],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.vehicle = fleet.driven("/occupancy_node", "")
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def until(self, word: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Spins until the program writes a line."""

        def is_told() -> bool:
            assert self.process.poll() is None, self.lines
            meanwhile()
            return f"{word}\n" in self.lines

        self.vehicle.until(is_told, word)

    def ask(self, transition: int, word: str) -> None:
        """Asks for a transition that will not be answered, until the program writes a line."""
        client = self.vehicle.driver.create_client(ChangeState, "/occupancy_node/change_state")
        self.vehicle.until(client.service_is_ready, "service")
        request = ChangeState.Request(transition=Transition(id=transition))
        asked_s = [float("-inf")]

        def ask() -> None:
            if time.monotonic() - asked_s[0] > 10:  # a request can be lost
                asked_s[0] = time.monotonic()
                client.call_async(request)

        self.until(word, ask)

    def ends_when_asked(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(600) == 0, self.lines
        self._reader.join()
        assert "Traceback" not in "".join(self.lines)


@pytest.fixture
def start(fleet: Any) -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def make(code: str, *values: str) -> Program:
        started.append(Program(code, fleet, *values))
        return started[-1]

    yield make
    for program in started:
        program.process.kill()
        program.process.wait()


def test_a_signal_ends_it_while_a_manager_configures_it(start: Any) -> None:
    program = start(LOADS_FOR_EVER, "autostart:=false")
    program.ask(Transition.TRANSITION_CONFIGURE, "loading")
    program.ends_when_asked()
