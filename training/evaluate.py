"""Scores a checkpoint: ``python -m training.evaluate --checkpoint C --data D --benchmark B``.

Benchmarks:
    surroundocc: labelled keyframes: IoU and mIoU over the data set, the IoU of the voxelised LiDAR
        points for comparison, RayIoU, flicker, and scores through cameras.
    occ3d, openoccupancy, semantic_kitti, kitti360: each by its own protocol, which
        --protocol-notes prints.
    real: drives without voxel labels: LiDAR points against their classes (a SemanticKITTI folder,
        nuScenes-lidarseg) and against boxes (a folder in nuScenes layout).
    keyframe: keyframes without labels, such as real ones, against their LiDAR points and boxes.
    preprocessing: sky masks and the LiDAR filter, without a model, against the truth of generated
        towns.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import tyro
from torch import Tensor
from tqdm import tqdm

from occ_core.checkpoint import SHIPPED
from occ_core.datasets.benchmark_data import (
    SWEEP_PERIOD_S,
    BenchmarkName,
    check_images,
    chosen_scenes,
    open_benchmark,
)
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.datasets.samples import Damaged, IntactItems, SampleStream
from occ_core.engine import OccupancyEngine, Precision
from occ_core.files import check_target, write_atomically
from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.labels.sets import NUSCENES
from occ_core.metrics.protocols import PROTOCOLS, ScoringProtocol
from occ_core.types import Frame
from training.engines.tasks import Engine
from training.figures.keyframe import write_frame_picture
from training.results.stored import to_json
from training.score_preprocessing import score_preprocessing
from training.score_real import score_keyframes, score_labelled_scans, score_unlabelled_keyframes
from training.scoring.benchmark_scores import (
    Predict,
    predict_by_files,
    predict_by_model,
    score_benchmark,
)
from training.scoring.frame_scores import FrameScores
from training.scoring.predict_drives import DrivePredictions, forget_predictions, predict_drives


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which checkpoint is scored, and on which data."""

    data: Path | None = None
    """nuScenes data root, or a folder that holds SemanticKITTI's ``sequences/`` or KITTI-360's
    ``data_2d_raw/``.
    """
    checkpoint: Path = SHIPPED
    benchmark: BenchmarkName | Literal["real", "keyframe", "preprocessing"] = "surroundocc"
    predictions: Path | None = None
    """Folder of prediction files to score instead of a checkpoint."""
    write_predictions: Path | None = None
    """Folder for the predictions as files, in the benchmark's own layout."""
    engine: Engine | None = None
    """Where drives are predicted, each a task that writes into ``write_predictions``: ``local``, in
    processes of this machine, or ``ray``, on a cluster whose machines all see these folders. A
    stopped run continues. By default this process predicts keyframe after keyframe.
    """
    workers: int = 2
    """Number of processes of the engine ``local``."""
    damaged: Damaged = "stop"
    """What a sample with a damaged file does: stop the run, or be left out and counted."""
    protocol_notes: bool = False
    """Print what the benchmark counts, and score nothing."""
    version: str | None = None
    """Folder of tables; None takes the only v1.0-* folder."""
    split: str | None = None
    """Official split, such as ``val``; None takes every scene of the folder."""
    scenes: tuple[str, ...] = ()
    """Names of the nuScenes scenes or KITTI sequences that are scored; by default all."""
    json: Path | None = None
    """File to which the scores are written."""
    pictures: Path | None = None
    """Folder for one picture per keyframe."""
    rendered: bool = True
    """Whether occupancy is also scored through cameras, which takes most of the time."""
    sweeps: int = 9
    """How many LiDAR sweeps of nuScenes before the keyframe are joined to it; of another LiDAR, the
    scans of the same time.
    """
    device: str = "cpu"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.sweeps < 0:
            raise ValueError(f"--sweeps must be 0 or more, got {self.sweeps}")
        if self.predictions is not None and self.write_predictions is not None:
            raise ValueError(
                "--predictions reads files and --write-predictions writes them: give one"
            )
        if self.pictures is not None and (self.predictions or self.engine):
            raise ValueError(
                "--pictures needs the sensors, which --predictions and --engine leave unread when "
                "they score"
            )
        if self.engine is None:
            return
        if self.engine == "ray" and self.device != "cpu":
            raise ValueError(f"--engine ray predicts on CPUs, got --device {self.device}")
        if self.write_predictions is None:
            raise ValueError(
                f"--engine {self.engine} predicts drives into files: give their folder by "
                "--write-predictions"
            )
        if self.damaged == "skip":
            raise ValueError(
                f"--engine {self.engine} scores files, of which a skipped sample has none; leave "
                "out --damaged skip"
            )


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """The scores of a benchmark, as the command writes them to JSON.

    Raises:
        FileNotFoundError: a table, a LiDAR file or the labels are missing.
        ValueError: the checkpoint, the split, a table or a file is malformed or unknown, the
            checkpoint predicts other classes than the benchmark scores, nothing can be written at a
            given path, or there is nothing to score.
    """
    if config.json is not None:
        check_target(config.json, "file")
    for folder in (config.write_predictions, config.pictures):
        if folder is not None:
            check_target(folder, "folder")
    data = config.data
    if data is None:
        raise ValueError("nothing to score: give the folder of the data by --data")
    if config.benchmark in PROTOCOLS and (
        config.benchmark != "surroundocc" or config.predictions or config.write_predictions
    ):
        return _evaluate_benchmark(config, data, PROTOCOLS[config.benchmark])
    if config.predictions is not None or config.write_predictions is not None:
        raise ValueError(
            f"--benchmark {config.benchmark} has no prediction files; they belong to "
            f"{', '.join(PROTOCOLS)}"
        )
    scenes = chosen_scenes(data, config.version, config.split, config.scenes or None)
    if config.benchmark == "preprocessing":
        keyframes = NuScenes(data, config.version).keyframes(scenes, 0)
        return score_preprocessing(data, keyframes, config.pictures, config.damaged)
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    model = engine.model.config
    if not model.labels.same_ids(NUSCENES) or model.grid_frame != "lidar":
        raise ValueError(
            f"--benchmark {config.benchmark} scores the classes of nuScenes in the LiDAR's frame, "
            f"but '{config.checkpoint}' predicts those of '{model.labels.name}' in the frame "
            f"'{model.grid_frame}'"
        )
    if config.benchmark == "real" and (data / "sequences").is_dir():
        return _evaluate_scans(engine, config, data)
    frames = NuScenesFrames(
        data, config.version, scenes, model.image_size, config.sweeps, model.grid
    )
    if model.camera:
        check_images(frames)
    if config.benchmark == "real":
        return score_keyframes(engine, frames, config.pictures, config.damaged)
    if config.benchmark == "keyframe":
        return score_unlabelled_keyframes(engine, frames, config.pictures, config.damaged)
    return score_frames(
        engine,
        frames,
        range(len(frames)),
        config.pictures,
        rendered=config.rendered,
        damaged=config.damaged,
    )


def _evaluate_scans(engine: OccupancyEngine, config: EvaluateConfig, data: Path) -> dict[str, Any]:
    """The scores of SemanticKITTI's labelled scans."""
    if config.scenes:
        raise ValueError("--benchmark real scores every sequence; leave out --scenes")
    history_s = config.sweeps * SWEEP_PERIOD_S
    return score_labelled_scans(
        engine, data, config.pictures, damaged=config.damaged, history_s=history_s
    )


def _evaluate_benchmark(
    config: EvaluateConfig, data: Path, protocol: ScoringProtocol
) -> dict[str, Any]:
    """The scores by a benchmark's own protocol, of prediction files or of the checkpoint."""
    benchmark, image_size, sees = protocol.benchmark, None, False
    predict: Predict
    files = config.predictions
    if config.engine is not None:
        files = _predict_drives(config, data, benchmark)
    if files is not None:
        predict = predict_by_files(PredictionFiles(files, benchmark))
    else:
        engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
        predict, image_size = predict_by_model(engine, protocol), engine.model.config.image_size
        sees = engine.model.config.camera
    name = cast(BenchmarkName, benchmark.name)
    samples = open_benchmark(
        name,
        data,
        image_size,
        config.split,
        config.version,
        config.sweeps,
        config.scenes or None,
        may_be_hidden=config.write_predictions is not None,
    )
    if sees:
        check_images(samples)
    written = None
    if config.write_predictions is not None and config.engine is None:
        written = PredictionFiles(config.write_predictions, benchmark)
        forget_predictions(config.write_predictions)
    stream = SampleStream(samples, config.damaged)
    scores = score_benchmark(protocol, stream, predict, written, config.pictures)
    if "official" not in scores:
        if config.write_predictions is None:
            raise ValueError(_nothing_counts(data, scores["frames"]))
        warnings.warn("predictions without scores: no label has an occupied voxel", stacklevel=2)
    return scores


def _predict_drives(config: EvaluateConfig, data: Path, benchmark: OccupancyBenchmark) -> Path:
    """The folder of the predictions, once all drives are done."""
    assert config.engine is not None and config.write_predictions is not None
    predictions = DrivePredictions(
        benchmark=cast(BenchmarkName, benchmark.name),
        data=data.resolve(),
        checkpoint=config.checkpoint.resolve(),
        split=config.split,
        version=config.version,
        sweeps=config.sweeps,
        device=config.device,
        precision=config.precision,
    )
    out = config.write_predictions
    predict_drives(predictions, out, config.scenes, config.workers, config.engine)
    return out


def score_frames(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    indices: Sequence[int],
    pictures: Path | None = None,
    *,
    rendered: bool = False,
    damaged: Damaged = "stop",
) -> dict[str, Any]:
    """Scores by SurroundOcc's protocol over the labelled keyframes at ``indices``.

    Args:
        pictures: folder for one picture per keyframe.
        rendered: whether to score through cameras too.
        damaged: see ``IntactItems``.

    Returns:
        ``frames`` and ``skipped``, the numbers of keyframes; ``iou``, ``miou`` and ``per_class``
        over all voxels; ``lidar_iou``, the IoU of the voxels that contain a LiDAR point (all sweeps
        joined), and ``iou_over_lidar``, the ratio to it; ``flicker`` and ``ray_iou``, see
        ``occ_core.metrics``; ``by_range``, in boxes of 25, 50 and 100 m (TACOcc, Table VI);
        ``by_weather`` (VLMFusionOcc3D, Table VI). With ``rendered``, ``bev`` from above, and
        ``image`` and ``depth_l1_m`` through the vehicle's cameras at the model's image size.
        ``visible`` has the same scores over the voxels that a camera's ray reached, where the data
        have masks. ``official`` has SurroundOcc's own counting, where the grid is SurroundOcc's.

    Raises:
        FileNotFoundError: a keyframe has no labels.
    """
    scores = FrameScores(frames, rendered)
    previous: int | None = None
    intact = IntactItems(partial(_labelled_keyframe, frames), indices, damaged)
    for index, (frame, truth, visible) in tqdm(intact, desc="evaluate", unit="frame", leave=False):
        if not _is_next(frames, index, previous):
            engine.reset("another drive begins")
            scores.flicker.start_drive()
        previous = index
        prediction = engine.step(frame).labels[0]
        scores.update(index, frame, prediction, truth, visible)
        if pictures is not None:
            write_frame_picture(
                pictures, index, frame, prediction.numpy(), truth.numpy(), frames.grid
            )
    if not scores.all.voxels.confusion[NUSCENES.occupied].any():
        raise ValueError(_nothing_counts(frames.root, scores.count))
    scores.rays.print_throughput()
    return scores.compute() | {"skipped": len(intact.skipped)}


def _nothing_counts(root: Path, samples: int) -> str:
    return (
        f"nothing to score: in the labels of {samples} samples of {root} no occupied voxel counts. "
        "They are hidden (a test split: --write-predictions alone), all empty, or outside their "
        "mask_camera; extract them again, and see `python -m training.check_data`"
    )


def _labelled_keyframe(frames: NuScenesFrames, index: int) -> tuple[Frame, Tensor, Tensor | None]:
    """Sensors and labels of a keyframe, and the voxels that a camera sees."""
    labels = frames.labels(index)  # before the sensors, which take longer
    if labels is None:
        raise FileNotFoundError(
            f"{frames.keyframes[index].lidar.path} has no occupancy labels: "
            f"{frames.label_path(index)} is missing; extract them, or use --benchmark keyframe"
        )
    return frames.frame(index), labels, frames.visible(index)


def _is_next(frames: NuScenesFrames, index: int, previous: int | None) -> bool:
    """Whether a keyframe follows the previous one in the same drive."""
    if previous is None or index != previous + 1:
        return False
    return frames.keyframes[previous].scene_name == frames.keyframes[index].scene_name


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(EvaluateConfig, prog="training.evaluate")
    except ValueError as err:
        sys.exit(f"training.evaluate: {err}")
    if config.protocol_notes:
        if config.benchmark not in PROTOCOLS:
            sys.exit(f"training.evaluate: --protocol-notes knows {', '.join(PROTOCOLS)}")
        print("\n".join((config.benchmark, *PROTOCOLS[config.benchmark].notes)))
        return
    try:
        text = to_json(evaluate(config))
        if config.json is not None:
            write_atomically(config.json, text)
    except (OSError, RuntimeError, ValueError) as err:
        sys.exit(f"training.evaluate: {err}")
    print(text, end="")


if __name__ == "__main__":
    main()
