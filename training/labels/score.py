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
        self.counts = np.zeros((len(labels.names), len(labels.names)), np.int64)
        """int64 [true class, made class]."""

    def update(self, made: np.ndarray, truth: np.ndarray, observed: np.ndarray) -> None:
        """Counts the voxels of a keyframe.

        Args:
            made: uint8 ``[X, Y, Z]``, class ids; 255 ignored.
            truth: likewise.
            observed: bool ``[X, Y, Z]``: the voxels that count.

        Raises:
            ValueError: the shapes differ.
        """
        if not made.shape == truth.shape == observed.shape:
            raise ValueError(
                f"made, true and observed voxels must have one shape, got {list(made.shape)}, "
                f"{list(truth.shape)} and {list(observed.shape)}"
            )
        counted = observed & (made != IGNORE) & (truth != IGNORE)
        classes = len(self.labels.names)
        pairs = truth[counted].astype(np.int64) * classes + made[counted]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        self.keyframes += 1

    def compute(self) -> dict[str, Any]:
        """Scores as fractions, None where there is nothing to count.

        Returns:
            ``iou`` of occupied voxels; ``agreement``: of the voxels occupied in both the share with
            the same class; ``accuracy``: of all voxels, empty ones included, the share that is the
            same; ``keyframes``, ``voxels``; and by class in ``per_class``: ``iou``, ``found``: the
            share of the true voxels that is occupied at all, ``agreement``: of these the share that
            has the class, and their number ``voxels``.
        """
        counts, occupied = self.counts, self.labels.occupied
        both = counts[np.ix_(occupied, occupied)]
        either = counts.sum() - counts[self.labels.empty, self.labels.empty]
        return {
            "keyframes": self.keyframes,
            "voxels": int(counts.sum()),
            "iou": _share(both.sum(), either),
            "agreement": _share(np.trace(both), both.sum()),
            "accuracy": _share(np.trace(counts), counts.sum()),
            "per_class": {
                self.labels.names[label]: {
                    "iou": _share(
                        counts[label, label],
                        counts[label].sum() + counts[:, label].sum() - counts[label, label],
                    ),
                    "found": _share(counts[label, occupied].sum(), counts[label].sum()),
                    "agreement": _share(counts[label, label], counts[label, occupied].sum()),
                    "voxels": int(counts[label].sum()),
                }
                for label in occupied
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
