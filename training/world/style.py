"""What kind of world is generated: the plain town, or the harder one that needs both sensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class PlaceStyle:
    """What stands where, and what it is made of."""

    districts: bool = False
    """Whether every drive lies in a district of its own, such as a suburb, a wood or a highway;
    otherwise in the plain town.
    """
    flush_share: float = 0.0
    """Share of the drives in which all ground lies within 3 cm of the carriageway."""
    reflectance_spread: float = 0.0
    """Standard deviation of the logarithm of the LiDAR reflectivity of objects and patches."""
    colour_spread: float = 0.0
    """The same of their colours."""
    max_grade: float = 0.0
    """Steepest rise of the road, as a fraction."""


@dataclass(frozen=True)
class SensingStyle:
    """The sensors, their mounts, and what the weather does to them."""

    varied_rigs: bool = False
    """Whether every drive has sensors of its own, with faults; otherwise those of one nuScenes car.
    """
    harsh_weather: bool = False
    """Whether rain, night and haze cost the sensors what they cost real ones."""


@dataclass(frozen=True)
class WorldStyle:
    """Everything in which the worlds differ."""

    places: PlaceStyle = PlaceStyle()
    sensing: SensingStyle = SensingStyle()
    weathers: Mapping[str, float] = field(
        default_factory=lambda: {"clear": 0.4, "rain": 0.22, "night": 0.22, "rain at night": 0.16}
    )
    """Share of the drives in each weather."""
    label_span_s: float = 0.0
    """Shortest part of a drive, in seconds from the first sweep of a scene, from which the labels
    see the static world: a scene of few keyframes then has labels as complete as a longer one.
    """


TOWN = WorldStyle()
"""Flat, tidy, with one nuScenes car; the accuracy goals are stated on it."""
HARD = WorldStyle(
    places=PlaceStyle(
        districts=True,
        flush_share=0.55,
        reflectance_spread=0.34,
        colour_spread=0.22,
        max_grade=0.06,
    ),
    sensing=SensingStyle(varied_rigs=True, harsh_weather=True),
    label_span_s=6.0,
)
"""Look-alikes, woods, flush kerbs, real weather, and another rig in every drive."""

STREETS = replace(
    HARD,
    places=replace(HARD.places, flush_share=0.15),
    weathers={"clear": 0.62, "rain": 0.13, "night": 0.17, "rain at night": 0.08},
)
"""The hard world with kerbs and weather that are nearer to those of most streets."""

WorldName = Literal["town", "hard", "mixed"]


def world_style(name: WorldName, town: int) -> WorldStyle:
    """The kind of town number ``town``. The mixed world is for training: of three towns one is a
    plain one, with labels as complete as the others', and two are hard, with the kerbs and the
    weather of most streets.
    """
    if name == "town":
        return TOWN
    if name == "mixed" and town % 3 == 2:
        return replace(TOWN, label_span_s=HARD.label_span_s)
    return STREETS if name == "mixed" else HARD
