"""Rules that make weather and region of signals: their options, and what each decides alone.

``config/can_context.yaml`` explains the file that they are read from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from occ_core.taxonomy import REGIONS
from occ_perception_ros.can.frame import SignalValue

Value = str | int | float
"""A value of a signal: its name in the DBC file, or its number."""
WhenStale = Literal["unknown", "keep"]
"""What remains of a decision once its signals are too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one signal says about a fact, such as rain: by two thresholds, or by its values.

    Raises:
        ValueError: not exactly one of the two pairs is given, or it decides nothing.
    """

    signal: str
    """``Message.Signal`` of the DBC file."""
    starts_at: float | None = None
    """Number at which the fact begins; above ``ends_at`` it holds for large numbers, below it for
    small ones."""
    ends_at: float | None = None
    """Number at which the fact ends; between the two it stays as it is."""
    starts_on: tuple[Value, ...] = ()
    """Values that mean that the fact holds."""
    ends_on: tuple[Value, ...] = ()
    """Values that mean that it does not; all others say nothing."""

    def __post_init__(self) -> None:
        _check_signal(self.signal)
        numbers = [number for number in (self.starts_at, self.ends_at) if number is not None]
        pairs = [len(numbers) == 2, bool(self.starts_on and self.ends_on)]
        given = [bool(numbers), bool(self.starts_on or self.ends_on)]
        if sum(given) != 1 or pairs != given:
            raise ValueError(
                f"{self.signal} needs either starts_at and ends_at, or starts_on and ends_on"
            )
        if not all(map(math.isfinite, numbers)) or len(set(numbers)) != len(numbers):
            raise ValueError(
                f"{self.signal}: starts_at and ends_at must be two different finite numbers, got "
                f"{self.starts_at} and {self.ends_at}; small changes between them are ignored"
            )
        if both := set(self.starts_on) & set(self.ends_on):
            raise ValueError(
                f"{self.signal}: {sorted(map(str, both))} is in starts_on and ends_on; remove it "
                "from one"
            )

    def judge(self, value: SignalValue, before: bool | None) -> bool | None:
        """Whether the fact holds; None: the value says nothing.

        Args:
            value: the signal's value.
            before: the judgement of the value before, where that is not too old.
        """
        if self.starts_at is None or self.ends_at is None:
            if value.is_one_of(self.starts_on):
                return True
            return False if value.is_one_of(self.ends_on) else None
        if value.name:  # such as "not available": no measurement
            return None
        sign = 1 if self.starts_at > self.ends_at else -1
        if sign * value.number >= sign * self.starts_at:
            return True
        return False if sign * value.number <= sign * self.ends_at else before


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRule:
    """How rain, or night, is decided."""

    evidence: tuple[Evidence, ...]
    decide: Literal["first", "any"] = "first"
    """The first evidence that is known decides; or the fact holds if any evidence says so."""
    debounce_start_s: float = 5.0
    """The fact begins once the evidence has said so for this long."""
    debounce_end_s: float = 30.0
    """The fact ends once the evidence has said so for this long."""
    stale_after_s: float = 5.0
    """A signal without a usable value for this long says nothing any more."""
    when_stale: WhenStale = "unknown"
    """What remains of the fact when no evidence says anything."""

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError("evidence must have at least one entry")
        _check_times(self, "debounce_start_s", "debounce_end_s", "stale_after_s")
        _check_choice(self, "decide", "first", "any")
        _check_choice(self, "when_stale", "unknown", "keep")

    def decide_from(self, judgements: list[bool | None]) -> bool | None:
        """Whether the fact holds, from one judgement for each evidence; None: unknown."""
        known = [judgement for judgement in judgements if judgement is not None]
        if not known:
            return None
        return any(known) if self.decide == "any" else known[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A rectangle of positions, its borders included, that lies in one region."""

    region: str
    low: tuple[float, float]
    """Smallest first and second coordinate, such as latitude and longitude."""
    high: tuple[float, float]
    """Largest ones."""

    def __post_init__(self) -> None:
        _check_region(self.region)
        numbers = (*self.low, *self.high)
        if not all(map(math.isfinite, numbers)) or not (
            self.low[0] < self.high[0] and self.low[1] < self.high[1]
        ):
            raise ValueError(f"low {self.low} must be below high {self.high}, both finite")

    def contains(self, first: float, second: float) -> bool:
        """Whether the position lies in the area."""
        return self.low[0] <= first <= self.high[0] and self.low[1] <= second <= self.high[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRule:
    """When a position is valid."""

    signal: str
    values: tuple[Value, ...]
    """Values of the signal with which it is."""

    def __post_init__(self) -> None:
        _check_signal(self.signal)
        if not self.values:
            raise ValueError(f"{self.signal}: values must have at least one entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRule:
    """How the region is decided: by the first area with the position, else by the country."""

    position: tuple[str, str] | None = None
    """Signals of the two coordinates."""
    fix: FixRule | None = None
    """When the position is valid; by default always."""
    areas: tuple[Area, ...] = ()
    country: str | None = None
    """Signal of the country."""
    countries: dict[Value, str] | None = None
    """Region by value of the country's signal."""
    debounce_s: float = 10.0
    """A new region counts once it has been decided for this long."""
    stale_after_s: float = 10.0
    """A signal without a usable value for this long says nothing any more."""
    when_stale: WhenStale = "keep"
    """What remains of the region when no signal says anything, as in a tunnel."""

    def __post_init__(self) -> None:
        if not self.position and not self.country:
            raise ValueError("region needs position and areas, or country and countries, or all")
        if bool(self.position) != bool(self.areas):
            raise ValueError("position and areas need one another")
        if bool(self.country) != bool(self.countries):
            raise ValueError("country and countries need one another")
        if self.fix and not self.position:
            raise ValueError("fix needs a position")
        for signal in (*(self.position or ()), *([self.country] if self.country else ())):
            _check_signal(signal)
        for region in (self.countries or {}).values():
            _check_region(region)
        _check_times(self, "debounce_s", "stale_after_s")
        _check_choice(self, "when_stale", "unknown", "keep")

    def area_region(self, first: float, second: float) -> str | None:
        """The region of a position; None: it lies in no area."""
        inside = (area.region for area in self.areas if area.contains(first, second))
        return next(inside, None)

    def country_region(self, value: SignalValue) -> str | None:
        """The region of a country; None: it is not listed."""
        matches = (
            region for key, region in (self.countries or {}).items() if value.is_one_of((key,))
        )
        return next(matches, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRules:
    """The rules of one vehicle; what has no rule stays unknown."""

    dbc: Path | None = None
    """The DBC file; not needed where signals are already decoded."""
    rain: FactRule | None = None
    night: FactRule | None = None
    region: RegionRule | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        """All signals that the rules use, each once."""
        return tuple(dict.fromkeys(self._signals()))

    @property
    def named_values(self) -> Iterator[tuple[str, Value]]:
        """Signal and value of every comparison with a value."""
        for rule in (self.rain, self.night):
            for evidence in rule.evidence if rule else ():
                for value in (*evidence.starts_on, *evidence.ends_on):
                    yield evidence.signal, value
        if self.region and self.region.fix:
            yield from ((self.region.fix.signal, value) for value in self.region.fix.values)
        if self.region and self.region.country:
            yield from ((self.region.country, value) for value in self.region.countries or {})

    def _signals(self) -> Iterator[str]:
        for rule in (self.rain, self.night):
            yield from (evidence.signal for evidence in (rule.evidence if rule else ()))
        if self.region:
            yield from self.region.position or ()
            yield from [self.region.fix.signal] if self.region.fix else ()
            yield from [self.region.country] if self.region.country else ()


def _check_signal(name: str) -> None:
    message, _, signal = name.partition(".")
    if not message or not signal:
        raise ValueError(f"a signal is written Message.Signal, got '{name}'")


def _check_region(region: str) -> None:
    if region not in REGIONS:
        raise ValueError(f"region '{region}' is unknown; expected one of {list(REGIONS)}")


def _check_times(rule: object, *names: str) -> None:
    for name in names:
        seconds = getattr(rule, name)
        if not 0 <= seconds <= 86_400:
            raise ValueError(f"{name} must lie in 0..86400 seconds, got {seconds}")


def _check_choice(rule: object, name: str, *choices: str) -> None:
    if getattr(rule, name) not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got '{getattr(rule, name)}'")
