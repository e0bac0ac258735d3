"""A short soak: the real node as a process, over DDS, with a fault of every kind."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy

from training.demo_parts.processes import Children
from training.soak import SoakConfig, soak
from training.soak_parts.drive import write_calibration
from training.soak_parts.faults import KINDS
from training.soak_parts.interrupts import Interruption, interrupt_often, interruptions, summarise


def test_every_sweep_is_accounted_for(tmp_path: Path) -> None:
    """On a busy machine too: the player waits for a node that is far behind."""
    config = SoakConfig(frames=70, rate=4.0, pause_s=2.0, interrupts=0, out=tmp_path, seed=1)
    result = soak(config)
    assert Counter(result["faults"]).keys() == {*KINDS}
    # How long the node takes to end is a matter of the machine.
    assert not [text for text in result["failures"] if "s to end" not in text], result
    assert result["sweeps_sent"] == 350 and result["counters"]["due"] > 0


def test_a_run_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drive of the file is not repeated, and only the last two of four SIGINTs are sent."""
    config = SoakConfig(
        frames=100, interrupts=4, out=tmp_path / "out", json=tmp_path / "soak.json", resume=True
    )
    stops = [
        Interruption(moment, 1.0, 0, 0.5, ()) for moment in ("frame", "start", "idle", "start")
    ]
    before = {**config.of_drive, "failures": [], "interrupts": summarise(stops[:2])}
    (tmp_path / "soak.json").write_text(json.dumps(before))
    monkeypatch.setattr("training.soak.interrupt_often", lambda *_, first: iter(stops[first:]))
    result = soak(config)
    assert interruptions({}) == [] and interruptions(result) == stops
    assert result["interrupts"]["clean"] == 4
    assert json.loads((tmp_path / "soak.json").read_text()) == json.loads(json.dumps(result))
    with pytest.raises(ValueError, match=r"soak.json is of .*'frames': 100.*asked was .*200"):
        soak(replace(config, frames=200))


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="frames must be above 24, got 24"):
        SoakConfig(frames=24)
    with pytest.raises(ValueError, match=r"got -1.0, 6.0 and 50"):
        SoakConfig(rate=-1.0)
    with pytest.raises(ValueError, match="resume needs json"):
        SoakConfig(resume=True)


def test_sigint_ends_the_node_in_work_and_at_its_start(tmp_path: Path) -> None:
    """How long that takes is a matter of the machine, and not asserted."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    try:
        with Children(tmp_path / "logs", {}) as children:
            write_calibration(tmp_path / "calibration.yaml")
            node = rclpy.create_node("interrupts", context=context)
            calibration = tmp_path / "calibration.yaml"
            found = list(interrupt_often(children, node, calibration, 2, seed=0, is_stub=True))
    finally:
        rclpy.shutdown(context=context)
    assert [each.moment for each in found] == ["frame", "start"]
    assert [(each.exit_code, each.alarms) for each in found] == [(0, ()), (0, ())]
    assert summarise(found)["number"] == 2
