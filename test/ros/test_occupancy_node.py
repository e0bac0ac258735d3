"""The node as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import PRESETS
from occ_perception_ros.occupancy_node import run

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
from occ_perception_ros import node

def process(self, job):
    print("processing", file=sys.stderr, flush=True)
    time.sleep(86_400)  # like an inference, it does not hold the interpreter's lock

def make(*arguments, **options):
    made = Node(*arguments, **options)
    # The first frame arrives when the node spins.
    timer = made.create_timer(0.05, lambda: (timer.cancel(), made._mailbox.put("a frame")))
    return made

Node, Node._process, node.OccupancyNode = node.OccupancyNode, process, make
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
            "sync.sweeps must be an int in 1..100, got 0; device must be auto",
        ),
        (
            ["-p", "calibration_file:=/nowhere.yaml"],
            "calibration_file /nowhere.yaml does not exist",
        ),
        (["-p", "nonsense"], "nonsense"),
        (["-p", "device:=cuda:99"], "torch sees"),
        (["--", "--topic", "nuscenes"], "unknown arguments ['--topic', 'nuscenes']"),
        (["--topics", "kitti"], "topics 'kitti' is unknown; expected one of"),
    ],
)
def test_it_refuses_to_start_with_an_error_of_one_line(
    arguments: list[str], reason: str, small_bag: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calibration = ["-p", f"calibration_file:={small_bag / 'calibration.yaml'}"]
    assert run(["--ros-args", *calibration, *arguments]) == 1
    lines = capfd.readouterr().err.splitlines()
    (error,) = [line for line in lines if line.startswith("occupancy_node: ")]
    assert reason in error


@pytest.mark.usefixtures("signals")
def test_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "--topics {nuscenes,clynamen," in capsys.readouterr().out


def test_loading_leaves_no_threads_that_compute(checkpoint: Path) -> None:
    """Such threads would put the worker's OpenMP threads to sleep between two operations."""
    program = f"""
import os, time, torch
import occ_core.engine  # its libraries start threads of their own
from occ_perception_ros.occupancy_node import load_engine
from occ_perception_ros.parameters import NodeConfig
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
