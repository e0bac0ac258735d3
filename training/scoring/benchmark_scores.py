"""Scores by a benchmark's own protocol, of a model or of prediction files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from occ_core.config import OccupancyConfig
from occ_core.datasets.benchmark_data import KeyframeOccupancy
from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.datasets.samples import OccupancySample, SampleStream
from occ_core.engine import OccupancyEngine
from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.metrics import OccupancyScore, visible_only
from occ_core.metrics.class_ids import checked_ids
from occ_core.metrics.confusion import scores_as_one
from occ_core.metrics.protocols import ScoringProtocol, official_scores
from occ_core.taxonomy import IGNORE
from training.figures.keyframe import write_frame_picture
from training.scoring.labelled_drives import DriveRays
from training.scoring.upsampled_logits import LastLogits, upsampled_ids

Predict = Callable[[OccupancySample], np.ndarray]
"""The class ids that are predicted for a sample, ``[X, Y, Z]`` on the benchmark's grid."""


def score_benchmark(
    protocol: ScoringProtocol,
    stream: SampleStream,
    predict: Predict,
    written: PredictionFiles | None = None,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Predicts every sample, in order, and scores all of them together.

    Args:
        protocol: what is counted.
        stream: the labelled samples.
        predict: called once for every sample.
        written: where the predictions are stored as files; None stores none.
        pictures: folder for one picture per sample that has sensors.

    Returns:
        ``iou``, ``miou`` and ``per_class`` as fractions by the rules of the label set,
        ``precision`` and ``recall`` of occupied voxels, ``official`` with the same as the
        benchmark's own code prints them, ``frames`` and ``skipped``; and ``ray_iou`` with
        ``ray_iou_by_threshold`` where the benchmark reports it. Where no occupied voxel counts, as
        with hidden labels, there are no scores but ``frames`` and ``skipped``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is malformed, or a prediction does not fit the benchmark.
    """
    labels = protocol.benchmark.labels
    voxels, rays = OccupancyScore(labels), _Rays(protocol, stream)
    count = 0
    for sample in tqdm(stream, desc="evaluate", unit="frame", leave=False, total=len(stream)):
        prediction = predict(sample)
        try:
            _count(protocol, sample, prediction, voxels, rays)
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error
        if written is not None:
            written.write(sample.name, prediction)
        if pictures is not None and sample.frame is not None:
            _write_picture(pictures, count, sample, prediction, protocol.benchmark)
        count += 1
    numbers = {"frames": count, "skipped": len(stream.skipped)}
    if not voxels.confusion[labels.occupied].any():
        return {"benchmark": protocol.benchmark.name, **numbers}
    geometry = scores_as_one(voxels.confusion.numpy(), labels.occupied)
    return {
        "benchmark": protocol.benchmark.name,
        **voxels.compute(),
        "precision": geometry["precision"],
        "recall": geometry["recall"],
        **rays.compute(),
        "official": official_scores(voxels.confusion, protocol),
        **numbers,
    }


def _count(
    protocol: ScoringProtocol,
    sample: OccupancySample,
    prediction: np.ndarray,
    voxels: OccupancyScore,
    rays: _Rays,
) -> None:
    if (sample.labels == IGNORE).all():  # hidden, as those of a test split are
        return
    truth = torch.from_numpy(sample.labels)
    rays.update(sample.name, prediction, truth)
    if protocol.camera_mask:
        truth = visible_only(truth, _camera_mask(sample))
    voxels.update(prediction, truth)


def _write_picture(
    folder: Path,
    index: int,
    sample: OccupancySample,
    prediction: np.ndarray,
    benchmark: OccupancyBenchmark,
) -> None:
    assert sample.frame is not None
    write_frame_picture(
        folder,
        index,
        sample.frame,
        prediction,
        sample.labels,
        benchmark.grid,
        benchmark.labels,
        benchmark.grid_frame,
    )


def predict_by_files(stored: PredictionFiles) -> Predict:
    """The predictions in a folder.

    Raises:
        ValueError: when a sample is predicted: the ids of its file are those of another label set.
    """

    def predict(sample: OccupancySample) -> np.ndarray:
        ids = stored.read(sample.name)
        try:
            checked_ids(ids, ids, stored.benchmark.labels)
        except ValueError as error:
            raise ValueError(f"{stored.path(sample.name)}: {error}") from error
        return ids

    return predict


def predict_by_model(engine: OccupancyEngine, protocol: ScoringProtocol) -> Predict:
    """The predictions of a model, drive by drive; a coarser grid is brought to the benchmark's, by
    the protocol's rule.

    Raises:
        ValueError: the model predicts other classes, another range, or in another frame.
    """
    labels = protocol.benchmark.labels
    ratio = fitting_ratio(engine.model.config, protocol.benchmark)
    logits = LastLogits(engine.model) if protocol.upsamples_logits and ratio > 1 else None
    drive: str | None = None

    def predict(sample: OccupancySample) -> np.ndarray:
        nonlocal drive
        if sample.frame is None:
            raise ValueError(f"{sample.name} was read without its sensors; give an image size")
        if sample.drive != drive:
            engine.reset("another drive begins")
            drive = sample.drive
        ids = engine.step(sample.frame).labels[0].numpy()
        if logits is not None:
            return upsampled_ids(logits.dense(), ratio, labels.empty).cpu().numpy()
        for axis in range(3):
            ids = ids.repeat(ratio, axis=axis)
        return ids

    return predict


def fitting_ratio(config: OccupancyConfig, benchmark: OccupancyBenchmark) -> int:
    """Voxels of the benchmark per voxel of a model's grid, along each axis.

    Raises:
        ValueError: the model predicts other classes, another range, or in another frame.
    """
    name, labels = benchmark.name, config.labels
    if not labels.same_ids(benchmark.labels):
        raise ValueError(
            f"the model predicts the classes of '{labels.name}' ({len(labels.names)}, empty "
            f"{labels.empty}), but {name} scores those of '{benchmark.labels.name}' "
            f"({len(benchmark.labels.names)}, empty {benchmark.labels.empty}); train a model with "
            f"--model.labels {name}"
        )
    if config.grid_frame != benchmark.grid_frame:
        raise ValueError(
            f"the model's grid is fixed in the frame '{config.grid_frame}', that of {name} in "
            f"'{benchmark.grid_frame}'"
        )
    return benchmark.coarsening(config.grid)


class _Rays:
    """RayIoU where the protocol reports it and the data know where the LiDAR has been."""

    def __init__(self, protocol: ScoringProtocol, stream: SampleStream) -> None:
        self.rays: DriveRays | None = None
        if protocol.ray_iou and isinstance(stream.data, KeyframeOccupancy):
            frames = stream.data.frames
            self.rays = DriveRays(frames, protocol.benchmark.labels)
            self.index = {frames.name(index): index for index in range(len(frames))}

    def update(self, name: str, prediction: np.ndarray, truth: torch.Tensor) -> None:
        if self.rays is not None:
            self.rays.update(self.index[name], prediction, truth)

    def compute(self) -> dict[str, Any]:
        if self.rays is None:
            return {}
        self.rays.print_throughput()
        scores = self.rays.score.compute()
        return {
            "ray_iou": scores["ray_iou"],
            "ray_iou_by_threshold": scores["by_threshold"],
            "ray_iou_per_class": scores["per_class"],
        }


def _camera_mask(sample: OccupancySample) -> torch.Tensor:
    if "mask_camera" not in sample.masks:
        raise ValueError(
            f"{sample.name} has no mask_camera, without which the benchmark's scores are others; "
            f"its masks are {sorted(sample.masks)}"
        )
    return torch.from_numpy(sample.masks["mask_camera"])
