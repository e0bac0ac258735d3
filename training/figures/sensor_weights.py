"""Curves of the weights that the model gives camera and LiDAR in the course of a drive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

SHADES = {
    "clear": "#f4e9c1",
    "rain": "#c3d4e2",
    "night": "#8f8fae",
    "rain at night": "#6d7a94",
    "unknown": "#e5e5e5",
}
"""Background behind the curves, by weather."""


class Moment(NamedTuple):
    """The weights at one keyframe."""

    time_s: float
    """Time since the first keyframe."""
    weather: str
    """Weather of the scene."""
    weights: tuple[float, float]
    """Weights of camera and LiDAR."""


def draw_weights(moments: Sequence[Moment], path: Path) -> None:
    """Writes a picture of both weights over time in front of the weather.

    Args:
        moments: keyframes in temporal order.
        path: file of the picture.

    Raises:
        ValueError: there are no moments.
    """
    if not moments:
        raise ValueError("no prediction has sensor weights; the model has no WeathFusion")
    with mpl.rc_context({"font.size": 11}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        axes = figure.subplots()
        times = [moment.time_s for moment in moments]
        step = min((after - before for before, after in pairwise(times)), default=1.0)
        for weather, group in groupby(moments, key=lambda moment: moment.weather):
            spell = [moment.time_s for moment in group]
            begin, end = spell[0] - step / 2, spell[-1] + step / 2
            axes.axvspan(begin, end, color=SHADES[weather], linewidth=0)
            axes.text((begin + end) / 2, 0.97, weather, ha="center", va="top")
        for number, (sensor, colour) in enumerate((("camera", "#b3261e"), ("LiDAR", "#14532d"))):
            axes.plot(
                times,
                [moment.weights[number] for moment in moments],
                "o-",
                color=colour,
                label=sensor,
                markersize=3,
            )
        axes.set(
            xlim=(times[0] - step / 2, times[-1] + step / 2),
            ylim=(0, 1),
            xlabel="s",
            ylabel="weight",
        )
        axes.legend(loc="lower left")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
