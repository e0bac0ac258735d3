"""Runs a bag through the node's own collector, frame building and model, deterministically and
without ROS.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from occ_core.checkpoint import SHIPPED, CheckpointError
from occ_core.engine import OccupancyEngine, Precision
from occ_core.types import Occupancy
from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.frames import (
    AssemblerConfig,
    Engine,
    FrameAssembler,
    FrameError,
    FrameParts,
    FrameReport,
    build_frame,
)
from occ_perception_ros.topics import PRESETS, TopicPreset

LOGGER = logging.getLogger(__name__)

PoseSource = Literal["odometry", "tf"]
Preset = Literal["nuscenes", "clynamen", "watonomous", "dataset_bridge"]
Take = Callable[[Any], list[FrameParts]]
"""Stores a decoded message; returns the frames that it completes."""


@dataclass(frozen=True, kw_only=True)
class OfflineConfig:
    """What is run, on what."""

    bag: tyro.conf.Positional[Path]
    """A rosbag2 folder, an .mcap or a .db3 file."""
    checkpoint: Path = SHIPPED
    """Model weights, a .safetensors file with its .json beside it."""
    out: Path | None = None
    """New folder for the answers, <stamp_ns>.npz each, with stamp_ns, labels [X, Y, Z] and
    probability [X, Y, Z].
    """
    json: Path | None = None
    """File for the summary."""
    topics: Preset = "nuscenes"
    """The kind of bag: where it has the node's inputs."""
    pose_source: PoseSource = "odometry"
    """Where the vehicle's motion comes from; a preset may say otherwise."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda or cuda:N."""
    precision: Precision = "auto"
    """Arithmetic of the model; auto: bfloat16 where the processor has it."""
    assembler: AssemblerConfig = AssemblerConfig()
    """How messages become frames; what the node's parameters of these names say gives the node's
    frames.
    """


@dataclass(frozen=True, slots=True)
class OfflineFrame:
    """The answer to one LiDAR sweep with its images."""

    occupancy: Occupancy
    report: FrameReport
    times_ms: dict[str, float]
    """``decode``, ``model`` and their sum ``total``."""

    @property
    def stamp_ns(self) -> int:
        return self.occupancy.stamp_ns[0]


class OfflineRun:
    """Iterate over it for the answers to all frames of a bag, in order.

    Args:
        image_size: ``(height, width)`` that the engine takes.

    Raises:
        BagError: the bag lacks the point cloud, or every image, of the preset.
        FileNotFoundError, ValueError: the calibration file.
    """

    def __init__(
        self,
        bag: BagReader,
        engine: Engine,
        image_size: tuple[int, int],
        config: AssemblerConfig,
        topics: Preset,
        pose_source: PoseSource,
    ) -> None:
        preset = PRESETS[topics]
        self.config = with_frames_of(preset, config)
        self.counts: Counter[str] = Counter()
        """``frames`` and ``failed`` (could not be built); once the bag is over, the collector's
        counts beside.
        """
        self._bag, self._engine, self._image_size = bag, engine, image_size
        self._told: set[str] = set()
        self._assembler = FrameAssembler(self.config, self._warn)
        inputs = dict(preset.remappings())
        source = preset.parameters.get("pose_source", pose_source)
        self._takes = self._routes(
            {name.removeprefix("~/input/"): topic for name, topic in inputs.items()}, str(source)
        )
        images = [topic for name, topic in inputs.items() if name.endswith("/image")]
        for what, wanted in (("point cloud", [preset.points]), ("image", images)):
            if not bag.topics.keys() & set(wanted):
                raise BagError(
                    f"{bag.path} has no {what} on {', '.join(wanted)}; choose its kind with "
                    "--topics, see bag_check"
                )

    def __iter__(self) -> Iterator[OfflineFrame]:
        for message in self._bag.messages(self._takes):
            try:
                collected = self._takes[message.topic](self._bag.decode(message))
            except BagError as error:
                self.counts["malformed"] += 1
                self._warn(f"malformed {message.topic}", str(error))
                continue
            yield from self._answers(collected)
        yield from self._answers(self._assembler.flush())
        self.counts += self._assembler.counts + self._assembler.synchronizer.counts

    def _answers(self, collected: list[FrameParts]) -> Iterator[OfflineFrame]:
        for parts in collected:
            if parts.reset_reason is not None:
                self._engine.reset(parts.reset_reason)
            started_s = time.perf_counter()
            try:
                frame, report = build_frame(parts, self.config.cameras, self._image_size)
            except FrameError as error:
                self.counts["failed"] += 1
                LOGGER.warning("the frame at %d ns is left out: %s", parts.stamp_ns, error)
                continue
            decoded_s = time.perf_counter()
            occupancy = self._engine.step(frame)
            decode_ms, model_ms = (
                (decoded_s - started_s) * 1e3,
                (time.perf_counter() - decoded_s) * 1e3,
            )
            self.counts["frames"] += 1
            yield OfflineFrame(
                occupancy,
                report,
                {"decode": decode_ms, "model": model_ms, "total": decode_ms + model_ms},
            )

    def _routes(self, topic_of: dict[str, str], pose_source: str) -> dict[str, Take]:
        """What is done with the messages of each topic; the same inputs as the node subscribes to."""
        add = self._assembler
        takes: dict[str, Take] = {topic_of["points"]: add.add_points}
        for camera in self.config.cameras:
            takes[topic_of[f"{camera}/image"]] = partial(add.add_image, camera)
            takes[topic_of[f"{camera}/camera_info"]] = partial(add.add_camera_info, camera)
        for name in ("weather", "region"):
            takes[topic_of[name]] = partial(add.add_context, name)
        if pose_source == "odometry":
            takes[topic_of["odometry"]] = add.add_odometry
        else:
            takes["/tf"] = partial(add.add_transforms, static=False)
        if pose_source == "tf" or not self.config.calibration_file:
            takes["/tf_static"] = partial(add.add_transforms, static=True)
        return takes

    def _warn(self, key: str, text: str) -> None:
        if key not in self._told:  # once each: a camera that is missing is missing in every frame
            self._told.add(key)
            LOGGER.warning("%s", text)


def with_frames_of(preset: TopicPreset, config: AssemblerConfig) -> AssemblerConfig:
    """The configuration with the frame names of a kind of bag, where it does not ask for others
    itself.
    """
    default = AssemblerConfig()
    for name in ("grid_frame", "world_frame"):
        if name in preset.parameters and getattr(config, name) == getattr(default, name):
            config = replace(config, **{name: str(preset.parameters[name])})  # type: ignore[arg-type]
    return config


def write_answer(folder: Path, occupancy: Occupancy) -> Path:
    """One ``<stamp_ns>.npz`` with ``stamp_ns``, ``labels`` uint8 and ``probability`` float32 ``[X,
    Y, Z]``; its path.
    """
    path = folder / f"{occupancy.stamp_ns[0]}.npz"
    np.savez_compressed(
        path,
        stamp_ns=np.int64(occupancy.stamp_ns[0]),
        labels=occupancy.labels[0].numpy(),
        probability=occupancy.probability[0].to(torch.float32).numpy(),
    )
    return path


def run_offline(config: OfflineConfig) -> dict[str, object]:
    """Runs the bag, writes what was asked for, and gives the summary.

    Raises:
        BagError, CheckpointError, FileExistsError, FileNotFoundError, ValueError: see the texts.
    """
    if config.out is not None:
        if config.out.exists() and any(config.out.iterdir()):
            raise FileExistsError(
                f"{config.out} is not empty; remove it or name another folder for the answers"
            )
        config.out.mkdir(parents=True, exist_ok=True)
    engine = OccupancyEngine.from_checkpoint(config.checkpoint, config.device, config.precision)
    stamps_ns: list[int] = []
    masked: Counter[str] = Counter()
    times_ms: dict[str, list[float]] = {"decode": [], "model": [], "total": []}
    with BagReader(config.bag) as bag:
        run = OfflineRun(
            bag,
            engine,
            engine.model.config.image_size,
            config.assembler,
            config.topics,
            config.pose_source,
        )
        for frame in tqdm(run, desc="frames", unit="", disable=None):
            if config.out is not None:
                write_answer(config.out, frame.occupancy)
            stamps_ns.append(frame.stamp_ns)
            masked.update(frame.report.masked.keys())
            for stage, taken_ms in frame.times_ms.items():
                times_ms[stage].append(taken_ms)
    result: dict[str, object] = {
        "bag": str(config.bag),
        "checkpoint": str(config.checkpoint),
        "frames": len(stamps_ns),
        "counts": dict(run.counts),
        "masked": dict(masked),
        "latency_ms": {f"p{q}": float(np.percentile(times_ms["total"], q)) for q in (50, 99)}
        if stamps_ns
        else {},
        "stage_ms": {
            stage: float(np.median(values)) for stage, values in times_ms.items() if values
        },
        "stamps_ns": stamps_ns,
    }
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


def main() -> None:
    """Console entry point ``occ_offline``."""
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
            f"occ_offline: no frame came out of {config.bag}; `bag_check {config.bag}` tells what "
            "it lacks"
        )


if __name__ == "__main__":
    main()
