"""A managed node that is to end while a transition, or the model, takes for ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

FOR_EVER_S = 86_400
TELL = """
import sys, time
from occ_perception_ros import node, occupancy_node
from occ_perception_ros.pipeline import Pipeline

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
WORKS_FOR_EVER = f"""{TELL}
class Engine:
    def step(self, frame):
        tell("working")
        time.sleep({FOR_EVER_S})

    def reset(self, reason):
        pass

def stop(pipeline, timeout_s):
    tell("stopping")
    return stop_pipeline(pipeline, timeout_s)

node.CLEAN_UP_TIMEOUT_S = {FOR_EVER_S}
stop_pipeline, Pipeline.stop = Pipeline.stop, stop
occupancy_node.load_engine = lambda config: (Engine(), (16, 24))
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

    def drive(self, word: str) -> None:
        """Sends sweeps until the program writes a line."""
        seconds = count(1)
        self.until(word, lambda: self.vehicle.send(next(seconds)))

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


def test_a_signal_ends_it_while_its_model_hangs(start: Any) -> None:
    program = start(WORKS_FOR_EVER)
    program.drive("working")
    program.ends_when_asked()


@pytest.mark.parametrize("is_deactivated", [True, False])
def test_a_signal_ends_it_while_it_waits_for_a_model_that_hangs(
    is_deactivated: bool, start: Any
) -> None:
    program = start(WORKS_FOR_EVER)
    program.drive("working")
    if is_deactivated:
        assert program.vehicle.change(Transition.TRANSITION_DEACTIVATE)
        program.ask(Transition.TRANSITION_CLEANUP, "stopping")
    else:
        program.ask(Transition.TRANSITION_ACTIVE_SHUTDOWN, "stopping")
    program.ends_when_asked()
