"""The whole pipeline in one command: ``python -m training.demo``.

Generates a town drive that no training has seen, from a clear day into rain at night, and its bag;
starts the node and the player as separate processes; records the answers of the node, scores them,
compares them with ``occ_offline`` and draws them. Results: ``OUT/summary.json`` and pictures.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from occ_core.checkpoint import SHIPPED, CheckpointError, load_checkpoint
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.surroundocc import label_path, read_labels
from occ_core.taxonomy import EMPTY
from training.demo_parts.pictures import draw_keyframes, sensor_weights
from training.demo_parts.processes import ChildError, Children
from training.demo_parts.progress import LogCounter, say
from training.demo_parts.recorder import ODOMETRY_TOPIC
from training.demo_parts.summary import Answer, read_recording, summarise
from training.figures.sensor_weights import Moment, draw_weights

NODE = "/occupancy_node"
WEATHERS = ("clear", "rain at night")
"""The weather changes half-way through the drive."""
INPUTS = (
    *(f"/{camera.lower()}/image_rect_compressed" for camera in NUSCENES_CAMERAS),
    "/lidar_top",
    ODOMETRY_TOPIC,
)
"""Topics of the bag that need a subscriber before the first message is played."""
MIDDLEWARE = Path(__file__).parents[1] / "config" / "fastdds.xml"
MAX_SILENCE_S = 4.0
"""The recording ends when the bag is over and no answer has arrived for this long."""


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the demo."""

    out: Path = Path("out/demo")
    """Folder for all results; those of an earlier demo are replaced."""
    keyframes: int = 20
    """Length of the drive, two keyframes a second; half of them in each weather."""
    seed: int = 2026
    """Seed of the town; not one of those on which the shipped checkpoint was trained."""
    checkpoint: Path = SHIPPED
    """Weights that the node loads."""
    image_size: tuple[int, int] = (450, 800)
    """Height and width of the rendered camera images."""
    rate: float = 1.0
    """Speed of the player; below 1 for a machine that cannot keep up with 2 Hz."""
    busy_loops: int = 0
    """Processes that keep a core busy each while the bag is played, as on a robot that does more
    than this.
    """
    domain: int = 1 + os.getpid() % 101
    """ROS_DOMAIN_ID of the demo's processes.

    The default depends on the process, so that other ROS graphs do not interfere; Linux has free
    ports for the domains 0..101.
    """

    def __post_init__(self) -> None:
        if self.keyframes < 2 or self.keyframes % len(WEATHERS):
            raise ValueError(
                f"DemoConfig.keyframes must be even and at least 2, got {self.keyframes}"
            )
        if self.rate <= 0:
            raise ValueError(f"DemoConfig.rate must be positive, got {self.rate}")
        if self.busy_loops < 0:
            raise ValueError(f"DemoConfig.busy_loops must not be negative, got {self.busy_loops}")

    @property
    def playing_s(self) -> float:
        """Duration of the bag at ``rate``."""
        return self.keyframes / 2 / self.rate

    @property
    def town(self) -> Path:
        """The nuScenes data root of the drive."""
        return self.out / "town"

    @property
    def bag(self) -> Path:
        """The bag with the sensor data."""
        return self.out / "bag"

    @property
    def recording(self) -> Path:
        """The bag with the output of the node."""
        return self.out / "recording"

    @property
    def offline(self) -> Path:
        """The output of ``occ_offline``."""
        return self.out / "offline"

    @property
    def weights_picture(self) -> Path:
        """Sensor weights over time, for a model that adapts them to the weather."""
        return self.out / "weights.png"


def run(config: DemoConfig) -> dict[str, object]:
    """Runs the demo and returns the contents of ``summary.json``.

    Raises:
        CheckpointError: the checkpoint does not exist or cannot be read.
        ChildError: a process of the demo failed; the message contains the end of its log.
    """
    grid = load_checkpoint(config.checkpoint)[0].config.grid
    _remove_old_results(config)
    with Children(config.out / "logs", _environment(config)) as children:
        keyframes = make_town(children, config)
        truths = {
            keyframe.stamp_ns: read_labels(label_path(config.town, keyframe.lidar.path), grid)
            for keyframe in keyframes
        }
        say(f"writing its bag ({keyframes[0].description}; then {keyframes[-1].description})")
        convert = _module("occ_perception_ros.bags.nuscenes_to_bag", config.town, config.bag)
        children.run("nuscenes_to_bag", [*convert, "--one-bag"], timeout_s=300)
        node_memory_mib = record_node(children, config)
        recording = read_recording(config.recording, NODE, grid, config.rate)
        summary: dict[str, object] = {**summarise(recording, truths)}
        summary |= {"node_memory_mib": node_memory_mib, "busy_loops": config.busy_loops}
        say("running the same bag through occ_offline, to compare voxel by voxel")
        run_offline(children, config)
        summary["offline_equal"] = equals_offline(recording.answers, config.offline)

    say("drawing the pictures")
    pictures = draw_keyframes(config.out, keyframes, recording.answers, truths, grid)
    if moments := sensor_weights(keyframes, recording.answers):
        draw_weights(moments, config.weights_picture)
        pictures.append(config.weights_picture)
        summary["camera_weight"] = _camera_weight(moments)
    checkpoint = os.path.relpath(config.checkpoint)
    summary |= {"checkpoint": checkpoint, "pictures": [str(path) for path in pictures]}
    (config.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def make_town(children: Children, config: DemoConfig) -> list[Keyframe]:
    """Generates the drive and returns its keyframes."""
    say(
        f"building a drive of {config.keyframes} keyframes through a town (seed {config.seed}); "
        "this takes a minute or two"
    )
    settings: list[object] = ["--scenes", 1, "--seed", config.seed]
    settings += ["--keyframes", config.keyframes // len(WEATHERS)]
    settings += ["--weathers", *WEATHERS, "--consecutive", "--image-size", *config.image_size]
    counter = LogCounter(r"(\d+)/\d+", "keyframe", config.keyframes)
    command = _module("training.make_world", config.town, *settings)
    children.run("make_world", command, timeout_s=1800, watch=counter.update)
    return NuScenes(config.town).keyframes()


def record_node(children: Children, config: DemoConfig) -> float | None:
    """Starts the node, plays the bag to it and records its output; returns the most memory that the
    node used, in MiB, where that is known.
    """
    say("starting the node, and a recorder of its output")
    recorder = children.start(
        "recorder", _module("training.demo_parts.recorder", config.recording, "--node", NODE)
    )
    parameters = {
        "checkpoint": config.checkpoint.resolve(),
        "calibration_file": (config.bag / "calibration.yaml").resolve(),
        "input_qos": "reliable",
        "device": "cpu",  # as occ_offline, whose output must be equal
    }
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    node_module = "occ_perception_ros.occupancy_node"
    node = children.start(
        "node", _module(node_module, "--topics", "nuscenes", "--ros-args", *arguments)
    )
    children.wait(lambda: "READY" in recorder.log(), "the node to be ready", timeout_s=90)

    endless = [sys.executable, "-c", "while True: pass"]
    loops = [children.start(f"loop_{number}", endless) for number in range(config.busy_loops)]
    say(f"playing {config.keyframes / 2:.0f} s of sensor data at rate {config.rate:g}")
    settings = ["--rate", config.rate, "--wait-subscribers", *INPUTS]
    player = children.start(
        "player", _module("occ_perception_ros.bags.play", config.bag, *settings)
    )
    answers = LogCounter(r"ANSWER (\d+)", "answer", config.keyframes)
    end_s = time.monotonic() + config.playing_s

    def is_over() -> bool:
        answers.update(recorder.log())
        silence_s = time.monotonic() - max(answers.changed_s, end_s)
        is_complete = answers.count >= config.keyframes
        return player.returncode is not None and (is_complete or silence_s > MAX_SILENCE_S)

    timeout_s = 90 + 2 * config.playing_s
    children.wait(is_over, "the bag to be played and answered", timeout_s, ending=player)
    memory_mib = node.peak_memory_mib()
    for loop in loops:
        loop.end(grace_s=1.0)
        children.forget(loop)
    for child in (player, recorder, node):
        children.stop(child)
    return memory_mib


def run_offline(children: Children, config: DemoConfig) -> None:
    """Runs ``occ_offline`` on the bag."""
    settings: list[object] = ["--checkpoint", config.checkpoint, "--out", config.offline]
    settings += ["--assembler.calibration-file", config.bag / "calibration.yaml"]
    command = _module("occ_perception_ros.offline", config.bag, *settings)
    children.run("occ_offline", command, timeout_s=600)


def equals_offline(answers: dict[int, Answer], offline: Path) -> bool:
    """Whether ``occ_offline`` gave the same labels and probabilities, to the last bit.

    Args:
        answers: by header stamp.
        offline: folder with a file ``<stamp>.npz`` for each answer.
    """
    for stamp_ns, answer in answers.items():
        path = offline / f"{stamp_ns}.npz"
        if not path.exists():
            return False
        with np.load(path, allow_pickle=False) as other:
            if not np.array_equal(answer.labels, other["labels"]):
                return False
            occupied = answer.labels != EMPTY  # the node does not publish empty voxels
            if not np.array_equal(answer.probability[occupied], other["probability"][occupied]):
                return False
    return True


def _remove_old_results(config: DemoConfig) -> None:
    folders = (config.town, config.bag, config.recording, config.offline)
    for folder in (*folders, config.out / "keyframes", config.out / "logs"):
        shutil.rmtree(folder, ignore_errors=True)
    config.weights_picture.unlink(missing_ok=True)


def _environment(config: DemoConfig) -> dict[str, str]:
    return {
        "ROS_DOMAIN_ID": str(config.domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOCALHOST_ONLY": "1",  # the same for Humble
        "FASTDDS_DEFAULT_PROFILES_FILE": str(MIDDLEWARE),
    }


def _module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", name, *(str(argument) for argument in arguments)]


def _camera_weight(moments: list[Moment]) -> dict[str, float]:
    """Median weight of the cameras in each weather."""
    weights = {
        weather: [moment.weights[0] for moment in moments if moment.weather == weather]
        for weather in WEATHERS
    }
    return {weather: float(np.median(values)) for weather, values in weights.items() if values}


def main() -> None:
    """Runs the command line."""
    # Like Ctrl-C: leave through every `with`, which ends the child processes.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    config = tyro.cli(DemoConfig, description=__doc__)
    try:
        summary = run(config)
    except (CheckpointError, ChildError, ValueError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if summary["dropped"]:
        say(
            f"{summary['dropped']} of {summary['frames_in']} keyframes were not answered: this "
            f"machine is too slow, or too busy, for rate {config.rate:g}; "
            "python -m training.demo --rate 0.5 plays at half the speed"
        )
    say(f"done; see {config.out / 'summary.json'} and {config.out / 'animation.webp'}")
    print(
        json.dumps({name: value for name, value in summary.items() if name != "pictures"}, indent=2)
    )


if __name__ == "__main__":
    main()
