"""The node as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import rclpy
from rclpy.parameter import Parameter

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import PRESETS
from occ_perception_ros import occupancy_node
from occ_perception_ros.node import OccupancyNode
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.occupancy_node import model_text, run

WAIT_S = 1200
"""A limit for hangs; no test needs it."""
CLEAN_UP = """
import atexit, sys
atexit.register(lambda: print("the interpreter cleans up", file=sys.stderr))
from occ_perception_ros import occupancy_node
"""
WAITING = CLEAN_UP + "occupancy_node.main()"
PROCESSING = (
    CLEAN_UP
    + """
import time
from occ_perception_ros import node, pipeline

def process(self, job):
    print("processing", file=sys.stderr, flush=True)
    time.sleep(86_400)  # like an inference, it does not hold the interpreter's lock

def make(*arguments, **options):
    made = Node(*arguments, **options)
    # The first frame arrives when the node spins.
    mailbox = made.pipeline._mailbox
    timer = made.create_timer(0.05, lambda: (timer.cancel(), mailbox.put("a frame")))
    return made

Node, pipeline.Pipeline._process, node.OccupancyNode = node.OccupancyNode, process, make
occupancy_node.main()
"""
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "debug.safetensors"
    save_checkpoint(path, build_model(PRESETS["debug"]()), {})
    return path


@pytest.mark.parametrize(
    ("program", "line", "number"),
    [(WAITING, "ready", signal.SIGTERM), (PROCESSING, "processing", signal.SIGINT)],
    ids=["waiting", "processing"],
)
def test_a_signal_ends_it_without_waiting_or_cleaning_up(
    program: str, line: str, number: signal.Signals, checkpoint: Path, small_bag: Path
) -> None:
    parameters = [
        *("-p", f"checkpoint:={checkpoint}"),
        *("-p", f"calibration_file:={small_bag / 'calibration.yaml'}"),
    ]
    command = [sys.executable, "-c", program, "--topics", "nuscenes", "--ros-args", *parameters]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for text in process.stderr:
            lines.append(text)
            if line in text:
                break
        process.send_signal(number)
        lines += process.stderr.readlines()
        assert process.wait(WAIT_S) == 0, lines
    output = "".join(lines)
    assert output.count(f"model: {checkpoint}, on ") == 1
    assert line in output and "Traceback" not in output and "cleans up" not in output


@pytest.fixture
def signals() -> Iterator[None]:
    """Restores the signal handlers that the program replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-p", "checkpoint:=/nowhere/model.safetensors"], "/nowhere/model.safetensors"),
        (
            ["-p", "sync.sweeps:=0", "-p", "device:=tpu"],
            "2 problems: sync.sweeps must be an int in 1..100, got 0 device must be auto, cpu",
        ),
        (
            ["-p", "calibration_file:=/nowhere.yaml"],
            "calibration_file /nowhere.yaml does not exist",
        ),
        (["-p", "nonsense"], "nonsense"),
        (["-p", "use_sim_time:=banana"], "use_sim_time"),
        (["-p", "cameras:=['cam front','b']"], "cameras must be names of letters, digits"),
        (["-p", "device:=cuda:99"], "torch sees"),
        (["--", "--topic", "nuscenes"], "unknown arguments ['--topic', 'nuscenes']"),
        (["--topics", "kitti"], "topics 'kitti' is unknown; expected one of"),
    ],
)
def test_it_refuses_to_start_with_a_line_for_every_problem(
    arguments: list[str], reason: str, small_bag: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calibration = ["-p", f"calibration_file:={small_bag / 'calibration.yaml'}"]
    assert run(["--ros-args", *calibration, *arguments]) == 1
    output = capfd.readouterr().err
    assert "Traceback" not in output and output.count("occupancy_node: ") == 1
    error = output.partition("occupancy_node: ")[2]
    assert reason in " ".join(error.split())
    assert len(error.splitlines()) == 1 + error.count("\n  ")


@pytest.mark.usefixtures("signals")
def test_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "--topics {nuscenes,clynamen," in capsys.readouterr().out


def test_loading_leaves_no_threads_that_compute(checkpoint: Path) -> None:
    """Such threads would put the worker's OpenMP threads to sleep between two operations."""
    program = f"""
import os, time, torch
# Libraries start threads of their own.
import occ_core.backbones.resnet, occ_core.engine, occ_perception_ros.node
from occ_perception_ros.occupancy_node import load_engine
from occ_perception_ros.node_config import NodeConfig
threads = lambda: len(os.listdir("/proc/self/task"))
torch.zeros(1)
before = threads()
load_engine(NodeConfig(device="cpu", checkpoint={str(checkpoint)!r}))
deadline = time.monotonic() + {WAIT_S / 2}
while threads() > before and time.monotonic() < deadline:
    time.sleep(0.1)
print(max(threads() - before, 0))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    assert done.stdout.strip() == "0"


@pytest.mark.usefixtures("signals")
def test_the_calibration_beside_a_bag_is_found(
    tmp_path: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calibration.yaml").write_text("nonsense: true\n")
    (tmp_path / "bag.mcap").touch()
    for bag in (tmp_path, tmp_path / "bag.mcap"):
        assert run(["--bag", str(bag), "--ros-args", "-p", f"checkpoint:={checkpoint}"]) == 1
        assert f"{tmp_path}/calibration.yaml" in capfd.readouterr().err
    assert run(["--bag", str(tmp_path / "none")]) == 1
    assert "--bag needs the path of a bag, got" in capfd.readouterr().err
    own = ["--ros-args", "-p", "calibration_file:=/nowhere.yaml"]
    assert run(["--bag", str(tmp_path), *own]) == 1
    assert "/nowhere.yaml does not exist" in capfd.readouterr().err


def test_frames_that_keep_failing_end_it_with_an_error(
    small_bag: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rclpy.init()
    calibration = Parameter("calibration_file", value=str(small_bag / "calibration.yaml"))
    node = OccupancyNode(
        lambda config: (SimpleNamespace(), (64, 64)), parameter_overrides=[calibration]
    )
    node.worker.given_up = True
    assert occupancy_node._spin(node, threading.Event()) == 1
    assert "occupancy_node: 10 frames in a row failed" in capfd.readouterr().err


def test_the_log_says_which_model_answers_and_why_on_the_cpu() -> None:
    own = model_text(NodeConfig(), "cpu")
    assert own.startswith("model: the package's own, on cpu, since torch and spconv find no GPU")
    assert model_text(NodeConfig(), "cuda") == "model: the package's own, on cuda"
    asked = NodeConfig(checkpoint="/weights.safetensors", device="cpu")
    assert model_text(asked, "cpu") == "model: /weights.safetensors, on cpu"


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("is_first", [True, False])
def test_the_command_line_wins_over_a_file_and_a_preset(
    is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preset says world_frame: odom and raw images; the file and the command line follow."""
    path = tmp_path / "robot.yaml"
    values = "world_frame: of_the_file\n    device: cpu\n    sync.sweeps: 3\n"
    path.write_text(f"/**:\n  ros__parameters:\n    {values}")
    own = ["--ros-args", "--params-file", str(path), "-p", "sync.sweeps:=7"]
    given = ["--topics", "clynamen"]
    passed: list[str] = []
    monkeypatch.setattr(occupancy_node, "_run_node", lambda arguments: passed.extend(arguments))
    run([*given, *own] if is_first else [*own, "--", *given])
    context = rclpy.Context()
    rclpy.init(args=["occupancy_node", *passed], context=context)
    try:
        node = rclpy.create_node(
            "occupancy_node", context=context, automatically_declare_parameters_from_overrides=True
        )
        found = {
            name: node.get_parameter(name).value
            for name in ("compressed_images", "world_frame", "device", "sync.sweeps")
        }
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert found == {
        "compressed_images": False,  # of the preset
        "world_frame": "of_the_file",
        "device": "cpu",
        "sync.sweeps": 7,  # of the command line
    }
