"""Configurations whose fields are all probabilities."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any


def check_probabilities(config: Any) -> None:
    """Refuses a dataclass with a field outside 0..1.

    Raises:
        ValueError: the text names the field and its value.
    """
    for name, value in asdict(config).items():
        if not 0 <= value <= 1:
            raise ValueError(f"{type(config).__name__}.{name} must be in [0, 1], got {value}")
