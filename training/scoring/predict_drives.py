"""A checkpoint's predictions for a benchmark as files, one drive a task."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from occ_core.datasets.benchmark_data import (
    BenchmarkName,
    check_images,
    drive_names,
    open_benchmark,
)
from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.datasets.samples import SampleStream
from occ_core.engine import OccupancyEngine, Precision
from occ_core.metrics.protocols import PROTOCOLS
from training.engines.resumable import Counts, finish_drives
from training.engines.tasks import Engine
from training.scoring.benchmark_scores import predict_by_model


@dataclass(frozen=True, kw_only=True)
class DrivePredictions:
    """What is predicted; everything that the predictions depend on."""

    benchmark: BenchmarkName
    data: Path
    checkpoint: Path
    split: str | None = None
    version: str | None = None
    sweeps: int = 9
    device: str = "cpu"
    precision: Precision = "auto"

    @property
    def kind(self) -> str:
        """Names these predictions: with another checkpoint or setting all are made again."""
        digest = hashlib.sha256(self.checkpoint.read_bytes())
        digest.update(self.checkpoint.with_suffix(".json").read_bytes())
        settings = (self.data.resolve(), self.version, self.sweeps, self.device, self.precision)
        digest.update(" ".join(map(str, settings)).encode())
        return f"{self.benchmark}-{digest.hexdigest()[:12]}"


def predict_drives(
    predictions: DrivePredictions, out: Path, drives: Sequence[str], workers: int, engine: Engine
) -> Counts:
    """Predicts the drives that are not complete yet under ``out``.

    Args:
        drives: names of scenes or sequences; none takes all of the split.

    Returns:
        What ``finish_drives`` counts.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is malformed, a drive is not one of the split, or the checkpoint does not
            fit the benchmark.
        RuntimeError: workers die again and again.
    """
    benchmark, data = predictions.benchmark, predictions.data
    known = drive_names(benchmark, data, predictions.split, predictions.version)
    unknown = sorted(set(drives) - set(known))
    if unknown:
        raise ValueError(
            f"{unknown} are not among the {len(known)} drives of {data}, such as {known[:3]}"
        )
    forget_predictions(out, keep=predictions.kind)
    return finish_drives(
        out,
        predictions.kind,
        {drive: drive for drive in drives or known},
        partial(_predict_drive, predictions=predictions),
        workers,
        engine,
        preload="training.scoring.predict_drives",
    )


def forget_predictions(out: Path, keep: str | None = None) -> None:
    """Drives of other predictions no longer count as complete in a folder, since their files are
    about to be replaced.
    """
    for kind in (out / ".parts").glob("*-*"):
        if kind.name != keep:
            shutil.rmtree(kind)


def _predict_drive(out: Path, drive: str, *, predictions: DrivePredictions) -> Counts:
    protocol = PROTOCOLS[predictions.benchmark]
    engine = OccupancyEngine.from_checkpoint(
        predictions.checkpoint, predictions.device, predictions.precision
    )
    predict = predict_by_model(engine, protocol)
    samples = open_benchmark(
        predictions.benchmark,
        predictions.data,
        engine.model.config.image_size,
        predictions.split,
        predictions.version,
        predictions.sweeps,
        [drive],
        may_be_hidden=True,
    )
    if engine.model.config.camera:
        check_images(samples)
    files, count = PredictionFiles(out, protocol.benchmark), 0
    for sample in tqdm(SampleStream(samples), desc=drive, unit="frame", leave=False):
        files.write(sample.name, predict(sample))
        count += 1
    return {"keyframes": count}
