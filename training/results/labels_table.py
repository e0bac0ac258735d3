"""The tables of made labels beside true ones."""

from __future__ import annotations

from pathlib import Path

from training.labels.score import as_table
from training.results.stored import load_json

_TITLES = {
    "surroundocc": "Generated towns, SurroundOcc's grid of 0.5 m",
    "occ3d": "Occ3D's grid of 0.4 m",
    "semantic_kitti": "SemanticKITTI, 0.2 m",
}


def labels_table(results: Path) -> str:
    """Markdown from ``labels.json`` in a folder: a table for each layout."""
    parts = []
    for layout, scores in load_json(results / "labels.json")["layouts"].items():
        parts.append(
            f"{_TITLES[layout]}, {scores['keyframes']} keyframes; {scores['classed']:.1%} of the "
            f"voxels that are occupied in both have a class:\n\n{as_table(scores)}"
        )
    return "\n\n".join(parts)
