"""Parameters that are changed while the node runs."""

from __future__ import annotations

from typing import Any

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
