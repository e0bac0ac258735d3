"""How far generated drives are from real ones, quantity by quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from training.realism_parts.lidar_statistics import OCTAVES, Samples
from training.realism_parts.recordings import pooled

_MIN_SPREAD = 1e-3


def compare(
    real: Mapping[str, Sequence[Samples]], generated: Mapping[str, Sequence[Samples]]
) -> dict[str, Any]:
    """Means, and the distances of the generated from the real data sets.

    The distance is Wasserstein's between all samples of a world and those of a real data set, over
    the standard deviation of all real samples (of logarithms, as it is), averaged over the real
    data sets. ``nearest`` is the same for the drive that comes nearest to each real data set: a
    world of many sensors need not be like one car on average, but should hold its like.

    Args:
        real: data set -> its drives.
        generated: world -> its drives.

    Returns:
        ``means``: data set or world -> quantity -> mean; ``distance`` and ``nearest``: world ->
        quantity -> number.
    """
    sets = {name: pooled(drives) for name, drives in real.items()}
    together = pooled(sets.values())
    means = {name: _means(samples) for name, samples in sets.items()}
    distance: dict[str, dict[str, float]] = {}
    nearest: dict[str, dict[str, float]] = {}
    for world, drives in generated.items():
        whole = pooled(drives)
        means[world] = _means(whole)
        distance[world], nearest[world] = {}, {}
        for quantity in together:
            spread = float(together[quantity].std())
            scale = 1.0 if quantity in OCTAVES else max(spread, _MIN_SPREAD)
            holding = [samples[quantity] for samples in sets.values() if quantity in samples]
            having = [drive[quantity] for drive in drives if quantity in drive]
            if quantity in whole:
                away = [wasserstein_distance(whole[quantity], values) for values in holding]
                best = [
                    min(wasserstein_distance(drive, values) for drive in having)
                    for values in holding
                ]
                distance[world][quantity] = round(float(np.mean(away)) / scale, 3)
                nearest[world][quantity] = round(float(np.mean(best)) / scale, 3)
    return {"means": means, "distance": distance, "nearest": nearest}


def _means(samples: Samples) -> dict[str, float]:
    return {name: round(float(values.mean()), 4) for name, values in samples.items()}
