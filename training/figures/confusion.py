"""A picture of a confusion matrix of classes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from occ_core.taxonomy import CLASS_NAMES


def draw_confusion(confusion: np.ndarray, path: Path) -> None:
    """Writes the matrix as a PNG: one row per true class that occurs, in shares of the row.

    Args:
        confusion: counts ``[truth, prediction]`` by class id.
        path: file to write; its folder is made.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [label for label in range(len(CLASS_NAMES)) if confusion[label].any()]
    shares = confusion[rows] / confusion[rows].sum(axis=1, keepdims=True)
    figure, axes = pyplot.subplots(figsize=(11, 1.5 + 0.45 * len(rows)))
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), [CLASS_NAMES[label] for label in rows])
    axes.set_xlabel("prediction (empty: missed)")
    axes.set_ylabel("truth")
    for row, column in np.argwhere(shares >= 0.01):
        value = shares[row, column]
        colour = "white" if value > 0.5 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
