"""Repeats a paper's ablation on generated towns:
``python -m training.ablate tacocc [--seeds 1 2 3]``.

Every row is trained at the size ``nano`` on the same data with the same seeds, then scored on towns
that no training has seen; the rows of ``streets`` start from trained weights of the shipped model's
size. Stop at any time; the same command continues. Whatever
``docs/results/<table>.json`` holds is not trained again, on whichever machine it was trained; to
repeat everything, choose another ``--results`` and another ``--out``.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from occ_core.build import build_model
from occ_core.checkpoint import checkpoint_id
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.files import write_atomically
from occ_core.ops.allocator import keep_freed_memory
from occ_core.types import Frame, TemporalMemory
from training.ablation_tables import STREETS, TABLES, Row
from training.benchmarks.timing import describe_machine, medians_ms
from training.evaluate import EvaluateConfig, evaluate
from training.learning.config import TrainConfig
from training.learning.prompt_noise import LanguageTraining
from training.recipes import FORGET, bench_streets, nano_town
from training.results.ablation_table import AblationTable, TableRow, format_table
from training.results.fingerprint import fingerprint, stored_fingerprint
from training.scoring.drive_metrics import drive_metrics
from training.train import train

SMALL = ("pedestrian", "traffic_cone", "bicycle", "motorcycle")


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """Which table to compute, on which data."""

    table: Annotated[str, tyro.conf.Positional]
    data: Path = Path("data/town_train")
    """Towns to train on."""
    test: Path = Path("data/town_test")
    """Towns to score on."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the weights, the order and the augmentation, the same for every row; those of a null
    row are higher.
    """
    steps: int = 800
    """Steps of two keyframes each; some rows take several times as many."""
    rows: tuple[str, ...] = ()
    """Rows to train now, with the rows that they are compared to; empty: all."""
    out: Path = Path("out/ablate")
    """Folder for checkpoints and training states."""
    results: Path = Path("docs/results")
    """Folder of the tables."""

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise ValueError(f"no table is called '{self.table}'; choose from {', '.join(TABLES)}")
        unknown = set(self.rows) - {row.name for row in TABLES[self.table]()}
        if unknown:
            raise ValueError(f"table '{self.table}' has no row {sorted(unknown)}")

    @property
    def chosen(self) -> list[Row]:
        """The rows to train, and those that they are compared to."""
        rows = TABLES[self.table]()
        asked = [row for row in rows if not self.rows or row.name in self.rows]
        needed = {rows[0].name, *(name for row in asked for name in (row.name, row.reference))}
        return [row for row in rows if row.name in needed]


def ablate(config: AblateConfig) -> dict[str, Any]:
    """Trains and scores what is missing, seed by seed, and returns the contents of
    ``<results>/<table>.json``.

    Raises:
        FileNotFoundError: data are missing.
        ValueError: the stored table holds other test towns or other trainings, or so does the
            folder of a training.
    """
    table = load_table(config)
    for seed in config.seeds:
        for row in config.chosen:
            if not table.has(row.name, seed):
                print(f"{config.table}: {row.name}, seed {seed}", flush=True)
                _train_and_score(row, seed, config)
                table = load_table(config)  # again: another process may have added rows
                table.save(describe_machine())
                print(format_table(table.document), flush=True)
    table.save(describe_machine())
    scored = [row for row in TABLES[config.table]() if row.name in table.scores]
    if list(table.latency.get("ms", {})) != [row.name for row in scored]:
        table.latency = latency(scored, config)
        table.save(describe_machine())
    return table.document


def load_table(config: AblateConfig) -> AblationTable:
    """The stored table with the scores that lie beside checkpoints, which take precedence.

    Raises:
        ValueError: the stored table holds other test towns or other trainings.
    """
    rows = TABLES[config.table]()
    heads = [
        TableRow(
            name=row.name,
            switches=row.switches,
            reference=row.reference or rows[0].name,
            steps=config.steps * row.steps_factor,
            training=fingerprint(recipe(row, config.seeds[0], config)),
        )
        for row in rows
    ]
    options = {"--steps": config.steps, "--data": config.data, "--test": config.test}
    words = [str(word) for option in options.items() for word in option]
    header = {
        "command": shlex.join(["python", "-m", "training.ablate", config.table, *words]),
        "data": f"generated towns, trained on '{config.data}', scored on '{config.test}'",
        "test": str(config.test),
    }
    if config.table == STREETS and (start := _start()).exists():
        header["start"] = checkpoint_id(start)
    table = AblationTable.load(config.results / f"{config.table}.json", heads, header)
    for row in rows:
        for seed in config.seeds:
            scores = _scores_beside_checkpoint(row, seed, config)
            if scores is not None:
                table.add(row.name, seed, scores)
    return table


def recipe(row: Row, seed: int, config: AblateConfig) -> TrainConfig:
    """The training of one row with one seed."""
    first = _first(config)
    model, steps = row.model_config(first.model), config.steps * row.steps_factor
    augment = first.augment
    if row.blind:
        if augment is None:
            raise ValueError(f"row '{row.name}' needs an augmentation, which masks the cameras")
        augment = replace(augment, drop_all_cameras=1.0)
    return replace(
        first,
        model=model,
        rendering=row.rendering,
        gauss_render=row.gauss_render,
        gauss_render_from=row.gauss_render_from if row.gauss_render is not None else None,
        augment=augment,
        losses=replace(first.losses, daga=row.daga, conet_labels=row.conet_labels),
        by_drive=row.by_drive,
        language=LanguageTraining() if model.language is not None else None,
        data=config.data,
        out=_folder(row, seed, config),
        steps=steps,
        epoch_steps=max(1, steps // 4),  # a stop costs this many steps at most
        batch_size=2,
        clip=1,  # with a memory too, a step takes two keyframes of two drives
        forget=FORGET if model.temporal is not None else None,
        seed=seed + row.seed_offset,
        device="cpu",  # deterministic: other orders of summation would hide small gains
    )


def _first(config: AblateConfig) -> TrainConfig:
    """What all trainings of a table have in common."""
    if config.table != STREETS:
        return nano_town()
    return replace(bench_streets(), processes=None, start_from=_start(), start_without=())


def _start() -> Path:
    """The weights that all rows on streets start from."""
    return bench_streets().out / "model.safetensors"


def _folder(row: Row, seed: int, config: AblateConfig) -> Path:
    name = "".join(letter if letter.isalnum() else "_" for letter in row.name)
    out = config.out / STREETS if config.table == STREETS else config.out
    return out / name / f"seed_{seed}"


def _train_and_score(row: Row, seed: int, config: AblateConfig) -> None:
    """Trains a row, or continues its training, and writes its scores beside the checkpoint."""
    training = recipe(row, seed, config)
    folder = training.out
    if (folder / "config.json").exists() and stored_fingerprint(folder) != fingerprint(training):
        raise ValueError(
            f"'{folder}' holds a training of a different configuration; move it away, or choose "
            "another --out"
        )
    measured = _score(train(training, resume=True), row, config)
    text = json.dumps(measured | {"test": str(config.test)}, indent=2)
    write_atomically(_scores_path(folder, config), text + "\n")


def _score(checkpoint: Path, row: Row, config: AblateConfig) -> dict[str, Any]:
    """The scores of a checkpoint that are stored beside it."""
    if config.table != STREETS:
        return evaluate(
            EvaluateConfig(data=config.test, checkpoint=checkpoint, rendered=_rendered(config))
        )
    engine = OccupancyEngine.from_checkpoint(checkpoint)
    shape = engine.model.config
    frames = NuScenesFrames(config.test, None, None, shape.image_size, 9, shape.grid)
    return drive_metrics(engine, frames, blind=row.blind)


def _scores_beside_checkpoint(row: Row, seed: int, config: AblateConfig) -> dict[str, float] | None:
    """Scores on the same test towns of just this training, if there are any."""
    training = recipe(row, seed, config)
    path = _scores_path(training.out, config)
    if not path.exists() or stored_fingerprint(training.out) != fingerprint(training):
        return None
    measured = json.loads(path.read_text())
    if measured.pop("test") != str(config.test):
        return None
    return measured if config.table == STREETS else _metrics(measured)


def _scores_path(folder: Path, config: AblateConfig) -> Path:
    """Scores lie beside the checkpoint, because several tables may share a training."""
    return folder / f"scores_{config.test.name}{'_rendered' if _rendered(config) else ''}.json"


def _rendered(config: AblateConfig) -> bool:
    """Whether the table scores occupancy through cameras too: if any row was trained that way, but
    not on streets.
    """
    return config.table != STREETS and any(
        row.gauss_render is not None for row in TABLES[config.table]()
    )


def _metrics(measured: dict[str, Any]) -> dict[str, float]:
    """The metrics of a table, from an evaluation's scores."""
    small = [measured["per_class"][name] for name in SMALL]
    metrics = {
        "iou": measured["iou"],
        "miou": measured["miou"],
        "miou_small": math.fsum(small) / len(small),
    }
    for side, scores in measured["by_range"].items():
        if side != "100":  # which is the whole grid
            metrics[f"miou_{side}"] = scores["miou"]
    metrics["flicker"] = measured["flicker"]
    for weather, scores in measured.get("by_weather", {}).items():  # older scores have none
        metrics[f"miou_{weather}"] = scores["miou"]
    if "bev" in measured:
        metrics |= {"ray_iou": measured["ray_iou"], "depth_l1_m": measured["depth_l1_m"]}
        for view in ("bev", "image"):
            metrics |= {f"{view}_{name}": value for name, value in measured[view].items()}
    return metrics


def latency(rows: list[Row], config: AblateConfig) -> dict[str, Any]:
    """Milliseconds per keyframe of the rows' models, timed in turns so that ratios are comparable.

    The weights are untrained, so that no checkpoint is needed. The head then refines only voxels
    with LiDAR returns: a keyframe takes less time than after training, of which the parts of a row
    make up a larger fraction.
    """
    sides: dict[str, Callable[[], object]] = {}
    torch.manual_seed(0)
    for row in rows:
        model = recipe(row, config.seeds[0], config).model
        engine = OccupancyEngine(build_model(model))
        if not sides:
            frame, _ = NuScenesFrames(config.test, None, None, model.image_size, 9, model.grid)[0]
        for step in range(2):  # models with a memory have one at the second keyframe
            engine.step(replace(frame, stamp_ns=(frame.stamp_ns[0] - (2 - step) * 500_000_000,)))
        sides[row.name] = partial(_step, engine, engine.memory, frame)
    medians = medians_ms(sides, repeats=15)
    first = next(iter(medians.values()))
    ratios = {name: median / first for name, median in medians.items()}
    return {
        "machine": describe_machine(),
        "weights": "untrained",
        "ms": medians,
        "over_first": ratios,
    }


def _step(engine: OccupancyEngine, memory: TemporalMemory | None, frame: Frame) -> None:
    engine.memory = memory
    engine.step(frame)


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        table = ablate(tyro.cli(AblateConfig, prog="training.ablate", description=__doc__))
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.ablate: {err}")
    print(format_table(table))
    for name, ratio in table["latency"]["over_first"].items():
        print(f"{name:28}{table['latency']['ms'][name]:8.1f} ms{ratio:8.2f}x")


if __name__ == "__main__":
    main()
