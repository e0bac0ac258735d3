"""What the robot's programs cost: a frame by stage, a conversion, and the memory of imports."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from occ_core.checkpoint import SHIPPED
from occ_core.datasets.nuscenes import NuScenes
from occ_core.engine import OccupancyEngine
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.frames import build_frame
from occ_perception_ros.input_table import input_table
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.topics import PRESETS
from occ_perception_ros.warm_up import rehearsed_outputs, warm_up
from training.benchmarks.long_scene import write_long_scene

SCENE_S = 20
CONVERSIONS = 5
STAGES = ("match", "decode", "model", "publish")
JPEG_QUALITY = 70
"""At this quality the town's images, which have more fine detail than real ones, take as long to
check and decode as nuScenes' own files."""
PROGRAMS = {
    "can_context": "can.node",
    "bag_play": "bags.play",
    "bag_check": "bags.check",
    "nuscenes_to_bag": "bags.nuscenes_to_bag",
    "occupancy_node": "node",
}
"""Modules of the programs in ``occ_perception_ros``."""


def frame_stages(town: Path, bag: Path) -> dict[str, Any]:
    """Processor time in milliseconds of each stage of a frame, and what is not the model's share.

    A drive goes through what the node runs, with the shipped weights and a subscriber on every
    output, its images coded anew with ``JPEG_QUALITY``. ``occupied`` is the median number of
    occupied voxels, ``image_kb`` the mean size of an image, ``first_ms`` the first frame after the
    warm-up, ``total_ms`` the later ones' median.

    Args:
        town: nuScenes data root; its first scene is driven.
        bag: folder for the scene's bag.
    """
    nuscenes = NuScenes(town)
    convert_scene(nuscenes, nuscenes.scenes[0]["name"], bag)
    config = NodeConfig(calibration_file=str(bag / "calibration.yaml"))
    engine = OccupancyEngine.from_checkpoint(SHIPPED, "cpu")
    size = engine.model.config.image_size
    warm_up(engine, size, config)
    assembler, publish = FrameAssembler(config), rehearsed_outputs(config)
    add = _handlers(assembler, config)
    with BagReader(bag) as reader:
        messages = [(raw.topic, reader.decode(raw)) for raw in reader.messages(add)]
    images = [message for topic, message in messages if topic.endswith("_compressed")]
    for image in images:
        image.data = _coded_anew(image.data)
    occupied: list[int] = []
    frames_s: list[list[float]] = []
    waited_s = 0.0
    for topic, message in messages:
        started_s = time.process_time()
        complete = add[topic](message)
        waited_s += time.process_time() - started_s
        for parts in complete:
            ends_s = [time.process_time()]
            frame, _ = build_frame(parts, config.cameras, size)
            ends_s.append(time.process_time())
            occupancy = engine.step(frame)
            ends_s.append(time.process_time())
            publish(frame, parts, occupancy)
            ends_s.append(time.process_time())
            frames_s.append([waited_s, *np.diff(ends_s).tolist()])
            waited_s = 0.0
            occupied.append(int((occupancy.labels != occupancy.label_set.empty).sum()))
    first_ms, *later_ms = np.array(frames_s) * 1e3
    stages = dict(zip(STAGES, np.median(later_ms, axis=0).tolist(), strict=True))
    return {
        "frames": len(frames_s),
        "occupied": statistics.median(occupied),
        "image_kb": statistics.mean(len(image.data) for image in images) / 1000,
        "cpu_ms": stages,
        "overhead": (sum(stages.values()) - stages["model"]) / stages["model"],
        "first_ms": float(first_ms.sum()),
        "total_ms": float(np.median(np.sum(later_ms, axis=1))),
    }


def _coded_anew(jpeg: np.ndarray) -> np.ndarray:
    """A JPEG file's bytes, uint8 ``[N]``, coded anew."""
    pixels = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert pixels is not None
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return np.asarray(coded)


def conversion(folder: Path) -> dict[str, float]:
    """What ``nuscenes_to_bag`` needs for scenes of 20 and 10 seconds, medians of some runs."""
    result: dict[str, float] = {}
    for seconds in (SCENE_S, SCENE_S // 2):
        root = folder / f"scene_{seconds}"
        root.mkdir()
        write_long_scene(root, seconds)
        program = "from occ_perception_ros.bags.nuscenes_to_bag import main; main()"
        runs = []
        for _ in range(CONVERSIONS):
            runs.append(_run(program, str(root), str(root / "bag")))
            shutil.rmtree(root / "bag")
        cpu_s, wall_s, memory_mb = np.median(runs, axis=0).tolist()
        result |= {
            f"cpu_s_of_{seconds}_s": cpu_s,
            f"wall_s_of_{seconds}_s": wall_s,
            f"memory_mb_of_{seconds}_s": memory_mb,
        }
    return result


def import_memory_mb() -> dict[str, float]:
    """Largest memory of a process that has imported what each program imports."""
    return {
        program: _run(f"import occ_perception_ros.{module}")[2]
        for program, module in PROGRAMS.items()
    }


def _run(program: str, *arguments: str) -> tuple[float, float, float]:
    """Processor time and wall time in seconds, and largest memory in MiB, of a Python program."""
    # The kernel's count of a child begins with the memory of its parent, that of /proc does not.
    program += "\nprint(open('/proc/self/status').read())"
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"this program ended with {process.returncode}: {program}")
    wall_s = time.perf_counter() - started_s
    peak_kb = int(output.rpartition("VmHWM:")[2].split()[0])
    return usage.ru_utime + usage.ru_stime, wall_s, peak_kb / 1024


def _handlers(assembler: FrameAssembler, config: NodeConfig) -> dict[str, Callable[[Any], Any]]:
    """What takes the messages of each topic."""
    names = dict(PRESETS["nuscenes"].remappings(config.cameras))
    topic_of = {name.removeprefix("~/input/"): topic for name, topic in names.items()}
    inputs = input_table(assembler, config.pose_source, topic_of.__getitem__)
    return {topic_of.get(each.name, each.name): each.add for each in inputs}
