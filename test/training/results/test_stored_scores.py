"""Scores as JSON that any reader takes."""

import json
import math

from training.results.stored import to_json


def test_what_nothing_counted_for_is_null() -> None:
    text = to_json({"a": math.nan, "b": [1.5, math.nan], "c": {"d": math.nan, "e": "x", "f": 2}})
    assert "NaN" not in text and text.endswith("}\n")
    assert json.loads(text) == {"a": None, "b": [1.5, None], "c": {"d": None, "e": "x", "f": 2}}
