"""The table of what full data sets cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.results.stored import load_json

EPOCHS = 24
"""Epochs of TPVFormer's, SurroundOcc's and GaussRender's released trainings."""
KEYFRAMES = {"labels": 34_149, "training": 28_130 * EPOCHS, "evaluation": 6_019}
"""How often nuScenes' trainval needs each task: all keyframes, the training split every epoch, the
validation split once.
"""
_TITLES = {
    "labels": "labels at 0.5 m, once",
    "training": f"training, {EPOCHS} epochs",
    "evaluation": "evaluation of the validation split",
}
_CORES = 64


def plan_table(plan: dict[str, Any]) -> str:
    """Markdown: a row for each task, and what the disk holds."""
    lines = [
        f"| task | CPU s a keyframe | peak memory of a process | nuScenes, core hours | days on "
        f"{_CORES} cores | ten times, core hours | days on {_CORES} cores |",
        "|---" * 7 + "|",
    ]
    for task, title in _TITLES.items():
        each = plan["tasks"][task]
        hours = each["cpu_s"] * KEYFRAMES[task] / 3600
        memory = f"{each['peak_mib'] / 1024:.1f} GiB" if "peak_mib" in each else "–"
        cells = [f"{each['cpu_s']:.2f}", memory]
        for factor in (1, 10):
            cells += [f"{factor * hours:,.0f}", f"{factor * hours / 24 / _CORES:.2g}"]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    gigabytes = plan["label_bytes"] * KEYFRAMES["labels"] / 1e9
    lines.append("")
    lines.append(
        f"Labels take {plan['label_bytes'] / 1e3:.0f} kB a keyframe: {gigabytes:.1f} GB for "
        f"nuScenes, {10 * gigabytes:.0f} GB for ten times as much. Measured with the recipe "
        f"`{plan['recipe']}` on {plan['machine']}."
    )
    return "\n".join(lines)


def stored_plan_table(results: Path) -> str:
    """Markdown from ``plan.json`` in a folder."""
    return plan_table(load_json(results / "plan.json"))
