"""The table of what an answer's time and memory grow with."""

import json
from pathlib import Path

from training.results.costs_table import costs_table


def test_a_row_for_each_quantity_with_its_knee(tmp_path: Path) -> None:
    costs = [
        {"value": value, "cpu_ms": ms, "wall_ms": ms / 2, "memory_mib": mib}
        for value, ms, mib in ((0.53333, 80.4, 550.6), (64.0, 160.8, 700.2))
    ]
    curves = {
        "range_m": {"costs": costs, "knee": 64.0},
        "batch": {"costs": costs[:1], "knee": None},
    }
    (tmp_path / "cost_curves.json").write_text(json.dumps({"curves": curves}))
    lines = costs_table(tmp_path).splitlines()
    assert "| 0.5333, 64 | 80, 161 | 551, 700 | 64 |" in lines[2]
    assert "| 0.5333 | 80 | 551 | none |" in lines[3]
    assert lines[-1].startswith("![") and "cost_curves.png" in lines[-1]
