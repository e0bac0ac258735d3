"""The table of what an answer's time and memory grow with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.results.stored import load_json

_ROWS = {
    "range_m": ("half the side of the grid, m", "the dense volume grows with its square"),
    "voxel_m": ("edge of a voxel, m", "the dense volume grows with its third power"),
    "cameras": ("cameras", "every image is encoded and lifted"),
    "image_height": ("height of the images, pixels", "the image encoder grows with the pixels"),
    "points": ("points", "more voxels are filled, and the sparse convolutions grow with them"),
    "frames": ("frames that the memory remembers", "each passes the ConvLSTM again"),
    "batch": ("frames in a batch", "all but what is looked up once grows with them"),
}
"""Title of each quantity, and what its cost grows by."""


def costs_table(results: Path) -> str:
    """Markdown from ``cost_curves.json`` in a folder: a row for each quantity, and the picture."""
    curves: dict[str, Any] = load_json(results / "cost_curves.json")["curves"]
    lines = [
        "| what is changed | values | CPU ms | peak memory, MiB | knee | what grows |",
        "|---" * 6 + "|",
    ]
    for quantity, curve in curves.items():
        title, why = _ROWS[quantity]
        costs = curve["costs"]
        columns = [
            ", ".join(f"{cost['value']:.4g}" for cost in costs),
            ", ".join(f"{cost['cpu_ms']:.0f}" for cost in costs),
            ", ".join(f"{cost['memory_mib']:.0f}" for cost in costs),
            "none" if curve["knee"] is None else f"{curve['knee']:.4g}",
        ]
        lines.append(f"| {title} | " + " | ".join(columns) + f" | {why} |")
    lines += ["", "![Time and memory against each quantity](images/cost_curves.png)"]
    return "\n".join(lines)
