"""Statistics over seeds: means, their standard errors, and paired differences between two rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Summary = dict[str, Any]
"""``mean``, ``stderr`` (None for a single value) and ``values``."""


def summarise(values: list[float]) -> Summary:
    """Mean, standard error of the mean, and the values themselves."""
    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "stderr": stderr, "values": values}


def compare(
    scores: dict[int, dict[str, float]], reference: dict[int, dict[str, float]]
) -> dict[str, Summary]:
    """Summaries of every metric that all seeds have, values in the order of the seeds.

    ``<metric>_over_first`` summarises the differences to the reference, paired by seed, over the
    seeds that both have.

    Args:
        scores: metrics by seed.
        reference: the same of the row to compare with.
    """
    seeds = sorted(scores)
    paired = [seed for seed in seeds if seed in reference]
    shared = [
        name
        for name in next(iter(scores.values()))
        if all(name in metrics for metrics in scores.values())
    ]
    summaries = {name: summarise([scores[seed][name] for seed in seeds]) for name in shared}
    for name in shared:
        if paired and all(name in reference[seed] for seed in paired):
            differences = [scores[seed][name] - reference[seed][name] for seed in paired]
            summaries[f"{name}_over_first"] = summarise(differences)
    return summaries


def signed_percent(difference: Summary) -> str:
    """A difference in percentage points with its sign, and its standard error if there is one."""
    error = "" if difference["stderr"] is None else f" +-{100 * difference['stderr']:.2f}"
    return f"{100 * difference['mean']:+.2f}{error}"
