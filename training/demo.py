"""The whole line in one command: ``python -m training.demo``.

Builds a town drive that no training saw, from a clear day into rain at night, and its bag, starts
the node and the player as processes of their own, records what the node answers, scores it,
compares it with ``occ_offline`` and paints it. Results: ``OUT/summary.json`` and pictures.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from occ_core.checkpoint import SHIPPED, CheckpointError, load_checkpoint
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.surroundocc import label_path, read_labels
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import VoxelGrid
from training.demo_parts.processes import ChildError, Children
from training.demo_parts.summary import Answer, read_recording, summarise
from training.figures.keyframe import animation, keyframe_picture, write_picture
from training.figures.sensor_weights import Moment, draw_weights

NODE = "/occupancy_node"
WEATHERS = ("clear", "rain at night")
"""The drive goes from one into the other."""
INPUTS = (
    *(f"/{camera.lower()}/image_rect_compressed" for camera in NUSCENES_CAMERAS),
    "/lidar_top",
    "/odom",
)
"""The bag's topics that the node must be connected to before the first message."""
MIDDLEWARE = Path(__file__).parents[1] / "config" / "fastdds.xml"
WEIGHTS = "weights.png"
"""How far camera and LiDAR were trusted, of a model that heeds the weather."""
QUIET_S = 4.0
"""No answer for so long after the bag's end: there will be none."""


@dataclass(frozen=True)
class DemoConfig:
    """What the demo shows."""

    out: Path = Path("out/demo")
    """Folder for everything it makes; what an earlier demo left there is replaced."""
    keyframes: int = 20
    """Length of the drive, two a second; half of it in each weather."""
    seed: int = 2026
    """Of the town; none of those that the shipped checkpoint was trained on."""
    checkpoint: Path = SHIPPED
    """Weights that the node loads."""
    image_size: tuple[int, int] = (450, 800)
    """Height and width of the rendered camera images."""
    rate: float = 1.0
    """Speed of the player; below 1 for a machine that does not follow at 2 Hz."""
    domain: int = 1 + os.getpid() % 101
    """ROS_DOMAIN_ID of the demo's processes: nobody else's, within those that Linux has free ports
    for.
    """

    def __post_init__(self) -> None:
        if self.keyframes < 2 or self.keyframes % len(WEATHERS):
            raise ValueError(
                f"DemoConfig.keyframes must be even and at least 2, got {self.keyframes}"
            )
        if self.rate <= 0:
            raise ValueError(f"DemoConfig.rate must be positive, got {self.rate}")

    @property
    def playing_s(self) -> float:
        """How long the player takes."""
        return self.keyframes / 2 / self.rate


def run(config: DemoConfig) -> dict[str, object]:
    """Runs the demo and gives what it wrote to ``summary.json``.

    Raises:
        CheckpointError: there is no such checkpoint.
        ChildError: a process of the demo failed; the message holds the end of its log.
    """
    grid = load_checkpoint(config.checkpoint)[0].config.grid
    town, bag, recorded, offline = (
        config.out / name for name in ("town", "bag", "recording", "offline")
    )
    for old in (town, bag, recorded, offline, config.out / "keyframes", config.out / "logs"):
        shutil.rmtree(old, ignore_errors=True)
    (config.out / WEIGHTS).unlink(missing_ok=True)
    environment = {
        "ROS_DOMAIN_ID": str(config.domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOCALHOST_ONLY": "1",  # the same for Humble
        "FASTDDS_DEFAULT_PROFILES_FILE": str(MIDDLEWARE),
    }
    with Children(config.out / "logs", environment) as children:
        _say(
            f"building a drive of {config.keyframes} keyframes through a town (seed "
            f"{config.seed}); this takes a minute or two"
        )
        settings = [
            "--scenes",
            "1",
            "--seed",
            config.seed,
            "--keyframes",
            config.keyframes // len(WEATHERS),
        ]
        settings += ["--weathers", *WEATHERS, "--consecutive", "--image-size", *config.image_size]
        watch = Counter(r"(\d+)/\d+", "keyframe", config.keyframes)
        children.run(
            "make_world",
            _module("training.make_world", town, *settings),
            timeout_s=1800,
            watch=watch.show,
        )
        keyframes = NuScenes(town).keyframes()
        truths = {
            keyframe.stamp_ns: read_labels(label_path(town, keyframe.lidar.path), grid)
            for keyframe in keyframes
        }

        _say(f"writing its bag ({keyframes[0].description}; then {keyframes[-1].description})")
        children.run(
            "nuscenes_to_bag",
            _module("occ_perception_ros.bags.nuscenes_to_bag", town, bag, "--one-bag"),
            timeout_s=300,
        )

        play_live(children, config, bag, recorded)
        recording = read_recording(recorded, NODE, grid, config.rate)
        summary: dict[str, object] = {**summarise(recording, truths)}

        _say("running the same bag through occ_offline, to compare voxel by voxel")
        settings = [
            "--checkpoint",
            config.checkpoint,
            "--out",
            offline,
            "--assembler.calibration-file",
            bag / "calibration.yaml",
        ]
        children.run(
            "occ_offline", _module("occ_perception_ros.offline", bag, *settings), timeout_s=600
        )
        summary["offline_equal"] = equals_offline(recording.answers, offline)

    _say("painting")
    pictures = paint(config.out, keyframes, recording.answers, truths, grid)
    if moments := weighed(keyframes, recording.answers):
        pictures.append(config.out / WEIGHTS)
        draw_weights(moments, pictures[-1])
        camera = {
            weather: [one.weights[0] for one in moments if one.weather == weather]
            for weather in WEATHERS
        }
        summary["camera_weight"] = {
            weather: float(np.median(weights)) for weather, weights in camera.items() if weights
        }
    summary |= {"checkpoint": str(config.checkpoint), "pictures": [str(path) for path in pictures]}
    (config.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def play_live(children: Children, config: DemoConfig, bag: Path, recorded: Path) -> None:
    """Plays the bag to a node that is ready, and records what it answers."""
    _say("starting the node, and a recorder of what it publishes")
    recorder = children.start(
        "recorder", _module("training.demo_parts.recorder", recorded, "--node", NODE)
    )
    parameters = {
        "checkpoint": config.checkpoint.resolve(),
        "calibration_file": (bag / "calibration.yaml").resolve(),
        "input_qos": "reliable",
        "device": "cpu",  # as occ_offline, with which the answers are compared
    }
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    node = children.start(
        "node",
        _module(
            "occ_perception_ros.occupancy_node", "--topics", "nuscenes", "--ros-args", *arguments
        ),
    )
    children.wait(lambda: "READY" in recorder.log(), "the node to be ready", timeout_s=90)

    _say(f"playing {config.keyframes / 2:.0f} s of sensor data at rate {config.rate:g}")
    settings = ["--rate", config.rate, "--wait-subscribers", *INPUTS]
    player = children.start("player", _module("occ_perception_ros.bags.play", bag, *settings))
    answers = Counter(r"ANSWER (\d+)", "answer", config.keyframes)
    started = time.monotonic()

    def over() -> bool:
        answers.show(recorder.log())
        quiet_since = max(answers.changed, started + config.playing_s)
        return player.returncode is not None and (
            answers.count >= config.keyframes or time.monotonic() - quiet_since > QUIET_S
        )

    children.wait(
        over,
        "the bag to be played and answered",
        timeout_s=90 + 2 * config.playing_s,
        ending=player,
    )
    for child in (player, recorder, node):
        children.stop(child)


def equals_offline(answers: dict[int, Answer], offline: Path) -> bool:
    """Whether ``occ_offline`` gave every answer too, with the same label in every voxel and its
    probability, to the last bit.
    """
    for stamp_ns, answer in answers.items():
        path = offline / f"{stamp_ns}.npz"
        if not path.exists():
            return False
        with np.load(path) as other:
            occupied = answer.labels != EMPTY  # the node publishes no empty voxel
            same_labels = np.array_equal(answer.labels, other["labels"])
            if not same_labels or not np.array_equal(
                answer.probability[occupied], other["probability"][occupied]
            ):
                return False
    return True


def weighed(keyframes: list[Keyframe], answers: dict[int, Answer]) -> list[Moment]:
    """The answers that came with weights of the sensors, in the order of time."""
    first_ns = keyframes[0].stamp_ns
    moments = []
    for keyframe in keyframes:
        answer = answers.get(keyframe.stamp_ns)
        if answer is not None and answer.weights is not None:
            moments.append(
                Moment(
                    (keyframe.stamp_ns - first_ns) * 1e-9, keyframe.context.weather, answer.weights
                )
            )
    return moments


def paint(
    out: Path,
    keyframes: list[Keyframe],
    answers: dict[int, Answer],
    truths: dict[int, np.ndarray],
    grid: VoxelGrid,
) -> list[Path]:
    """One PNG for every keyframe that was answered, then an animation of all; their paths."""
    answered = [
        (i, keyframe) for i, keyframe in enumerate(keyframes) if keyframe.stamp_ns in answers
    ]
    jobs = []
    for i, keyframe in answered:
        title = f"{keyframe.description}   |   {keyframe.location}   |   keyframe {i + 1} of {len(keyframes)}"
        path = out / "keyframes" / f"{i:03d}.png"
        jobs.append(
            (
                path,
                keyframe,
                answers[keyframe.stamp_ns].labels,
                truths[keyframe.stamp_ns],
                grid,
                title,
            )
        )
    # Fresh processes: forked ones would share this one's thread pools in whatever state those are.
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        paths = []
        for path in pool.imap(_paint_one, jobs):
            paths.append(path)
            _say(f"  picture {len(paths)} of {len(jobs)}")
    film = out / "animation.webp"
    animation([np.asarray(Image.open(path)) for path in paths], film)
    return [*paths, film]


def _paint_one(job: tuple[Path, Keyframe, np.ndarray, np.ndarray, VoxelGrid, str]) -> Path:
    path, keyframe, labels, truth, grid, title = job
    images = [keyframe.cameras[channel].read()[0] for channel in NUSCENES_CAMERAS]
    write_picture(keyframe_picture(images, labels, truth, grid, title), path)
    return path


def _module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", name, *(str(argument) for argument in arguments)]


class Counter:
    """Reads a count out of a log and tells when it has grown.

    Args:
        pattern: with one group, the count; the last match holds.
        what: is counted.
        total: at the end.
    """

    def __init__(self, pattern: str, what: str, total: int) -> None:
        self.count = 0
        self.changed = time.monotonic()
        self._pattern, self._what, self._total = re.compile(pattern), what, total

    def show(self, log: str) -> None:
        """Looks at the log so far."""
        count = int((self._pattern.findall(log) or [0])[-1])
        if count > self.count:
            self.count, self.changed = count, time.monotonic()
            _say(f"  {self._what} {count} of {self._total}")


_STARTED = time.monotonic()


def _say(text: str) -> None:
    print(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", flush=True)


def main() -> None:
    # As with Ctrl-C: leave through every `with`, which ends the children.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    config = tyro.cli(DemoConfig, description=__doc__)
    try:
        summary = run(config)
    except (CheckpointError, ChildError, ValueError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if summary["dropped"]:
        _say(
            f"{summary['dropped']} of {summary['frames_in']} keyframes got no answer: this machine "
            "is too slow, or too busy, for "
            f"rate {config.rate:g}; python -m training.demo --rate 0.5 plays at half the speed"
        )
    _say(f"done; see {config.out / 'summary.json'} and {config.out / 'animation.webp'}")
    print(
        json.dumps({name: value for name, value in summary.items() if name != "pictures"}, indent=2)
    )


if __name__ == "__main__":
    main()
