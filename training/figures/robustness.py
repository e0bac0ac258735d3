"""Curves of mIoU over the fraction of frames in which a sensor fails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#57534e", "#b3261e", "#14532d", "#1d4ed8", "#a16207")


def draw_curves(
    table: dict[str, Any], failures: Sequence[tuple[str, Sequence[tuple[float, str]]]], path: Path
) -> None:
    """Writes a picture with a panel per sensor and a curve per row; bars are one standard error.

    Args:
        table: the table that ``training.robustness`` writes.
        failures: title of each panel, and the condition at each fraction of failing frames.
        path: file of the picture.
    """
    conditions = {condition for _, points in failures for _, condition in points}
    best = max(
        row["conditions"][condition]["miou"]["mean"]
        for row in table["rows"]
        for condition in conditions
    )
    with mpl.rc_context({"font.size": 11}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        panels = figure.subplots(1, len(failures), sharey=True, squeeze=False)[0]
        for axes, (title, points) in zip(panels, failures, strict=True):
            for row, colour in zip(table["rows"], cycle(COLOURS), strict=False):
                _draw_curve(axes, row, points, colour)
            axes.set(title=title, xlabel="% of frames", ylim=(0, 110 * best))
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("mIoU, %")
        panels[0].legend(loc="lower left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def _draw_curve(
    axes: Axes, row: dict[str, Any], points: Sequence[tuple[float, str]], colour: str
) -> None:
    mious = [row["conditions"][condition]["miou"] for _, condition in points]
    axes.errorbar(
        [100 * fraction for fraction, _ in points],
        [100 * miou["mean"] for miou in mious],
        [100 * (miou["stderr"] or 0.0) for miou in mious],  # a single seed has none
        fmt="o-",
        color=colour,
        label=Path(row["name"]).name,
        markersize=4,
        capsize=2,
    )
