"""The command: a recorded drive without ROS, and the node as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import can
import numpy as np
import pytest

from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, Storage, qos_profile
from occ_perception_ros.can import CanFrame, program
from occ_perception_ros.can.bag_frames import FRAME_TYPE, bag_frames

TOPIC = "/from_can_bus"
WAIT_S = 600
"""A limit for hangs; no test needs it."""
TIMELINE = """\
     0.000 s  weather: clear, region: unknown
     0.000 s  weather: clear, region: boston-seaport
    18.000 s  weather: rain, region: boston-seaport
    40.000 s  weather: rain at night, region: boston-seaport
frames: 600 decoded
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command and returns its output."""

    def command(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["can_context", *map(str, arguments)])
        program.main()
        return capsys.readouterr().out

    return command


@pytest.fixture
def write_bag(drive: list[CanFrame], tmp_path: Path) -> Callable[..., Path]:
    types = TYPESTORE.types

    def write(storage: Storage, *topics: str) -> Path:
        stamp = types["builtin_interfaces/msg/Time"](0, 0)
        header = types["std_msgs/msg/Header"](stamp, "can0")
        with BagWriter(tmp_path / "bag", storage) as writer:
            for topic in topics:
                writer.add_topic(topic, FRAME_TYPE, qos_profile(100))
                for frame in drive:
                    data = np.frombuffer(frame.data.ljust(8, b"\0"), np.uint8)
                    message = types[FRAME_TYPE](
                        header, frame.can_id, False, frame.is_extended, False, len(frame.data), data
                    )
                    writer.write(topic, message, frame.stamp_ns)
        return tmp_path / "bag"

    return write


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_gives_the_timeline(
    storage: Storage,
    run: Callable[..., str],
    write_bag: Callable[..., Path],
    rules_path: Path,
    drive: list[CanFrame],
) -> None:
    bag = write_bag(storage, TOPIC)
    assert list(bag_frames(bag)) == drive
    assert run(bag, "--rules", rules_path) == TIMELINE


def test_a_log_gives_the_timeline_and_a_bag(
    run: Callable[..., str], rules_path: Path, drive: list[CanFrame], tmp_path: Path
) -> None:
    with can.Logger(str(tmp_path / "drive.log")) as logger:
        for frame in drive:
            logger(
                can.Message(
                    timestamp=frame.stamp_ns / 1e9,
                    arbitration_id=frame.can_id,
                    is_extended_id=frame.is_extended,
                    data=frame.data,
                )
            )
    assert run(tmp_path / "drive.log", "--rules", rules_path, "--out", tmp_path / "out") == TIMELINE
    with BagReader(tmp_path / "out") as bag:
        assert all(topic.latched for topic in bag.topics.values())
        texts = [
            (m.topic, (m.stamp_ns - drive[0].stamp_ns) / 1e9, bag.decode(m).data)
            for m in bag.messages()
        ]
    weather = [(time_s, text) for topic, time_s, text in texts if topic == "/can/weather"]
    # each second, and once more as the region becomes known at 0 s
    assert [time_s for time_s, _ in weather] == [0, *map(float, range(60))]
    assert weather[18:20] == [(17.0, "clear"), (18.0, "rain")]
    assert {topic for topic, *_ in texts} == {"/can/weather", "/can/region"}


def test_a_topic_is_chosen_where_there_are_several(
    run: Callable[..., str], write_bag: Callable[..., Path], rules_path: Path
) -> None:
    bag = write_bag("mcap", TOPIC, "/body/can")
    with pytest.raises(SystemExit, match=r"choose it with --topic.*/from_can_bus.*/body/can"):
        run(bag, "--rules", rules_path)
    with pytest.raises(SystemExit, match="not '/gone'"):
        run(bag, "--rules", rules_path, "--topic", "/gone")
    assert run(bag, "--rules", rules_path, "--topic", "/body/can") == TIMELINE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no CAN frames"),
        ("(1600000000.0) can0 005#00\n", "check the DBC file"),
        ("(1600000000.0) can0 005#00\nnonsense\n", "cannot be read after 1 frames"),
    ],
)
def test_a_log_without_a_result_is_an_error(
    content: str, reason: str, run: Callable[..., str], rules_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.log").write_text(content)
    with pytest.raises(SystemExit, match=reason):
        run(tmp_path / "a.log", "--rules", rules_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_its_packages_it_says_what_to_install(
    run: Callable[..., str], rules_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cantools", None)
    with pytest.raises(
        SystemExit, match=r"apt install python3-cantools.*occ_perception_ros\[can\]"
    ):
        run("drive.asc", "--rules", rules_path)


def test_importing_the_decoder_needs_neither_ros_nor_can_packages() -> None:
    code = (
        "import sys, occ_perception_ros.can\n"
        "print({'rclpy', 'torch', 'can', 'cantools', 'rosbags'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_node_starts_and_ends_with_a_signal(rules_path: Path) -> None:
    parameters = [f"rules_file:={rules_path}", "channel:=x", "interface:=virtual"]
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    command = [sys.executable, "-m", "occ_perception_ros.can.program", "--ros-args", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "ready; reading frames from virtual 'x'" in line:
                break
        process.send_signal(signal.SIGINT)
        lines += process.stderr.readlines()
        assert process.wait(WAIT_S) == 0, lines
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-p", "rules_file:=/nowhere.yaml"], "/nowhere.yaml"),
        (["-p", "nonsense"], "nonsense"),
        (["--", "drive.asc"], "unknown arguments ['drive.asc']"),
    ],
)
def test_the_node_refuses_to_start_with_an_error_of_one_line(
    arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert program.run_node(["--ros-args", *arguments]) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    errors = [x for x in capfd.readouterr().err.splitlines() if x.startswith("can_context: ")]
    (error,) = errors
    assert reason in error
