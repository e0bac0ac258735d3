"""Curves of what failing sensors cost, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#57534e", "#b3261e", "#14532d", "#1d4ed8", "#a16207")


def draw_curves(
    table: dict[str, Any], failures: Sequence[tuple[str, Sequence[tuple[float, str]]]], path: Path
) -> None:
    """Writes the picture: mIoU over the share of lost frames, a panel a sensor, a curve a row, bars
    of one standard error.

    Args:
        table: as ``training.robustness`` writes it.
        failures: of every panel its title, and the condition at every share.
    """
    named = {condition for _, points in failures for _, condition in points}
    best = max(
        row["conditions"][condition]["miou"]["mean"] for row in table["rows"] for condition in named
    )
    with mpl.rc_context({"font.size": 11}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, (title, points) in zip(
            figure.subplots(1, len(failures), sharey=True, squeeze=False)[0], failures, strict=True
        ):
            shares = [100 * share for share, _ in points]
            for number, row in enumerate(table["rows"]):
                miou = [row["conditions"][condition]["miou"] for _, condition in points]
                means, errors = (
                    [100 * one["mean"] for one in miou],
                    [100 * (one["stderr"] or 0.0) for one in miou],
                )
                colour, label = COLOURS[number % len(COLOURS)], Path(row["name"]).name
                axes.errorbar(
                    shares,
                    means,
                    errors,
                    fmt="o-",
                    color=colour,
                    label=label,
                    markersize=4,
                    capsize=2,
                )
            axes.set(title=title, xlabel="% of frames", ylim=(0, 110 * best))
            axes.grid(alpha=0.3)
        figure.axes[0].set_ylabel("mIoU, %")
        figure.axes[0].legend(loc="lower left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
