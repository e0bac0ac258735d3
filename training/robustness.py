"""Robustness to wrong context and failing sensors: ``python -m training.robustness FOLDER ...``.

Each folder, such as ``out/ablate/base``, is a row of an ablation; its seeds are paired with those
of the first row. The table is written to ``out/robustness.json``.
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
import tyro
from torch import Tensor
from tqdm import tqdm

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.metrics import OccupancyScore
from occ_core.types import DriveContext, Frame
from training.benchmarks.timing import describe_machine
from training.figures.robustness import draw_curves
from training.learning.examples import drives
from training.results.statistics import compare, signed_percent
from training.scoring.sensors import without_cameras, without_lidar

WRONG_WEATHER = {
    "clear": "rain at night",
    "rain": "clear",
    "night": "clear",
    "rain at night": "clear",
}
"""The weather that a wrong topic reports, by the true one."""
Condition = Callable[[Frame, float], Frame]
"""Changes a frame, given a number that is drawn for the frame uniformly from [0, 1)."""


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Which models are scored, and on which data."""

    rows: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with seed_*/model.safetensors; the others are compared with the first."""
    data: Path = Path("data/town_weathers")
    """nuScenes data root with labels, of drives in several weathers."""
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Fractions of the frames in which all cameras, or the LiDAR, fail."""
    keyframes: int = 5
    """How many keyframes of every drive are scored, from its first on."""
    out: Path = Path("out/robustness.json")
    """File for the table."""
    picture: Path | None = None
    """File for the curves of the failing sensors."""

    def __post_init__(self) -> None:
        if len(set(self.rows)) < len(self.rows):
            raise ValueError(f"a folder is given twice: {', '.join(map(str, self.rows))}")
        if self.keyframes < 1 or not all(0 < share <= 1 for share in self.shares):
            raise ValueError(
                f"keyframes must be at least 1 and shares in (0, 1], got {self.keyframes} and "
                f"{self.shares}"
            )


def conditions(shares: tuple[float, ...]) -> dict[str, Condition]:
    """The conditions by name, with each sensor failing in each fraction of the frames."""
    by_name: dict[str, Condition] = {
        UNCHANGED: lambda frame, _: frame,
        "weather unknown": lambda frame, _: replace(
            frame, context=tuple(DriveContext(region=c.region) for c in frame.context)
        ),
        "weather wrong": lambda frame, _: replace(
            frame,
            context=tuple(DriveContext(WRONG_WEATHER[c.weather], c.region) for c in frame.context),
        ),
    }
    for name, fail in FAILURES.items():
        by_name |= {f"{name} {share:.0%}": partial(_fail_in, share, fail) for share in shares}
    return by_name


def _fail_in(share: float, fail: Callable[[Frame], Frame], frame: Frame, drawn: float) -> Frame:
    # A frame that fails at one share fails at every larger one, so that the shares are comparable.
    return fail(frame) if drawn < share else frame


UNCHANGED = "as it is"
GENERAL_PROMPT = "general prompt"
FAILURES: dict[str, Callable[[Frame], Frame]] = {
    "cameras fail": without_cameras,
    "LiDAR fails": without_lidar,
}


def score(
    engine: OccupancyEngine, frames: NuScenesFrames, keyframes: int, by_name: dict[str, Condition]
) -> dict[str, dict[str, float]]:
    """IoU and mIoU, over all keyframes and by weather, under each condition.

    The condition ``general prompt`` is added to the given ones: it discards the classes seen in the
    last frame, so that the prompts are those of a first frame.

    Args:
        keyframes: how many keyframes of every drive are scored, from its first on.
        by_name: as ``conditions`` returns them.

    Returns:
        Metrics by condition: ``iou``, ``miou``, and ``miou_<weather>`` for each weather.

    Raises:
        FileNotFoundError: a keyframe has no labels.
    """
    scores: dict[str, dict[str, OccupancyScore]] = {name: {} for name in (*by_name, GENERAL_PROMPT)}
    for number, drive in enumerate(tqdm(drives(frames), "robustness", unit="drive", leave=False)):
        examples = [_labelled(frames, index) for index in drive[:keyframes]]
        # Every condition and every model sees the same frames fail.
        drawn = np.random.default_rng([0, number]).random(len(examples)).tolist()
        for name, groups in scores.items():
            condition = by_name.get(name, by_name[UNCHANGED])
            engine.reset("another drive begins")
            for (frame, truth), draw in zip(examples, drawn, strict=True):
                if name == GENERAL_PROMPT and engine.memory is not None:
                    engine.memory = replace(engine.memory, classes=None)
                prediction = engine.step(condition(frame, draw)).labels[0]
                for group in ("all", frame.context[0].weather):
                    groups.setdefault(group, OccupancyScore()).update(prediction, truth)
    return {name: _metrics(groups) for name, groups in scores.items()}


def _labelled(frames: NuScenesFrames, index: int) -> tuple[Frame, Tensor]:
    frame, truth = frames[index]
    if truth is None:
        scene = frames.keyframes[index].scene_name
        raise FileNotFoundError(f"a keyframe of '{scene}' has no occupancy labels")
    return frame, truth


def _metrics(groups: dict[str, OccupancyScore]) -> dict[str, float]:
    scores = {group: score.compute() for group, score in groups.items()}
    overall = scores.pop("all")
    by_weather = {f"miou_{weather}": score["miou"] for weather, score in scores.items()}
    return {"iou": overall["iou"], "miou": overall["miou"]} | by_weather


def robustness(config: RobustnessConfig) -> dict[str, Any]:
    """Scores all rows under all conditions, and writes the table and the picture.

    Raises:
        FileNotFoundError: a folder holds no checkpoints, or a keyframe no labels.
        ValueError: a row has no seed in common with the first.
    """
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
        "data": f"the first {config.keyframes} keyframes of every drive of '{config.data}'; "
        "generated towns",
        "machine": describe_machine(),
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
            (name, [(0.0, UNCHANGED), *((share, f"{name} {share:.0%}") for share in shares)])
            for name in FAILURES
        ]
        draw_curves(table, panels, config.picture)
    return table


def _over_seeds(seeds: dict[int, Any], first: dict[int, Any]) -> dict[str, dict[str, Any]]:
    """Metrics of every condition, compared with the first row under the same condition."""
    if not seeds.keys() & first.keys():
        raise ValueError(
            f"no seed of {sorted(seeds)} is among the first row's {sorted(first)}; only equal "
            "seeds can be compared"
        )
    return {
        condition: compare(
            *({seed: scores[condition] for seed, scores in row.items()} for row in (seeds, first))
        )
        for condition in next(iter(seeds.values()))
    }


def text(table: dict[str, Any]) -> str:
    """The table as text: mIoU by row and condition, with the paired difference to the first row."""
    lines = []
    for row in table["rows"]:
        lines.append(row["name"])
        for condition, metrics in row["conditions"].items():
            lines.append(
                f"  {condition:22}{metrics['miou']['mean']:8.2%}  "
                f"{signed_percent(metrics['miou_over_first'])}"
            )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(RobustnessConfig, prog="training.robustness", description=__doc__)
        print(text(robustness(config)))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.robustness: {err}")


if __name__ == "__main__":
    main()
