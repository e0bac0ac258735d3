"""Two nodes in two namespaces, in one process and in one each."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from std_srvs.srv import Trigger

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug


def test_two_nodes_in_one_process_stay_apart(fleet: Any) -> None:
    left, right = fleet.vehicle(fleet.fresh, "/left"), fleet.vehicle(fleet.fresh, "/right")
    left.connect()
    right.connect()
    left.drive(100, 101)
    right.drive(200)
    left.until(lambda: left.answers[-1:] == [101] and right.answers == [200], "answers of both")
    assert set(left.answers) <= {100, 101}
    assert right.change(Transition.TRANSITION_DEACTIVATE)
    assert (left.state(), right.state()) == ("active", "inactive")
    assert left.set(vehicle_height_m=4.0)[0].successful
    assert (left.node.config.vehicle_height_m, right.node.config.vehicle_height_m) == (4.0, 2.5)
    assert left.call(Trigger, "reset")[0].success
    left.drive(102)
    left.until(lambda: left.answers[-1:] == [102], "answer of the one that is active")
    resets = [len(each.node.pipeline._engine.resets) for each in (left, right)]
    assert resets == [1, 0] and right.answers == [200]
    right.hear(DiagnosticStatus.OK, "inactive")
    left.hear_state("active")
    shared = set(left.entities()) & set(right.entities())
    assert shared == set()


def test_two_processes_stay_apart(fleet: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = tmp_path / "debug.safetensors"
    save_checkpoint(checkpoint, build_model(debug()), {})
    values = [f"checkpoint:={checkpoint}", f"calibration_file:={fleet.calibration}", "device:=cpu"]
    values += ["cameras:=['']", "sync.frame_period_s:=0.0", "input_qos:=reliable"]
    given = [word for value in values for word in ("-p", value)]
    command = [sys.executable, "-m", "occ_perception_ros.occupancy_node", "--ros-args", *given]
    names = ("/left", "/right")
    programs = [subprocess.Popen([*command, "-r", f"__ns:={name}"]) for name in names]
    try:
        left, right = (fleet.driven(f"{name}/occupancy_node", name) for name in names)

        def are_up() -> bool:
            assert [program.poll() for program in programs] == [None, None], "one has ended"
            return bool(left.is_heard() and right.is_heard())

        left.until(are_up, "two nodes")
        seconds = itertools.count(1)

        def have_answered() -> bool:
            second = next(seconds)  # those of the left one are even
            left.send(2 * second)
            right.send(2 * second + 1)
            return bool(left.answers and right.answers)

        left.until(have_answered, "answers of both")
        assert right.change(Transition.TRANSITION_DEACTIVATE)
        assert (left.state(), right.state()) == ("active", "inactive")
        last = max(left.answers)
        left.until(lambda: have_answered() and max(left.answers) > last + 10, "more answers")
        assert {stamp % 2 for stamp in left.answers} == {0}
        assert {stamp % 2 for stamp in right.answers} == {1}
        left.hear_state("active")
        right.hear_state("inactive")
    finally:
        for program in programs:
            program.send_signal(signal.SIGINT)
        codes = [program.wait(600) for program in programs]
    assert codes == [0, 0]
