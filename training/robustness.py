"""How models bear a wrong context and failing sensors: ``python -m training.robustness
out/ablate/base ...``.

Each folder is a row of an ablation; its seeds are paired with those of the first. Written to
``docs/results/robustness.json``. Of ``data/town_weathers`` the README says how it is made.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.metrics import OccupancyScore
from occ_core.types import DriveContext, Frame
from training.ablate import compared, signed
from training.benchmark import machine
from training.figures.robustness import draw_curves
from training.learning.examples import drives

OPPOSITE = {"clear": "rain at night", "rain": "clear", "night": "clear", "rain at night": "clear"}
"""What a wrong topic says of each weather."""
Change = Callable[[Frame, float], Frame]
"""What is done to a frame, given a number in [0, 1) that is drawn for it."""


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Which models, on which towns."""

    rows: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that hold ``seed_*/model.safetensors``; the first is what the others are compared to.
    """
    data: Path = Path("data/town_weathers")
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Of the frames whose cameras, or whose LiDAR, fail."""
    keyframes: int = 5
    """The first of every drive."""
    out: Path = Path("docs/results/robustness.json")
    picture: Path | None = None
    """Where the curves of the failing sensors are drawn."""

    def __post_init__(self) -> None:
        if len(set(self.rows)) < len(self.rows):
            raise ValueError(f"a row is named twice: {', '.join(map(str, self.rows))}")
        if self.keyframes < 1 or not all(0 < share <= 1 for share in self.shares):
            raise ValueError(
                f"keyframes must be at least 1 and shares in (0, 1], got {self.keyframes} and "
                f"{self.shares}"
            )


def conditions(shares: tuple[float, ...]) -> dict[str, Change]:
    """What is done to the frames, by name; the names tell the rows of VLMFusionOcc3D's questions."""
    made: dict[str, Change] = {
        "as it is": lambda frame, _: frame,
        "weather unknown": lambda frame, _: replace(
            frame, context=tuple(DriveContext(region=c.region) for c in frame.context)
        ),
        "weather wrong": lambda frame, _: replace(
            frame, context=tuple(DriveContext(OPPOSITE[c.weather], c.region) for c in frame.context)
        ),
    }
    for sensor, of in FAILURES.items():
        made |= {f"{sensor} {share:.0%}": partial(_fail, share, of) for share in shares}
    return made


def _fail(share: float, of: Callable[[Frame], Frame], frame: Frame, drawn: float) -> Frame:
    return (
        of(frame) if drawn < share else frame
    )  # a frame lost at one share is lost at every larger one


def _blind(frame: Frame) -> Frame:
    return replace(frame, camera_mask=torch.zeros_like(frame.camera_mask))


def _deaf(frame: Frame) -> Frame:
    return replace(frame, points=tuple(points[:0] for points in frame.points))


FAILURES: dict[str, Callable[[Frame], Frame]] = {"cameras fail": _blind, "LiDAR fails": _deaf}


def score(
    engine: OccupancyEngine, frames: NuScenesFrames, keyframes: int, changes: dict[str, Change]
) -> dict[str, dict[str, float]]:
    """IoU and mIoU, over all and by weather, under each condition; ``general prompt`` forgets the
    classes seen.
    """
    scores: dict[str, dict[str, OccupancyScore]] = {
        name: {} for name in (*changes, "general prompt")
    }
    chosen = [(number, drive[:keyframes]) for number, drive in enumerate(drives(frames))]
    for number, drive in tqdm(chosen, desc="robustness", unit="drive", leave=False):
        examples = [frames[index] for index in drive]
        drawn = np.random.default_rng([0, number]).random(len(drive))
        for name, kept in scores.items():
            engine.reset("the frames before are of another drive")
            for (frame, labels), number_drawn in zip(examples, drawn.tolist(), strict=True):
                if labels is None:
                    raise FileNotFoundError(
                        f"a keyframe of '{frames.keyframes[drive[0]].scene_name}' has no occupancy "
                        "labels"
                    )
                if name == "general prompt" and engine.memory is not None:
                    engine.memory = replace(engine.memory, classes=None)
                changed = changes.get(name, changes["as it is"])(frame, number_drawn)
                prediction = engine.step(changed).labels[0]
                for group in ("all", frame.context[0].weather):
                    kept.setdefault(group, OccupancyScore()).update(prediction, labels)
    return {name: _flat(groups) for name, groups in scores.items()}


def _flat(groups: dict[str, OccupancyScore]) -> dict[str, float]:
    computed = {group: one.compute() for group, one in groups.items()}
    all_of_them = computed.pop("all")
    by_weather = {f"miou_{weather}": scores["miou"] for weather, scores in computed.items()}
    return {"iou": all_of_them["iou"], "miou": all_of_them["miou"]} | by_weather


def robustness(config: RobustnessConfig) -> dict[str, Any]:
    """All rows under all conditions."""
    measured: dict[str, dict[int, dict[str, dict[str, float]]]] = {}  # row, seed, condition, metric
    for row in config.rows:
        checkpoints = sorted(row.glob("seed_*/model.safetensors"))
        if not checkpoints:
            raise FileNotFoundError(
                f"'{row}' holds no seed_*/model.safetensors; train it with `python -m "
                "training.ablate`"
            )
        measured[str(row)] = {}
        for checkpoint in checkpoints:
            engine = OccupancyEngine.from_checkpoint(checkpoint)
            shape = engine.model.config
            frames = NuScenesFrames(config.data, None, None, shape.image_size, 9, shape.grid)
            scores = score(engine, frames, config.keyframes, conditions(config.shares))
            measured[str(row)][int(checkpoint.parent.name.removeprefix("seed_"))] = scores
    first = next(iter(measured.values()))
    table = {
        "command": shlex.join(["python", "-m", "training.robustness", *sys.argv[1:]]),
        "data": f"the first {config.keyframes} keyframes of every drive of '{config.data}'; generated towns",
        "machine": machine(),
        "rows": [
            {"name": name, "conditions": _over_seeds(seeds, first)}
            for name, seeds in measured.items()
        ],
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps(table, indent=2) + "\n")
    if config.picture is not None:
        shares = sorted(config.shares)
        panels = [
            (name, [(0.0, "as it is"), *((share, f"{name} {share:.0%}") for share in shares)])
            for name in FAILURES
        ]
        draw_curves(table, panels, config.picture)
    return table


def _over_seeds(seeds: dict[int, Any], first: dict[int, Any]) -> dict[str, dict[str, Any]]:
    """Of every condition the metrics, compared to the first row under the same condition."""
    if not seeds.keys() & first.keys():
        raise ValueError(
            f"no seed of {sorted(seeds)} is among the first row's {sorted(first)}; only equal "
            "seeds can be compared"
        )
    table = {}
    for condition in next(iter(seeds.values())):
        mine, other = (
            {seed: one[condition] for seed, one in row.items()} for row in (seeds, first)
        )
        table[condition] = compared(mine, other)
    return table


def text(table: dict[str, Any]) -> str:
    """mIoU of every row under every condition, with the paired difference to the first row."""
    lines = []
    for row in table["rows"]:
        lines.append(row["name"])
        for condition, metrics in row["conditions"].items():
            lines.append(
                f"  {condition:22}{metrics['miou']['mean']:8.2%}  "
                f"{signed(metrics['miou_over_first'])}"
            )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    try:
        print(
            text(
                robustness(
                    tyro.cli(RobustnessConfig, prog="training.robustness", description=__doc__)
                )
            )
        )
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.robustness: {err}")


if __name__ == "__main__":
    main()
