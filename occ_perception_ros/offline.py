"""Runs a bag through the node's own matching, frame building and model, without ROS.

The result is deterministic and does not depend on the speed of the machine.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from occ_core.checkpoint import SHIPPED, CheckpointError
from occ_core.engine import AnswerError, OccupancyEngine, Precision
from occ_core.types import Frame, Occupancy
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.assembler_config import AssemblerConfig, check_sensors
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.frame_parts import FrameParts
from occ_perception_ros.frames import Engine, FrameError, FrameReport, build_frame
from occ_perception_ros.grid_info import GridInfo
from occ_perception_ros.input_table import input_table
from occ_perception_ros.observation import grid_info, seen_voxels
from occ_perception_ros.throttled_log import without_numbers
from occ_perception_ros.topics import CUSTOM, PRESETS, TopicPreset, remapped
from occ_perception_ros.truth_scores import TruthScores

LOGGER = logging.getLogger(__name__)

PoseSource = Literal["odometry", "tf"]
Preset = Literal["nuscenes", "clynamen", "watonomous", "dataset_bridge", "custom"]
Handler = Callable[[Any], list[FrameParts]]
"""Stores a decoded message and returns the frames that it completes."""


@dataclass(frozen=True, kw_only=True)
class OfflineConfig:
    """Options of ``occ_offline``."""

    bag: tyro.conf.Positional[Path]
    """A rosbag2 folder, an .mcap or a .db3 file."""
    checkpoint: Path = SHIPPED
    """Model weights, a .safetensors file with a .json file of the same name."""
    out: Path | None = None
    """New folder for the results: <stamp_ns>.npz for each frame, with stamp_ns, labels, probability
    and seen [X, Y, Z] (0 unseen, 1 a line of sight ends there, 2 one goes through), and
    grid_info."""
    json: Path | None = None
    """File for the summary."""
    truth: Path | None = None
    """nuScenes data root from which the bag was made: its occupancy labels give IoU and mIoU."""
    topics: Preset = "nuscenes"
    """Kind of bag, which determines its topics; custom: the node's own names, to be remapped."""
    remap: tuple[str, ...] = ()
    """Topics that differ, as INPUT:=TOPIC, for example points:=/velodyne_points
    cam_front/image:=/front/image_raw; the inputs are those of the node without ~/input/."""
    pose_source: PoseSource = "odometry"
    """Source of the vehicle's motion, unless the kind of bag determines it."""
    device: str = "cpu"
    """Device of the model: cpu, cuda or cuda:N."""
    precision: Precision = "auto"
    """Arithmetic of the model; auto: bfloat16 if the device supports it natively."""
    assembler: AssemblerConfig = AssemblerConfig()
    """How messages become frames; the node's parameters of the same names have the same effect."""


@dataclass(frozen=True, slots=True)
class OfflineFrame:
    """The result for one LiDAR sweep with its images."""

    occupancy: Occupancy
    report: FrameReport
    frame: Frame
    parts: FrameParts
    times_ms: dict[str, float]
    """Processing times of ``decode`` and ``model``, and their sum ``total``."""

    @property
    def stamp_ns(self) -> int:
        """Stamp of the LiDAR sweep."""
        return self.occupancy.stamp_ns[0]

    def seen(self) -> np.ndarray:
        """What the sensors saw, see ``seen_voxels``."""
        return seen_voxels(self.frame, self.parts, self.occupancy)


class OfflineRun:
    """An iterable over the results for all frames of a bag, in order.

    Args:
        bag: an open bag.
        engine: runs the model.
        image_size: ``(height, width)`` of the model's images.
        config: how messages become frames.
        topics: kind of bag.
        pose_source: source of the vehicle's motion, unless the kind of bag determines it.
        remap: topics that differ from those of the kind of bag, see ``remapped``.

    Raises:
        BagError: the bag has no point cloud or no image on the topics of its kind.
        FileNotFoundError: the calibration file does not exist.
        ValueError: the calibration file is malformed, or ``remap`` is.
    """

    def __init__(
        self,
        bag: BagReader,
        engine: Engine,
        image_size: tuple[int, int],
        config: AssemblerConfig,
        topics: Preset,
        pose_source: PoseSource,
        remap: Sequence[str] = (),
    ) -> None:
        preset = CUSTOM if topics == "custom" else PRESETS[topics]
        self.config = with_frames_of(preset, config)
        self.counts: Counter[str] = Counter()
        """Numbers of ``frames``, of ``failed`` frames and of ``malformed`` messages; after the last
        frame also the counts of assembler and synchronizer.
        """
        self._bag, self._engine, self._image_size = bag, engine, image_size
        self._warned: set[str] = set()
        self._assembler = FrameAssembler(self.config, self._warn)
        inputs = dict(preset.remappings(self.config.cameras))
        own = {name.removeprefix("~/input/"): topic for name, topic in inputs.items()}
        topic_of = remapped(own, remap)
        source = preset.parameters.get("pose_source", pose_source)
        self._handlers: dict[str, Handler] = {
            topic_of.get(each.name, each.name): each.add
            for each in input_table(self._assembler, str(source), topic_of.__getitem__)
        }
        images = [topic_of[f"{camera}/image"] for camera in self.config.cameras]
        points = [topic_of["points"]] if self.config.lidar else []
        self._assembler.synchronizer.leave_out(
            camera
            for camera, topic in zip(self.config.cameras, images, strict=True)
            if topic not in bag.topics or not bag.topics[topic].count
        )
        for kind, names in (("point cloud", points), ("image", images)):
            if names and not bag.topics.keys() & set(names):
                raise BagError(
                    f"{bag.path} has no {kind} on {', '.join(names)}; select the kind of bag with "
                    "--topics, name the topics with --remap, or see bag_check"
                )

    def __iter__(self) -> Iterator[OfflineFrame]:
        for message in self._bag.messages(self._handlers):
            try:
                collected = self._handlers[message.topic](self._bag.decode(message))
            except BagError as error:
                self.counts["malformed"] += 1
                self._warn(f"malformed {message.topic}", str(error))
                continue
            yield from self._results(collected)
        yield from self._results(self._assembler.flush())
        self.counts += self._assembler.counts + self._assembler.synchronizer.counts

    def _results(self, collected: list[FrameParts]) -> Iterator[OfflineFrame]:
        for parts in collected:
            if parts.reset_reason is not None:
                self._engine.reset(parts.reset_reason)
            started_s = time.perf_counter()
            try:
                frame, report = build_frame(parts, self.config.cameras, self._image_size)
            except FrameError as error:
                self.counts["failed"] += 1
                LOGGER.warning("the frame at %d ns is skipped: %s", parts.stamp_ns, error)
                continue
            for camera in report.masked.keys() - parts.masked.keys():
                self._warn(f"masked {camera}", f"camera '{camera}': {report.masked[camera]}")
            for key, text in report.warnings.items():
                self._warn(key, text)
            decoded_s = time.perf_counter()
            try:
                occupancy = self._engine.step(frame)
            except AnswerError as error:
                self.counts["failed"] += 1
                LOGGER.warning("the frame at %d ns is skipped: %s", parts.stamp_ns, error)
                continue
            decode_ms = (decoded_s - started_s) * 1e3
            model_ms = (time.perf_counter() - decoded_s) * 1e3
            times_ms = {"decode": decode_ms, "model": model_ms, "total": decode_ms + model_ms}
            self.counts["frames"] += 1
            yield OfflineFrame(occupancy, report, frame, parts, times_ms)

    def _warn(self, key: str, text: str) -> None:
        # Once a reason: a camera that is missing is missing in every frame. Numbers are no reason.
        reason = f"{key} {without_numbers(text)}"
        if reason not in self._warned:
            self._warned.add(reason)
            LOGGER.warning("%s", text)


def with_frames_of(preset: TopicPreset, config: AssemblerConfig) -> AssemblerConfig:
    """The configuration with the TF frames of a kind of bag, unless it names others itself."""
    default = AssemblerConfig()
    for name in ("grid_frame", "world_frame"):
        if name in preset.parameters and getattr(config, name) == getattr(default, name):
            changes: dict[str, Any] = {name: str(preset.parameters[name])}
            config = replace(config, **changes)
    return config


def write_result(folder: Path, occupancy: Occupancy, seen: np.ndarray, info: GridInfo) -> Path:
    """Writes ``<stamp_ns>.npz``, which ``DenseVoxels.from_file`` reads, and returns its path.

    The file has ``stamp_ns``, ``labels`` (uint8), ``probability`` (float32) and ``seen`` (uint8),
    all ``[X, Y, Z]``, and ``grid_info``, which is JSON.
    """
    path = folder / f"{occupancy.stamp_ns[0]}.npz"
    np.savez_compressed(
        path,
        stamp_ns=np.int64(occupancy.stamp_ns[0]),
        labels=occupancy.labels[0].numpy(),
        probability=occupancy.probability[0].to(torch.float32).numpy(),
        seen=seen,
        grid_info=np.array(info.to_json()),
    )
    return path


def run_offline(config: OfflineConfig) -> dict[str, object]:
    """Runs the bag, writes the files that ``config`` names, and returns the summary.

    Raises:
        BagError: the bag cannot be read, or lacks the inputs.
        CheckpointError: the checkpoint is not usable.
        FileExistsError: the folder for the results is not empty.
        FileNotFoundError: the calibration file or a table of ``truth`` does not exist.
        ValueError: the calibration file is malformed, the checkpoint needs sensors that are not
            there, or ``truth`` has no labels for it.
    """
    if config.out is not None:
        if config.out.exists() and any(config.out.iterdir()):
            raise FileExistsError(
                f"{config.out} is not empty; remove it or choose another folder for the results"
            )
        config.out.mkdir(parents=True, exist_ok=True)
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    model = engine.model.config
    check_sensors(config.assembler, model.camera, model.lidar)
    truth = None if config.truth is None else TruthScores(config.truth, model.grid, model.labels)
    stamps_ns: list[int] = []
    masked: Counter[str] = Counter()
    times_ms: dict[str, list[float]] = {"decode": [], "model": [], "total": []}
    with BagReader(config.bag) as bag:
        run = OfflineRun(
            bag,
            engine,
            model.image_size,
            config.assembler,
            config.topics,
            config.pose_source,
            config.remap,
        )
        for frame in tqdm(run, desc="frames", unit="", disable=None):
            if config.out is not None:
                info = grid_info(frame.occupancy, run.config.grid_frame)
                write_result(config.out, frame.occupancy, frame.seen(), info)
            if truth is not None:
                truth.update(frame.stamp_ns, frame.occupancy.labels[0])
            stamps_ns.append(frame.stamp_ns)
            masked.update(frame.report.masked.keys())
            for stage, time_ms in frame.times_ms.items():
                times_ms[stage].append(time_ms)
    result: dict[str, object] = {
        "bag": str(config.bag),
        "checkpoint": str(config.checkpoint),
        "frames": len(stamps_ns),
        "counts": dict(run.counts),
        "masked": dict(masked),
        **_timing(times_ms),
        **({} if truth is None else {"scores": truth.compute()}),
        "stamps_ns": stamps_ns,
    }
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _timing(times_ms: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Percentiles of the total time, and the median of each stage; empty without a frame."""
    total_ms = times_ms["total"]
    percentiles = (50, 99) if total_ms else ()
    return {
        "latency_ms": {f"p{q}": float(np.percentile(total_ms, q)) for q in percentiles},
        "stage_ms": {
            stage: float(np.median(values)) for stage, values in times_ms.items() if values
        },
    }


def main() -> None:
    """Runs the command ``occ_offline``."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    config = tyro.cli(OfflineConfig, prog="occ_offline", description=__doc__)
    try:
        result = run_offline(config)
    except (BagError, CheckpointError, OSError, ValueError) as error:
        sys.exit(f"occ_offline: {error}")
    print(
        json.dumps({name: value for name, value in result.items() if name != "stamps_ns"}, indent=2)
    )
    if not result["frames"]:
        sys.exit(
            f"occ_offline: {config.bag} gave no frame; `bag_check {config.bag}` shows what is "
            "missing"
        )
    scores = result.get("scores")
    if isinstance(scores, dict) and not scores["frames"]:
        sys.exit(f"occ_offline: no frame of {config.bag} has labels in {config.truth}")


if __name__ == "__main__":
    main()
