"""``AblationTable``: an ablation's scores by row and seed, as ``docs/results/<table>.json`` stores
them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occ_core.files import write_atomically
from occ_core.taxonomy import WEATHERS
from training.results.statistics import compare, signed_percent

SUFFIX = "_over_first"
TITLES = {
    "iou": "IoU",
    "miou": "mIoU",
    "miou_small": "small",
    "flicker": "flicker",
    "ray_iou": "RayIoU",
    "bev_iou": "BEV",
    "camera_mask_miou": "seen",
    "one_sweep_miou": "1 sweep",
} | {f"miou_{weather}": weather for weather in WEATHERS}
"""Metrics of the printed table."""


@dataclass(frozen=True)
class TableRow:
    """What a row stands for."""

    name: str
    switches: tuple[str, ...]
    """Ticks in the paper's table."""
    reference: str
    """Name of the row to which this one is compared."""
    steps: int
    training: str
    """Fingerprint of the training."""


@dataclass
class AblationTable:
    """Scores of an ablation's rows, seed by seed."""

    path: Path
    rows: Sequence[TableRow]
    """All rows, in the order of the table; those without scores are not stored."""
    header: dict[str, str]
    """``command``, ``data``, ``test`` and, where rows start from trained weights, their id as
    ``start``; as stored.
    """
    scores: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    """Metrics by row and seed."""
    latency: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    """Contents of the file, empty if there is none."""

    @classmethod
    def load(cls, path: Path, rows: Sequence[TableRow], header: dict[str, str]) -> AblationTable:
        """The table as stored, or an empty one if there is no file.

        Raises:
            ValueError: the file holds scores on other test towns, of other trainings, or of
                trainings from another start; it must not be overwritten.
        """
        table = cls(path, rows, header)
        if not path.exists():
            return table
        table.document = json.loads(path.read_text())
        start = table.document.get("start")
        if start is not None and header.get("start", start) != start:
            raise ValueError(
                f"'{path}' holds rows that started from '{start}', not from "
                f"'{header['start']}'; choose another --results"
            )
        if table.document.get("test") != header["test"]:
            raise ValueError(
                f"'{path}' was scored on '{table.document.get('test')}', not on "
                f"'{header['test']}'; choose another --results"
            )
        trainings = {row.name: row.training for row in rows}
        for stored in table.document["rows"]:
            if trainings.get(stored["name"]) != stored.get("training"):
                raise ValueError(
                    f"'{path}' holds '{stored['name']}' from a different training; choose another "
                    "--results"
                )
            for number, seed in enumerate(stored["seeds"]):
                metrics = stored["metrics"].items()
                scores = {
                    name: summary["values"][number]
                    for name, summary in metrics
                    if not name.endswith(SUFFIX)
                }
                table.add(stored["name"], seed, scores)
        table.latency = table.document.get("latency", {})
        return table

    def add(self, name: str, seed: int, scores: dict[str, float]) -> None:
        """Enters the metrics of one training in place of those that the table may hold."""
        self.scores.setdefault(name, {})[seed] = scores

    def has(self, name: str, seed: int) -> bool:
        """Whether a row has been scored with a seed."""
        return seed in self.scores.get(name, {})

    def compare(self) -> list[dict[str, Any]]:
        """The scored rows as stored: means over the seeds, and differences to their references."""
        return [
            {
                "name": row.name,
                "switches": list(row.switches),
                "over": row.reference,
                "steps": row.steps,
                "training": row.training,
                "seeds": sorted(self.scores[row.name]),
                "metrics": compare(self.scores[row.name], self.scores.get(row.reference, {})),
            }
            for row in self.rows
            if row.name in self.scores
        ]

    def save(self, machine: str) -> None:
        """Writes the table, unless the file says the same already.

        Args:
            machine: where the new scores were computed.
        """
        rows = self.compare()
        stored = [self.document.get("rows"), self.document.get("latency", {})]
        if json.dumps([rows, self.latency]) == json.dumps(stored):  # as text: NaN is not NaN
            return
        machines = sorted({*self.document.get("machines", []), machine})
        self.document = self.header | {"machines": machines, "rows": rows, "latency": self.latency}
        write_atomically(self.path, json.dumps(self.document, indent=2) + "\n")


def format_table(document: dict[str, Any]) -> str:
    """A stored table as text: percentages, and paired differences +- one standard error."""
    rows = document["rows"]
    titles = {
        name: title for name, title in TITLES.items() if any(name in row["metrics"] for row in rows)
    }
    lines = [" " * 28 + "".join(f"{title:>8}{'difference':>15}" for title in titles.values())]
    for row in rows:
        cells = "".join(_cell(row["metrics"], name) for name in titles)
        notes = []
        if row["over"] != rows[0]["name"]:
            notes.append(f"to '{row['over']}'")
        if row["steps"] != rows[0]["steps"]:
            notes.append(f"{row['steps']} steps")
        lines.append(f"{row['name']:28}{cells}  {', '.join(notes)}".rstrip())
    return "\n".join(lines)


def _cell(metrics: dict[str, Any], name: str) -> str:
    mean = f"{metrics[name]['mean']:.2%}" if name in metrics else ""
    difference = metrics.get(f"{name}{SUFFIX}")
    return f"{mean:>8}{'' if difference is None else signed_percent(difference):>15}"
