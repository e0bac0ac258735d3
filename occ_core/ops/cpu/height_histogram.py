"""As ``ops.height_histogram.height_histogram``, compiled: point by point."""

from __future__ import annotations

import numpy as np

from occ_core.ops.cpu.kernel import kernel


@kernel
def add_heights(
    points: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sizes: np.ndarray,
    count: np.ndarray,
    total_m: np.ndarray,
) -> None:
    """Adds to ``count`` and ``total_m`` [X, Y, bin], which start as zeros.

    Args:
        sizes: sides of a bin along x, y and z.
    """
    cells_x, cells_y, bins = count.shape
    for point in range(len(points)):
        x, y, z = points[point, 0], points[point, 1], points[point, 2]
        if low[0] <= x < high[0] and low[1] <= y < high[1] and low[2] <= z < high[2]:
            i = min(int((x - low[0]) / sizes[0]), cells_x - 1)
            j = min(int((y - low[1]) / sizes[1]), cells_y - 1)
            k = min(int((z - low[2]) / sizes[2]), bins - 1)
            count[i, j, k] += 1
            total_m[i, j, k] += z
