"""Parameters that are changed while the node runs."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import SetParametersAtomically


def test_dynamic_parameters_act_on_the_next_frame(fleet: Any) -> None:
    vehicle = fleet.vehicle(fleet.fresh, ego_box_m=[0.0] * 6)
    vehicle.connect()
    vehicle.drive(100)
    engine = vehicle.node.pipeline._engine
    assert len(engine.frames[0].points[0]) == 50
    # All points lie at (3, 3, 3), in this box.
    assert vehicle.set(
        SetParametersAtomically, ego_box_m=[2.0, 2.0, 2.0, 4.0, 4.0, 4.0], max_processing_ms=1.0
    ).successful
    vehicle.drive(101)
    assert len(engine.frames[1].points[0]) == 0
    assert vehicle.node.config.max_processing_ms == 1.0
    refused = vehicle.set(SetParametersAtomically, ego_box_m=[0.0] * 6, max_delays=0)
    assert not refused.successful and "max_delays" in refused.reason
    vehicle.drive(102)
    assert len(engine.frames[2].points[0]) == 0
    (fixed,) = vehicle.set(sync__sweeps=1)
    assert not fixed.successful and "read-only" in fixed.reason


def test_a_latency_goal_refines_fewer_voxels_and_says_so(fleet: Any) -> None:
    vehicle = fleet.vehicle(fleet.fresh)
    vehicle.connect()
    engine = vehicle.node.pipeline._engine
    vehicle.drive(100)
    assert engine.max_refined == 16_000  # there is no goal
    # No frame can be answered in a microsecond: the first is cut to half of the 12,000 refined.
    assert vehicle.set(SetParametersAtomically, latency_goal_ms=1e-3).successful
    vehicle.drive(101)
    vehicle.until(lambda: engine.max_refined == 6000, "lower limit")
    text = "at most 6000 instead of 16000 voxels are refined, to answer within 0 ms"

    def warned() -> bool:
        return any(text in status.message for status in vehicle.diagnostics)

    vehicle.until(warned, "diagnostics of the limit")
    assert all(s.level == DiagnosticStatus.WARN for s in vehicle.diagnostics if text in s.message)
    assert vehicle.set(SetParametersAtomically, latency_goal_ms=0.0).successful
    vehicle.drive(102)
    vehicle.until(lambda: engine.max_refined == 16_000, "limit of the model")
