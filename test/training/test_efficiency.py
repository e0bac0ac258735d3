import pytest

from occ_core.config import debug
from training.efficiency import ROWS, EfficiencyConfig, EfficiencyRow, measure, row_text


def test_a_row_is_measured(box_town, monkeypatch):
    monkeypatch.setitem(ROWS, "debug", EfficiencyRow(debug))
    row = measure(EfficiencyConfig(data=box_town, rows=("debug",), repeats=1, here=True))
    assert row["image"] == "64x192"
    assert row["latency_ms"] > 0
    assert row["peak_memory_mib"] > 100  # the process has loaded torch
    assert "64x192" in row_text({"name": "debug"} | row)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        EfficiencyConfig(rows=("huge",))
    with pytest.raises(ValueError, match="exactly one row"):
        EfficiencyConfig(here=True)
