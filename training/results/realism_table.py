"""The table of realism: generated worlds beside real data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.realism_parts.image_statistics import IMAGE_QUANTITIES
from training.realism_parts.lidar_statistics import LIDAR_QUANTITIES


def realism_table(results: Path) -> str:
    """Markdown from ``realism.json`` in a folder."""
    return as_markdown(json.loads((results / "realism.json").read_text()))


def as_markdown(comparison: dict[str, Any]) -> str:
    """A row for each quantity: means, then distances of each world."""
    worlds = list(comparison["distance"])
    measured = list(comparison["means"])
    head = [*measured, *(f"distance {w}" for w in worlds), *(f"nearest {w}" for w in worlds)]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name, title in (LIDAR_QUANTITIES | IMAGE_QUANTITIES).items():
        cells = [_cell(comparison["means"][source].get(name)) for source in measured]
        for kind in ("distance", "nearest"):
            cells += [_cell(comparison[kind][world].get(name)) for world in worlds]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    for title, quantities in (("LiDAR", LIDAR_QUANTITIES), ("images", IMAGE_QUANTITIES)):
        cells = [""] * len(measured)
        for kind in ("distance", "nearest"):
            cells += [_cell(_mean(comparison[kind][world], quantities)) for world in worlds]
        lines.append(f"| **{title}, mean** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(distances: dict[str, float], quantities: dict[str, str]) -> float | None:
    values = [distances[name] for name in quantities if name in distances]
    return sum(values) / len(values) if values else None


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
