"""The table of the training on a few real scans: a proof that the way works, not a result."""

from __future__ import annotations

from pathlib import Path

from training.results.stored import load_json

_FILES = {
    "sequence 05, not trained on": "voxels_05.json",
    "sequence 00, trained on": "voxels_00.json",
}
_SCORES = {"IoU": "iou", "precision": "precision", "recall": "recall", "mIoU": "miou"}


def real_voxels_table(results: Path) -> str:
    """Markdown from ``real/voxels_*.json`` in a folder: SemanticKITTI's own scores, in percent, and
    the classes that either sequence has any of.
    """
    scored = {
        title: load_json(results / "real" / name) for title, name in _FILES.items()
    }  # as training.evaluate --benchmark semantic_kitti writes them
    head = ["", *(f"{title}, {each['frames']} scans" for title, each in scored.items())]
    rows = [head, ["---"] * len(head)]
    for title, key in _SCORES.items():
        rows.append([f"{title}, %", *(f"{each['official'][key]:.1f}" for each in scored.values())])
    classes = next(iter(scored.values()))["per_class"]
    for name in classes:
        found = [each["per_class"][name] or 0.0 for each in scored.values()]
        if any(found):
            rows.append([f"IoU of {name}, %", *(f"{100 * iou:.1f}" for iou in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
