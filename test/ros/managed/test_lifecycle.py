"""The managed node: its transitions by ROS' services."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from occ_core.checkpoint import CheckpointError
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameters import ParameterError


def test_a_manager_drives_it_through_its_states(fleet: Any) -> None:
    engines: list[Any] = []

    def make(config: NodeConfig) -> tuple[Any, tuple[int, int]]:
        engine, size = fleet.fresh(config)
        engines.append(engine)
        return engine, size

    vehicle = fleet.vehicle(make, autostart=False)
    bare = vehicle.entities()
    assert vehicle.state() == "unconfigured" and engines == []
    assert not any("/input/" in name or "/output/" in name for name in bare)
    vehicle.hear(DiagnosticStatus.OK, "unconfigured")
    assert vehicle.change(Transition.TRANSITION_CONFIGURE) and vehicle.state() == "inactive"
    vehicle.connect()
    vehicle.drive(100, 101)
    vehicle.hear(DiagnosticStatus.OK, "inactive")
    assert engines[0].frames == [] and vehicle.node.health.counted("inactive") >= 1
    assert vehicle.change(Transition.TRANSITION_ACTIVATE) and vehicle.state() == "active"
    vehicle.drive(102, 103)
    vehicle.until(lambda: vehicle.answers[-1:] == [103], "answers")
    vehicle.hear_state("active")
    # The sweeps that came while it was inactive are part of the first answer: 50 points each.
    assert len(engines[0].frames[0].points[0]) > 50 and engines[0].resets == []
    assert vehicle.change(Transition.TRANSITION_DEACTIVATE) and vehicle.state() == "inactive"
    answered = len(engines[0].frames)
    vehicle.drive(104, 105)
    assert len(engines[0].frames) == answered
    assert vehicle.change(Transition.TRANSITION_ACTIVATE)
    vehicle.drive(106)
    vehicle.until(lambda: vehicle.answers[-1:] == [106], "answer after the pause")
    assert engines[0].resets == ["the node was inactive"] and len(engines) == 1
    assert not {104, 105} & set(vehicle.answers)
    assert vehicle.change(Transition.TRANSITION_DEACTIVATE)
    assert vehicle.change(Transition.TRANSITION_CLEANUP) and vehicle.state() == "unconfigured"
    engines.clear()
    assert fleet.engines() == 0 and fleet.workers() == 0 and vehicle.entities() == bare
    assert vehicle.change(Transition.TRANSITION_CONFIGURE)
    assert fleet.engines() == 1 and fleet.workers() == 1
    assert vehicle.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert vehicle.state() == "finalized" and fleet.workers() == 0 and vehicle.node.failure == ""
    vehicle.hear(DiagnosticStatus.OK, "finalized")


def test_autostart_needs_no_manager(fleet: Any) -> None:
    vehicle = fleet.vehicle(fleet.fresh)
    assert vehicle.state() == "active"
    vehicle.connect()
    vehicle.drive(100)
    vehicle.until(lambda: vehicle.answers == [100], "answer")
    vehicle.hear_state("active")


def test_a_configuration_that_fails_lists_everything_and_can_be_mended(fleet: Any) -> None:
    problem = [CheckpointError("checkpoint '/nowhere.safetensors' does not exist")]

    def make(config: NodeConfig) -> tuple[Any, tuple[int, int]]:
        if problem:
            raise problem[0]
        return fleet.fresh(config)

    wrong = {"sync__sweeps": 0, "max_failures": 0, "calibration_file": "/nowhere.yaml"}
    vehicle = fleet.vehicle(make, autostart=False, **wrong, checkpoint="/nowhere.safetensors")
    bare = vehicle.entities()
    assert not vehicle.change(Transition.TRANSITION_CONFIGURE)
    for text in ("sync.sweeps must be", "max_failures must be", "/nowhere.yaml", "/nowhere.safe"):
        vehicle.hear(DiagnosticStatus.ERROR, text)
    assert vehicle.state() == "unconfigured" and vehicle.entities() == bare
    assert all(result.successful for result in vehicle.set(sync__sweeps=2, max_failures=5))
    # The parameters are fine now; the files that they name are not, both of them.
    assert not vehicle.change(Transition.TRANSITION_CONFIGURE)
    vehicle.hear(DiagnosticStatus.ERROR, "unconfigured: calibration_file /nowhere.yaml")
    vehicle.hear(DiagnosticStatus.ERROR, "checkpoint '/nowhere.safetensors' does not exist")
    assert vehicle.entities() == bare and fleet.workers() == 0 and fleet.engines() == 0
    problem.clear()
    vehicle.set(calibration_file=str(fleet.calibration), checkpoint="")
    assert vehicle.change(Transition.TRANSITION_CONFIGURE)
    assert vehicle.change(Transition.TRANSITION_ACTIVATE)
    assert vehicle.node.config.sync.sweeps == 2
    vehicle.connect()
    vehicle.drive(100)
    vehicle.until(lambda: vehicle.answers == [100], "answer")


def test_autostart_fails_with_everything_that_is_wrong(fleet: Any) -> None:
    wrong = {"sync__sweeps": 0, "sync__camera_offsets_s": [20.0], "calibration_file": "/no.yaml"}
    with pytest.raises(ParameterError) as caught:
        fleet.node(fleet.fresh, **wrong, nonsense=1)
    assert len(caught.value.problems) == 4 and "/no.yaml" in caught.value.problems[-1]
    assert fleet.workers() == 0 and fleet.engines() == 0


def test_many_cycles_under_traffic_lose_nothing(fleet: Any) -> None:
    vehicle = fleet.vehicle(fleet.fresh, autostart=False)
    bare, threads = vehicle.entities(), threading.active_count()
    for cycle in range(8):
        assert vehicle.change(Transition.TRANSITION_CONFIGURE)
        assert vehicle.change(Transition.TRANSITION_ACTIVATE)
        vehicle.connect()
        for step in range(20):  # nobody waits for them: they arrive in the midst of transitions
            vehicle.send(100 * (cycle + 1) + step)
        assert fleet.engines() == fleet.workers() == 1
        assert vehicle.change(Transition.TRANSITION_DEACTIVATE)
        assert vehicle.change(Transition.TRANSITION_CLEANUP)
        assert fleet.engines() == fleet.workers() == 0
        assert vehicle.entities() == bare and threading.active_count() == threads


def test_the_frame_in_work_is_not_published_after_a_deactivation(fleet: Any) -> None:
    gate = threading.Event()
    engine, size = fleet.fresh(None)
    engine.gate = gate
    vehicle = fleet.vehicle(lambda config: (engine, size))
    vehicle.connect()
    vehicle.send(100)
    vehicle.until(lambda: len(engine.frames) == 1, "frame in work")
    assert vehicle.change(Transition.TRANSITION_DEACTIVATE)
    # Active again before the frame is done: its answer would come out of turn all the same.
    assert vehicle.change(Transition.TRANSITION_ACTIVATE)
    gate.set()
    vehicle.until(lambda: vehicle.node.health.counted("dropped") == 1, "end of the frame")
    vehicle.drive(101)
    vehicle.until(lambda: vehicle.answers == [101], "answer of the next frame")
