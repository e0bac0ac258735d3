import pytest

from occ_core.config import debug
from training.efficiency import ROWS, EfficiencyConfig, Row, line, measure


def test_a_row_is_measured(box_town, monkeypatch):
    monkeypatch.setitem(ROWS, "debug", Row(debug))
    row = measure(EfficiencyConfig(data=box_town, rows=("debug",), repeats=1, here=True))
    assert row["image"] == "64x192" and row["miou"] is None
    assert (
        row["latency_ms"] > 0 and row["peak_memory_mib"] > 100
    )  # of a process that has loaded torch
    assert "64x192" in line({"name": "debug"} | row)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="no row"):
        EfficiencyConfig(rows=("huge",))
    with pytest.raises(ValueError, match="one row"):
        EfficiencyConfig(here=True)
