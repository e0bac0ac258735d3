"""Re-runs a paper's ablation on generated towns: ``python -m training.ablate tacocc [--seeds 1 2 3]``.

Every row is trained at the size ``nano`` on the same data with the same seeds, then scored on towns that no training saw. It can
be stopped at any time: the same command goes on where it was, and what is done is in ``docs/results/<table>.json`` already.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from occ_core.allocator import keep_freed_memory
from occ_core.checkpoint import load_checkpoint
from occ_core.datasets.frames import NuScenesFrames
from occ_core.inference import OccupancyEngine
from occ_core.taxonomy import WEATHERS
from occ_core.types import Frame, TemporalMemory
from training.ablations import TABLES, Row
from training.benchmark import machine, medians_ms
from training.evaluate import EvaluateConfig, evaluate
from training.language import LanguageTraining
from training.recipes import FORGET, TrainConfig, nano_town
from training.train import train

SMALL = ("pedestrian", "traffic_cone", "bicycle", "motorcycle")


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """Which table, on which data."""

    table: Annotated[str, tyro.conf.Positional]
    data: Path = Path("data/town_train")
    """Towns to train on."""
    test: Path = Path("data/town_test")
    """Towns to score on."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the weights, the order and the augmentation; every row has the same."""
    steps: int = 800
    """Of two keyframes each."""
    rows: tuple[str, ...] = ()
    """All rows where none is named."""
    out: Path = Path("out/ablate")
    """Checkpoints and states."""
    results: Path = Path("docs/results")

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise ValueError(f"there is no table '{self.table}'; there are {', '.join(TABLES)}")
        unknown = set(self.rows) - {row.name for row in TABLES[self.table]()}
        if unknown:
            raise ValueError(f"table '{self.table}' has no row {sorted(unknown)}")

    @property
    def chosen(self) -> list[Row]:
        """The rows to be run, and those that they are compared to."""
        rows = TABLES[self.table]()
        named = [row for row in rows if not self.rows or row.name in self.rows]
        needed = {rows[0].name, *(name for row in named for name in (row.name, row.over))}
        return [row for row in rows if row.name in needed]


def ablate(config: AblateConfig) -> dict[str, Any]:
    """Trains and scores what is missing, seed by seed, and returns what ``docs/results/<table>.json`` holds."""
    scores: dict[str, dict[int, dict[str, float]]] = {row.name: {} for row in config.chosen}
    table: dict[str, Any] = {}
    for seed in config.seeds:
        for row in config.chosen:
            print(f"{config.table}: {row.name}, seed {seed}", flush=True)
            scores[row.name][seed] = _scores(row, seed, config)
            table = _write(config, scores)
    table["latency"] = latency(config)
    _save(table, config)
    return table


def latency(config: AblateConfig) -> dict[str, Any]:
    """Milliseconds a keyframe takes in every row's model, the rows in turns: their ratios are of one run."""
    sides: dict[str, Callable[[], object]] = {}
    for row in config.chosen:
        model, _ = load_checkpoint(_folder(row, config.seeds[0], config) / "model.safetensors")
        engine = OccupancyEngine(model)
        shape = model.config
        if not sides:
            frame, _ = NuScenesFrames(config.test, None, None, shape.image_size, 9, shape.grid)[0]
        for step in range(2):  # the second has a memory, where there is one
            engine.step(replace(frame, stamp_ns=(frame.stamp_ns[0] - (2 - step) * 500_000_000,)))
        memory = engine.memory

        sides[row.name] = partial(_step, engine, memory, frame)
    medians = medians_ms(sides, repeats=15)
    first = next(iter(medians.values()))
    return {"machine": machine(), "ms": medians, "over_first": {name: median / first for name, median in medians.items()}}


def _step(engine: OccupancyEngine, memory: TemporalMemory | None, frame: Frame) -> None:
    engine.memory = memory
    engine.step(frame)


def _scores(row: Row, seed: int, config: AblateConfig) -> dict[str, float]:
    """One training's scores; trained only where they are missing, or were made otherwise."""
    folder = _folder(row, seed, config)
    recipe = _recipe(row, seed, config)
    wanted = _switched_on(json.loads(json.dumps(asdict(recipe), default=str)))
    if (folder / "config.json").exists() and _switched_on(json.loads((folder / "config.json").read_text())) != wanted:
        raise ValueError(f"'{folder}' holds a training of another configuration; move it away, or give another --out")
    kept = folder / "scores.json"
    if not kept.exists():
        checkpoint = train(recipe, resume=True)
        rendered = any(one.gauss_render is not None for one in TABLES[config.table]())
        measured = evaluate(EvaluateConfig(data=config.test, checkpoint=checkpoint, rendered=rendered))
        kept.write_text(json.dumps(measured, indent=2) + "\n")
    return _columns(json.loads(kept.read_text()))


def _switched_on(config: Any) -> Any:
    """Without what is off: a training is the same whether an option was off or not there yet."""
    if not isinstance(config, dict):
        return config
    return {name: _switched_on(value) for name, value in config.items() if value is not None and value is not False}


def _columns(measured: dict[str, Any]) -> dict[str, float]:
    small = [measured["per_class"][name] for name in SMALL]
    ranges = {f"miou_{side}": values["miou"] for side, values in measured["by_range"].items() if side != "100"}
    columns = {"iou": measured["iou"], "miou": measured["miou"], "miou_small": math.fsum(small) / len(small)} | ranges
    columns["flicker"] = measured["flicker"]
    if "by_weather" in measured:  # not where it was scored before there was such a thing
        columns |= {f"miou_{weather}": values["miou"] for weather, values in measured["by_weather"].items()}
    if "bev" in measured:
        columns |= {"ray_iou": measured["ray_iou"], "depth_l1_m": measured["depth_l1_m"]}
        columns |= {f"{what}_{name}": value for what in ("bev", "image") for name, value in measured[what].items()}
    return columns


def _recipe(row: Row, seed: int, config: AblateConfig) -> TrainConfig:
    nano = nano_town()
    model = row.of(nano.model)
    return replace(
        nano,
        model=model,
        rendering=row.rendering,
        gauss_render=row.gauss_render,
        losses=replace(nano.losses, daga=row.daga),
        by_drive=row.by_drive,
        language=LanguageTraining() if model.language is not None else None,
        data=config.data,
        out=_folder(row, seed, config),
        steps=config.steps,
        epoch_steps=max(1, config.steps // 4),  # so much at most is lost by a stop
        batch_size=2,
        clip=1,  # two keyframes of two drives a step, with a memory as without
        forget=FORGET if model.temporal is not None else None,
        seed=seed,
        device="cpu",  # gradients that are summed in any order would hide a small gain
    )


def _folder(row: Row, seed: int, config: AblateConfig) -> Path:
    name = "".join(letter if letter.isalnum() else "_" for letter in row.name)
    return config.out / config.table / name / f"seed_{seed}"


def _write(config: AblateConfig, scores: dict[str, dict[int, dict[str, float]]]) -> dict[str, Any]:
    """Means over the seeds so far; ``..._over_first`` are the paired differences to the first row, or to ``Row.over``."""
    rows = []
    every = [columns for seeds in scores.values() for columns in seeds.values()]
    shared = [name for name in every[0] if all(name in columns for columns in every)]
    for row in config.chosen:
        over = row.over or config.chosen[0].name
        done, first = scores[row.name], scores[over]
        if not done:
            continue
        metrics = compared(done, first, shared)
        rows.append({"name": row.name, "switches": list(row.switches), "over": over, "metrics": metrics})
    table = {
        "command": shlex.join(
            ["python", "-m", "training.ablate", config.table, "--steps", str(config.steps), "--test", str(config.test)]
            + (["--rows", *config.rows] if config.rows else [])
        ),
        "data": f"generated towns, trained on '{config.data}', scored on '{config.test}'; seeds {list(config.seeds)}",
        "machine": machine(),
        "rows": rows,
    }
    _save(table, config)
    print(text(table), flush=True)
    return table


def compared(
    done: dict[int, dict[str, float]], first: dict[int, dict[str, float]], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Summaries over the seeds; ``..._over_first`` those of the differences to another row with the same seeds."""
    paired = [seed for seed in done if seed in first]
    return {name: summary([done[seed][name] for seed in done]) for name in names} | {
        f"{name}_over_first": summary([done[seed][name] - first[seed][name] for seed in paired]) for name in names
    }


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, standard error of the mean, and the values."""
    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "stderr": stderr, "values": values}


def text(table: dict[str, Any]) -> str:
    """The table to be read: percentages, +- one standard error of the paired difference to the row that each is compared to."""
    titles = {"iou": "IoU", "miou": "mIoU", "miou_small": "small", "flicker": "flicker", "ray_iou": "RayIoU", "bev_iou": "BEV"}
    titles |= {f"miou_{weather}": weather for weather in WEATHERS}
    shown = {name: title for name, title in titles.items() if name in table["rows"][0]["metrics"]}
    lines = [f"{'':28}" + "".join(f"{title:>8}{'difference':>15}" for title in shown.values())]
    for row in table["rows"]:
        metrics = row["metrics"]
        cells = (f"{metrics[name]['mean']:8.2%}{signed(metrics[f'{name}_over_first']):>15}" for name in shown)
        over = "" if row["over"] == table["rows"][0]["name"] else f"  (to '{row['over']}')"
        lines.append(f"{row['name']:28}" + "".join(cells) + over)
    return "\n".join(lines)


def signed(difference: dict[str, Any]) -> str:
    """In percent, with its standard error where there is one."""
    error = "" if difference["stderr"] is None else f" +-{100 * difference['stderr']:.2f}"
    return f"{100 * difference['mean']:+.2f}{error}"


def _save(table: dict[str, Any], config: AblateConfig) -> None:
    config.results.mkdir(parents=True, exist_ok=True)
    (config.results / f"{config.table}.json").write_text(json.dumps(table, indent=2) + "\n")


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        table = ablate(tyro.cli(AblateConfig, prog="training.ablate", description=__doc__))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.ablate: {err}")
    print(text(table))
    for name, ratio in table["latency"]["over_first"].items():
        print(f"{name:28}{table['latency']['ms'][name]:8.1f} ms{ratio:8.2f}x")


if __name__ == "__main__":
    main()
