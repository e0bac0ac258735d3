"""How well made labels agree with true ones, where both can be known."""

from __future__ import annotations

from typing import Any

import numpy as np

from occ_core.labels.label_set import LabelSet
from occ_core.taxonomy import IGNORE


class LabelScore:
    """Counts voxels by true and made class, over any number of keyframes.

    Args:
        labels: the classes of both.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.keyframes = 0
        self.counts = np.zeros((len(labels.names), len(labels.names) + 1), np.int64)
        """int64 [true class, made class]; the last column is for occupied voxels of no class."""

    def update(self, made: np.ndarray, truth: np.ndarray, observed: np.ndarray) -> None:
        """Counts the voxels of a keyframe.

        Args:
            made: uint8 ``[X, Y, Z]``, class ids; 255 for an occupied voxel of no class.
            truth: likewise, but 255 is ignored.
            observed: bool ``[X, Y, Z]``: the voxels that count.

        Raises:
            ValueError: the shapes differ.
        """
        if not made.shape == truth.shape == observed.shape:
            raise ValueError(
                f"made, true and observed voxels must have one shape, got {list(made.shape)}, "
                f"{list(truth.shape)} and {list(observed.shape)}"
            )
        counted = observed & (truth != IGNORE)
        rows, columns = self.counts.shape
        made_ids = np.where(made[counted] == IGNORE, rows, made[counted]).astype(np.int64)
        pairs = truth[counted].astype(np.int64) * columns + made_ids
        self.counts += np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
        self.keyframes += 1

    def compute(self) -> dict[str, Any]:
        """Scores as fractions, None where there is nothing to count.

        Returns:
            ``iou`` of occupied voxels; ``classed``: of the voxels occupied in both the share that
            was given a class; ``agreement``: of these the share with the same class; ``accuracy``:
            of all voxels, empty ones included, the share that is the same; ``keyframes``,
            ``voxels``; and by class in ``per_class``: ``iou``, ``found``: the share of the true
            voxels that is occupied at all, ``agreement``: of these, where they were given a class,
            the share that has the right one, and their number ``voxels``.
        """
        counts, occupied = self.counts, self.labels.occupied
        classed = counts[np.ix_(occupied, occupied)]
        both = classed.sum() + counts[occupied, -1].sum()
        either = counts.sum() - counts[self.labels.empty, self.labels.empty]
        found = classed.sum(axis=1) + counts[occupied, -1]
        return {
            "keyframes": self.keyframes,
            "voxels": int(counts.sum()),
            "iou": _share(both, either),
            "classed": _share(classed.sum(), both),
            "agreement": _share(np.trace(classed), classed.sum()),
            "accuracy": _share(np.trace(counts), counts.sum()),
            "per_class": {
                self.labels.names[label]: {
                    "iou": _share(
                        counts[label, label],
                        counts[label].sum() + counts[:, label].sum() - counts[label, label],
                    ),
                    "found": _share(whole, counts[label].sum()),
                    "agreement": _share(counts[label, label], counts[label, occupied].sum()),
                    "voxels": int(counts[label].sum()),
                }
                for label, whole in zip(occupied, found, strict=True)
            },
        }


def as_table(scores: dict[str, Any]) -> str:
    """The scores as a Markdown table: a row for all classes, with the IoU of occupied voxels, and
    one for each class that occurs; voxels are the truly occupied ones.
    """

    def cells(*values: float | None) -> str:
        return " | ".join("-" if value is None else f"{value:.3f}" for value in values)

    classes = [each for each in scores["per_class"].values() if each["voxels"]]
    voxels = sum(each["voxels"] for each in classes)
    found = sum(each["found"] * each["voxels"] for each in classes) / voxels if voxels else None
    rows = [
        "| class | IoU | found | agreement | voxels |",
        "|---|---|---|---|---|",
        f"| all | {cells(scores['iou'], found, scores['agreement'])} | {voxels} |",
    ]
    for name, each in scores["per_class"].items():
        if each["voxels"]:
            values = cells(each["iou"], each["found"], each["agreement"])
            rows.append(f"| {name} | {values} | {each['voxels']} |")
    return "\n".join(rows)


def _share(part: int, whole: int) -> float | None:
    return float(part) / float(whole) if whole else None
