"""Re-runs a paper's ablation on generated towns: ``python -m training.ablate tacocc [--seeds 1 2
3]``.

Every row is trained at the size ``nano`` on the same data with the same seeds, then scored on towns
that no training saw. It can be stopped at any time: the same command goes on where it was. What
``docs/results/<table>.json`` holds is done already, on this machine or another; to train it all
again, give another ``--results`` and another ``--out``.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from occ_core.build import build_model
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.files import write_whole
from occ_core.ops.allocator import keep_freed_memory
from occ_core.taxonomy import WEATHERS
from occ_core.types import Frame, TemporalMemory
from training.ablation_tables import TABLES, Row
from training.benchmark import machine, medians_ms
from training.evaluate import EvaluateConfig, evaluate
from training.learning.prompt_noise import LanguageTraining
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
    """Of two keyframes each; some rows take several times as many."""
    rows: tuple[str, ...] = ()
    """What is trained now: these, with the rows that they are compared to; all rows where none is
    named.
    """
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
        """The rows to be trained, and those that they are compared to."""
        rows = TABLES[self.table]()
        named = [row for row in rows if not self.rows or row.name in self.rows]
        needed = {rows[0].name, *(name for row in named for name in (row.name, row.over))}
        return [row for row in rows if row.name in needed]


def ablate(config: AblateConfig) -> dict[str, Any]:
    """Trains and scores what is missing, seed by seed, and returns what ``<results>/<table>.json``
    holds.

    Raises:
        ValueError: the table there is of other towns or other trainings, or so is a training's
            folder.
    """
    for seed in config.seeds:
        for row in config.chosen:
            if seed not in _done(config)[row.name]:
                print(f"{config.table}: {row.name}, seed {seed}", flush=True)
                _train_and_score(row, seed, config)
                print(text(_save(config)), flush=True)
    table = _save(config)
    scored = [row["name"] for row in table["rows"]]
    if list(table["latency"].get("ms", {})) != scored:
        table = _save(
            config, latency([row for row in TABLES[config.table]() if row.name in scored], config)
        )
    return table


def latency(rows: list[Row], config: AblateConfig) -> dict[str, Any]:
    """Milliseconds a keyframe takes in the rows' models, in turns: their ratios are of one run.

    The weights are untrained, so that no checkpoint is needed: the head then refines the voxels
    that hold LiDAR returns alone, which makes a keyframe shorter, and what a row adds to it a
    larger share, than after training.
    """
    sides: dict[str, Callable[[], object]] = {}
    torch.manual_seed(0)
    for row in rows:
        shape = _recipe(row, config.seeds[0], config).model
        engine = OccupancyEngine(build_model(shape))
        if not sides:
            frame, _ = NuScenesFrames(config.test, None, None, shape.image_size, 9, shape.grid)[0]
        for step in range(2):  # the second has a memory, where there is one
            engine.step(replace(frame, stamp_ns=(frame.stamp_ns[0] - (2 - step) * 500_000_000,)))
        sides[row.name] = partial(_step, engine, engine.memory, frame)
    medians = medians_ms(sides, repeats=15)
    first = next(iter(medians.values()))
    ratios = {name: median / first for name, median in medians.items()}
    return {"machine": machine(), "weights": "untrained", "ms": medians, "over_first": ratios}


def _step(engine: OccupancyEngine, memory: TemporalMemory | None, frame: Frame) -> None:
    engine.memory = memory
    engine.step(frame)


def _done(config: AblateConfig) -> dict[str, dict[int, dict[str, float]]]:
    """Scores by row and seed: those of the table as it stands, and those beside a checkpoint, which
    count before them.
    """
    scores: dict[str, dict[int, dict[str, float]]] = {
        row.name: {} for row in TABLES[config.table]()
    }
    for kept in _stored(config).get("rows", []):
        values = {
            name: each["values"]
            for name, each in kept["metrics"].items()
            if not name.endswith("_over_first")
        }
        for number, seed in enumerate(kept["seeds"]):
            scores[kept["name"]][seed] = {name: each[number] for name, each in values.items()}
    for row in TABLES[config.table]():
        for seed in config.seeds:
            folder = _folder(row, seed, config)
            path = _scores_path(folder, config)
            if path.exists() and _fingerprint_of(folder) == fingerprint(_recipe(row, seed, config)):
                measured = json.loads(path.read_text())
                if measured["test"] == str(config.test):
                    scores[row.name][seed] = _columns(measured)
    return scores


def _stored(config: AblateConfig) -> dict[str, Any]:
    """The table as it stands, empty if there is none; one that this run would not go on with is
    refused, not overwritten.
    """
    path = config.results / f"{config.table}.json"
    if not path.exists():
        return {}
    table: dict[str, Any] = json.loads(path.read_text())
    if table.get("test") != str(config.test):
        raise ValueError(
            f"'{path}' was scored on '{table.get('test')}', not on '{config.test}'; give another "
            "--results"
        )
    trainings = {
        row.name: fingerprint(_recipe(row, config.seeds[0], config))
        for row in TABLES[config.table]()
    }
    for kept in table["rows"]:
        if trainings.get(kept["name"]) != kept.get("training"):
            raise ValueError(
                f"'{path}' holds '{kept['name']}' of another training than this one's; give "
                "another --results"
            )
    return table


def _train_and_score(row: Row, seed: int, config: AblateConfig) -> None:
    folder = _folder(row, seed, config)
    recipe = _recipe(row, seed, config)
    if (folder / "config.json").exists() and _fingerprint_of(folder) != fingerprint(recipe):
        raise ValueError(
            f"'{folder}' holds a training of another configuration; move it away, or give another "
            "--out"
        )
    checkpoint = train(recipe, resume=True)
    measured = evaluate(
        EvaluateConfig(data=config.test, checkpoint=checkpoint, rendered=_rendered(config))
    )
    _write(measured | {"test": str(config.test)}, _scores_path(folder, config))


def _scores_path(folder: Path, config: AblateConfig) -> Path:
    """Beside the checkpoint: a training may be in several tables."""
    return folder / f"scores_{config.test.name}{'_rendered' if _rendered(config) else ''}.json"


def _rendered(config: AblateConfig) -> bool:
    return any(row.gauss_render is not None for row in TABLES[config.table]())


def fingerprint(recipe: TrainConfig) -> str:
    """The same for trainings that differ in seed and folder alone."""
    return _digest(json.loads(json.dumps(asdict(recipe), default=str)))


def _fingerprint_of(folder: Path) -> str:
    return _digest(json.loads((folder / "config.json").read_text()))


def _digest(config: dict[str, Any]) -> str:
    compared = {
        name: value for name, value in _switched_on(config).items() if name not in ("seed", "out")
    }
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:12]


def _switched_on(config: Any) -> Any:
    """Without what is off: a training is the same whether an option was off or not there yet."""
    if not isinstance(config, dict):
        return config
    return {
        name: _switched_on(value)
        for name, value in config.items()
        if value is not None and value is not False
    }


def _columns(measured: dict[str, Any]) -> dict[str, float]:
    small = [measured["per_class"][name] for name in SMALL]
    ranges = {
        f"miou_{side}": values["miou"]
        for side, values in measured["by_range"].items()
        if side != "100"
    }
    columns = {
        "iou": measured["iou"],
        "miou": measured["miou"],
        "miou_small": math.fsum(small) / len(small),
    } | ranges
    columns["flicker"] = measured["flicker"]
    if "by_weather" in measured:  # not where it was scored before there was such a thing
        columns |= {
            f"miou_{weather}": values["miou"] for weather, values in measured["by_weather"].items()
        }
    if "bev" in measured:
        columns |= {"ray_iou": measured["ray_iou"], "depth_l1_m": measured["depth_l1_m"]}
        columns |= {
            f"{what}_{name}": value
            for what in ("bev", "image")
            for name, value in measured[what].items()
        }
    return columns


def _recipe(row: Row, seed: int, config: AblateConfig) -> TrainConfig:
    nano = nano_town()
    model, steps = row.of(nano.model), config.steps * row.longer
    return replace(
        nano,
        model=model,
        rendering=row.rendering,
        gauss_render=row.gauss_render,
        gauss_render_from=row.gauss_render_from if row.gauss_render is not None else None,
        losses=replace(nano.losses, daga=row.daga),
        by_drive=row.by_drive,
        language=LanguageTraining() if model.language is not None else None,
        data=config.data,
        out=_folder(row, seed, config),
        steps=steps,
        epoch_steps=max(1, steps // 4),  # so much at most is lost by a stop
        batch_size=2,
        clip=1,  # two keyframes of two drives a step, with a memory as without
        forget=FORGET if model.temporal is not None else None,
        seed=seed,
        device="cpu",  # gradients that are summed in any order would hide a small gain
    )


def _folder(row: Row, seed: int, config: AblateConfig) -> Path:
    name = "".join(letter if letter.isalnum() else "_" for letter in row.name)
    return config.out / name / f"seed_{seed}"


def _save(config: AblateConfig, latency: dict[str, Any] | None = None) -> dict[str, Any]:
    """Writes and returns the table of all that is done; a table that says so already stays as it
    is.
    """
    stored, scores = _stored(config), _done(config)
    rows = []
    for row in (row for row in TABLES[config.table]() if scores[row.name]):
        over = row.over or TABLES[config.table]()[0].name
        rows.append(
            {
                "name": row.name,
                "switches": list(row.switches),
                "over": over,
                "steps": config.steps * row.longer,
                "training": fingerprint(_recipe(row, config.seeds[0], config)),
                "seeds": sorted(scores[row.name]),
                "metrics": compared(scores[row.name], scores[over]),
            }
        )
    if (
        latency is None and stored and json.dumps(rows) == json.dumps(stored["rows"])
    ):  # NaN equals no NaN
        return stored
    options = {"--steps": config.steps, "--data": config.data, "--test": config.test}
    words = [str(word) for option in options.items() for word in option]
    table = {
        "command": shlex.join(["python", "-m", "training.ablate", config.table, *words]),
        "data": f"generated towns, trained on '{config.data}', scored on '{config.test}'",
        "test": str(config.test),
        "machines": sorted({*stored.get("machines", []), machine()}),
        "rows": rows,
        "latency": latency or stored.get("latency", {}),
    }
    _write(table, config.results / f"{config.table}.json")
    return table


def _write(values: dict[str, Any], path: Path) -> None:
    write_whole(path, json.dumps(values, indent=2) + "\n")


def compared(
    done: dict[int, dict[str, float]], first: dict[int, dict[str, float]]
) -> dict[str, dict[str, Any]]:
    """Summaries over the seeds; ``..._over_first`` those of the differences to another row, where
    both have a seed.

    Of the metrics that every seed has; values are in the order of the seeds.
    """
    paired = [seed for seed in sorted(done) if seed in first]
    names = [
        name
        for name in next(iter(done.values()))
        if all(name in columns for columns in done.values())
    ]
    summaries = {name: summary([done[seed][name] for seed in sorted(done)]) for name in names}
    for name in (name for name in names if paired and all(name in first[seed] for seed in paired)):
        summaries[f"{name}_over_first"] = summary(
            [done[seed][name] - first[seed][name] for seed in paired]
        )
    return summaries


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, standard error of the mean, and the values."""
    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "stderr": stderr, "values": values}


def text(table: dict[str, Any]) -> str:
    """The table to be read: percentages, +- one standard error of the paired difference to the row
    that each is compared to.
    """
    titles = {
        "iou": "IoU",
        "miou": "mIoU",
        "miou_small": "small",
        "flicker": "flicker",
        "ray_iou": "RayIoU",
        "bev_iou": "BEV",
    }
    titles |= {f"miou_{weather}": weather for weather in WEATHERS}
    shown = {
        name: title
        for name, title in titles.items()
        if any(name in row["metrics"] for row in table["rows"])
    }
    lines = [f"{'':28}" + "".join(f"{title:>8}{'difference':>15}" for title in shown.values())]
    first = table["rows"][0]
    for row in table["rows"]:
        metrics = row["metrics"]
        cells = []
        for name in shown:
            cells.append(f"{metrics[name]['mean']:8.2%}" if name in metrics else f"{'':8}")
            cells.append(
                f"{signed(metrics[f'{name}_over_first']):>15}"
                if f"{name}_over_first" in metrics
                else f"{'':15}"
            )
        notes = {
            f"to '{row['over']}'": row["over"] != first["name"],
            f"{row['steps']} steps": row["steps"] != first["steps"],
        }
        told = ", ".join(note for note, differs in notes.items() if differs)
        lines.append(f"{row['name']:28}{''.join(cells)}  {told}".rstrip())
    return "\n".join(lines)


def signed(difference: dict[str, Any]) -> str:
    """In percent, with its standard error where there is one."""
    error = "" if difference["stderr"] is None else f" +-{100 * difference['stderr']:.2f}"
    return f"{100 * difference['mean']:+.2f}{error}"


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
