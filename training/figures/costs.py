"""Time and memory of an answer against what it depends on."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 4
TIME_COLOUR, MEMORY_COLOUR = "#14532d", "#b3261e"


def draw_cost_curves(report: dict[str, Any], path: Path) -> None:
    """Writes a picture with a panel per quantity: processor time on the left axis, peak memory on
    the right one, and a line at the knee.

    Args:
        report: what ``training.cost_curves`` writes.
        path: file of the picture.
    """
    curves = report["curves"]
    columns, rows = min(COLUMNS, len(curves)), ceil(len(curves) / COLUMNS)
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(3.4 * columns, 2.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, (quantity, curve) in zip(panels, curves.items(), strict=False):
            _draw_panel(axes, quantity, curve)
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, quantity: str, curve: dict[str, Any]) -> None:
    values = [cost["value"] for cost in curve["costs"]]
    memory = axes.twinx()
    for panel, field, colour, label in (
        (axes, "cpu_ms", TIME_COLOUR, "CPU ms"),
        (memory, "memory_mib", MEMORY_COLOUR, "MiB"),
    ):
        panel.plot(values, [cost[field] for cost in curve["costs"]], "o-", color=colour, ms=4)
        panel.set_ylabel(label, color=colour)
        panel.set_ylim(bottom=0)
    if curve["knee"] is not None:
        axes.axvline(curve["knee"], color="#57534e", linestyle=":")
    axes.set_xlabel(quantity.replace("_", " "))
    axes.grid(alpha=0.3)
