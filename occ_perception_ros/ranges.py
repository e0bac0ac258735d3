"""Checks options of a configuration, and tells all that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any


class ConfigError(ValueError):
    """Options are not usable.

    Args:
        problems: one text each, which names the option, its value and what was expected.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def refuse(problems: Sequence[str]) -> None:
    """Raises the problems of a configuration, if there are any.

    Raises:
        ConfigError: there are some.
    """
    if problems:
        raise ConfigError(*problems)


def range_problems(config: Any) -> list[str]:
    """Describes every field that lies outside its range.

    Args:
        config: a dataclass whose fields may have ``metadata={"range": (low, high)}``; both bounds
            are allowed values.
    """
    problems = []
    for spec in fields(config):
        if "range" in spec.metadata:
            low, high = spec.metadata["range"]
            value = getattr(config, spec.name)
            if not low <= value <= high:
                problems.append(f"{spec.name} must lie in {low}..{high}, got {value}")
    return problems
