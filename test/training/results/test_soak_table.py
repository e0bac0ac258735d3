"""The soak's result as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.results.soak_table import soak_table

RESULT: dict[str, Any] = {
    "engine": "quick engine, no network",
    "frames": 300,
    "seconds": 83.5,
    "faults": {"stop": 2, "back": 3},
    "counters": {
        "due": 30,
        "sets": 20,
        "idle": 5,
        "starting": 1,
        "below_min_cameras": 0,
        "stood_back": 2,
        "overtaken": 2,
        "no_pose": 1,
        "forgotten": 1,
        "frames_out": 15,
        "replaced": 2,
        "failed": 1,
    },
    "memory_mib": {"after_warm_up": 600.0, "at_end": 606.0, "growth_percent": 1.0},
    "stop_s": 0.5,
    "failures": [],
}


def test_rows_are_what_was_counted(tmp_path: Path) -> None:
    (tmp_path / "soak.json").write_text(json.dumps(RESULT))
    rows = soak_table(tmp_path).splitlines()
    assert "| faults | 3 back, 2 stop |" in rows and "| drive | 300 frames in 84 s |" in rows
    # 5 + 1 + 0 + 2 + 2; 1 + 1
    assert "| refused, by reason | 10 |" in rows
    assert "| without a pose, or forgotten by a reset | 2 |" in rows
    assert rows[-1] == "| what did not hold | nothing |"
    assert not [row for row in rows if "SIGINTs" in row]


def test_interrupts_and_failures_are_told(tmp_path: Path) -> None:
    sigint = {"number": 9, "clean": 8, "longest_stop_s": 3.25}
    result = {**RESULT, "interrupts": sigint, "failures": ["a", "b"]}
    (tmp_path / "soak.json").write_text(json.dumps(result))
    rows = soak_table(tmp_path).splitlines()
    assert "| SIGINTs at random moments, shipped model | 9 |" in rows
    assert "| longest end | 3.25 s |" in rows and rows[-1] == "| what did not hold | a; b |"
