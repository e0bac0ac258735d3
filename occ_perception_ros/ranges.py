"""Checks numbers of a configuration against the ranges that its fields state."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


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
