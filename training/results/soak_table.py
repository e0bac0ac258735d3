"""The soak of the live node, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.results.stored import load_json


def soak_table(results: Path) -> str:
    """One row for each thing that was counted or measured."""
    found = load_json(results / "soak.json")
    counters, memory = found["counters"], found["memory_mib"]
    faults = ", ".join(f"{number} {kind}" for kind, number in sorted(found["faults"].items()))
    refused = ("idle", "starting", "below_min_cameras", "stood_back", "overtaken")
    rows: list[tuple[str, Any]] = [
        ("engine", found["engine"]),
        ("drive", f"{found['frames']} frames in {found['seconds']:.0f} s"),
        ("faults", faults),
        ("sweeps that were due", counters["due"]),
        ("released in sets", counters["sets"]),
        ("refused, by reason", sum(counters[name] for name in refused)),
        ("without a pose, or forgotten by a reset", counters["no_pose"] + counters["forgotten"]),
        ("answered", counters["frames_out"]),
        ("replaced by a newer frame", counters["replaced"]),
        ("failed", counters["failed"]),
        (
            "memory after the warm-up, at the end",
            f"{memory['after_warm_up']}, {memory['at_end']} MiB",
        ),
        ("growth of memory", f"{memory['growth_percent']:.2f} %"),
        ("end after SIGINT", f"{found['stop_s']:.2f} s"),
    ]
    if "interrupts" in found:
        sigint = found["interrupts"]
        rows += [
            ("SIGINTs at random moments, shipped model", sigint["number"]),
            ("of these: exit code 0, within 3 s, no traceback", sigint["clean"]),
            ("longest end", f"{sigint['longest_stop_s']:.2f} s"),
        ]
    rows.append(("what did not hold", "; ".join(found["failures"]) or "nothing"))
    return "\n".join(["| what | result |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])
