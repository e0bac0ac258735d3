"""The table of what the robot's side costs, from ``docs/results/ros.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def ros_table(results: Path) -> str:
    """Rows of what was measured; parts that are not stored are left out."""
    stored: dict[str, Any] = json.loads((results / "ros.json").read_text())
    rows = [
        *_benchmark_rows(stored.get("benchmarks", {})),
        *_pass_rows(stored.get("passes", {})),
        *_frame_rows(stored.get("frame", {})),
        *_conversion_rows(stored.get("conversion", {})),
    ]
    if memory := stored.get("memory_mb"):
        text = ", ".join(f"{program} {mb:.0f}" for program, mb in memory.items())
        rows.append(("memory after the imports, MiB", text))
    return "\n".join(
        ["| measured | result |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows)]
    )


def _benchmark_rows(benchmarks: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            f"{name}, ms of processor time",
            f"ours {each['ours_ms']:.2f}; "
            + "; ".join(
                f"{rival} {ms:.1f}, {ms / each['ours_ms']:.1f}x"
                for rival, ms in each["rivals_ms"].items()
            ),
        )
        for name, each in benchmarks.items()
    ]


def _pass_rows(passes: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for case, each in passes.items():
        text = f"ours {_counts(each['ours'])}"
        if each["message_filters"] is not None:
            text += f"; message_filters {_counts(each['message_filters'])}"
        rows.append((f"sets of {each['sweeps']} sweeps in three passes, {case}", text))
    return rows


def _counts(played: dict[str, Any]) -> str:
    sets = " / ".join(map(str, played["sets"]))
    return f"{sets}, {played['us_per_message']:.1f} us a message"


def _frame_rows(frame: dict[str, Any]) -> list[tuple[str, str]]:
    if not frame:
        return []
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in frame["cpu_ms"].items())
    size = f"{frame['occupied']:.0f} voxels are occupied, an image has {frame['image_kb']:.0f} kB"
    return [
        ("a frame, ms of processor time", f"{stages}; {size}"),
        ("a frame, all but the model over the model", f"{frame['overhead']:.0%}"),
        (
            "first frame, ms of processor time",
            f"{frame['first_ms']:.0f}, later ones {frame['total_ms']:.0f}",
        ),
    ]


def _conversion_rows(conversion: dict[str, float]) -> list[tuple[str, str]]:
    seconds = [name.split("_")[-2] for name in conversion if name.startswith("cpu_s_of_")]
    return [
        (
            f"nuscenes_to_bag, a scene of {each} s",
            f"{conversion[f'cpu_s_of_{each}_s']:.1f} s of processor time, "
            f"{conversion[f'memory_mb_of_{each}_s']:.0f} MiB",
        )
        for each in seconds
    ]
