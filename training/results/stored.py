"""Scores as JSON files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def to_json(scores: dict[str, Any]) -> str:
    """The text of a JSON file. A score that nothing counted for (NaN) is null, as is an infinite
    one: JSON has neither.
    """
    return json.dumps(_without_nan(scores), indent=2, allow_nan=False) + "\n"


def load_json(path: Path) -> dict[str, Any]:
    """The contents of a JSON file of scores."""
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
