"""Ranges of numbers in configurations."""

from __future__ import annotations

from dataclasses import dataclass, field

from occ_perception_ros.ranges import range_problems


@dataclass(frozen=True)
class Limits:
    low: int = field(default=1, metadata={"range": (1, 3)})
    high: float = field(default=0.5, metadata={"range": (0.0, 1.0)})
    free: int = 100


def test_both_bounds_are_allowed_and_every_field_outside_is_described() -> None:
    assert range_problems(Limits()) == range_problems(Limits(3, 1.0)) == []
    assert range_problems(Limits(0, 1.5)) == [
        "low must lie in 1..3, got 0",
        "high must lie in 0.0..1.0, got 1.5",
    ]


def test_not_a_number_is_outside_of_every_range() -> None:
    assert range_problems(Limits(high=float("nan"))) == ["high must lie in 0.0..1.0, got nan"]
