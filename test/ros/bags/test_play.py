"""``bag_play`` with processes over real DDS: bytes, quality of service, clock, loops, the end.

The pace is tested in ``test_pace.py``, with a clock that does not depend on the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import QosDurability, QosReliability

from occ_perception_ros.bags.pace import Punctuality
from occ_perception_ros.bags.play import PlayConfig, main
from occ_perception_ros.bags.player import PlayError, message_class
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, qos_profile

NS = 10**9
START_NS = 1_600_000_000 * NS
WAIT_S = 600
"""A limit for hangs; no test needs it."""
DEEP = 1000
"""Depth of queues that lose nothing however long the listener is suspended."""


def test_message_classes_that_are_not_installed() -> None:
    assert message_class("sensor_msgs/msg/Imu").__name__ == "Imu"
    assert message_class("no_such_msgs/msg/Thing") is None
    assert message_class("sensor_msgs/msg/NoSuchMessage") is None


@pytest.mark.parametrize("kind", ["trap/msg/Thing", "trap/Thing", "trap.msg/msg/A", "../trap", ""])
def test_the_type_of_a_message_does_not_choose_what_is_imported(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bag may name any package that is installed, and an import runs its code."""
    trap, trace = tmp_path / "trap", tmp_path / "trace"
    trap.mkdir()
    (trap / "__init__.py").write_text(f"open({str(trace)!r}, 'w')")
    (trap / "msg.py").write_text("Thing = 1")
    monkeypatch.syspath_prepend(tmp_path)
    assert message_class(kind) is None
    assert not trace.exists()


@pytest.mark.parametrize(("field", "value"), [("rate", 0.0), ("clock", -1.0), ("delay_s", -0.1)])
def test_nonsense_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(PlayConfig(bag=Path("bag")), **{field: value})


LISTENER = textwrap.dedent("""
    import sys, time, rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from occ_perception_ros.bags.player import message_class
    wait_s, count, *wanted = sys.argv[1:]
    rclpy.init()
    node = rclpy.create_node("listener")
    topics = [item.split(",") for item in wanted]
    received, offered = [], {}
    for topic, kind, latched in topics:
        qos = QoSProfile(
            depth=1000,
            durability=DurabilityPolicy.TRANSIENT_LOCAL
            if latched == "1" else DurabilityPolicy.VOLATILE,
            reliability=ReliabilityPolicy.BEST_AVAILABLE,
        )
        def receive(data, topic=topic):
            received.append(f"{topic} {data.hex()}")
        node.create_subscription(message_class(kind), topic, receive, qos, raw=True)
    print("READY", flush=True)
    end = time.monotonic() + float(wait_s)
    def missing():
        for topic, _, _ in topics:
            for info in node.get_publishers_info_by_topic(topic):
                qos = info.qos_profile
                offered[topic] = f"{topic} {qos.reliability.name} {qos.durability.name}"
        return len(received) < int(count) or len(offered) < len(topics)
    while missing() and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)
    print(*offered.values(), "MESSAGES", *received, sep="\\n", flush=True)
""")


class Processes:
    """Players and listeners in a ROS domain of their own."""

    def __init__(self, domain: int) -> None:
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def play(self, *arguments: object) -> subprocess.Popen[str]:
        return self.start("-m", "occ_perception_ros.bags.play", *arguments)

    def listen(self, count: int, topics: dict[str, tuple[str, bool]]) -> subprocess.Popen[str]:
        """Starts a listener that ends after ``count`` messages, and waits until it listens.

        Args:
            count: number of messages on all topics.
            topics: type, and whether the subscription is latched, by topic.
        """
        names = [f"{name},{kind},{latched:d}" for name, (kind, latched) in topics.items()]
        process = self.start("-c", LISTENER, WAIT_S, count, *names)
        assert process.stdout is not None and process.stdout.readline() == "READY\n", (
            process.stderr and process.stderr.read()
        )
        return process


def results(
    process: subprocess.Popen[str],
) -> tuple[dict[str, list[bytes]], dict[str, tuple[str, str]]]:
    """A listener's messages, and the reliability and durability of their publisher, by topic."""
    output, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors
    before, after = output.split("MESSAGES\n")
    offered = {
        topic: (reliability, durability)
        for topic, reliability, durability in map(str.split, before.splitlines())
    }
    received = defaultdict(list)
    for line in after.splitlines():
        topic, data = line.split(" ")
        received[topic].append(bytes.fromhex(data))
    return received, offered


def padded(data: bytes) -> bytes:
    """The data as they are sent: RTPS fills them with zeros to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes(1 + (os.getpid() + 37) % 101)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def recorded(bag: Path) -> dict[str, list[bytes]]:
    found = defaultdict(list)
    with BagReader(bag) as reader:
        for message in reader.messages():
            found[message.topic].append(message.data)
    return found


def with_deep_queues(bag: Path, out: Path) -> Path:
    with BagReader(bag) as reader, BagWriter(out) as writer:
        for name, topic in reader.topics.items():
            writer.add_topic(name, topic.message_type, qos_profile(DEEP, latched=topic.latched))
        for message in reader.messages():
            writer.write_raw(message.topic, message.data, message.stamp_ns)
    return out


def test_every_byte_of_a_drive_arrives_in_order(
    processes: Processes, small_bag: Path, tmp_path: Path
) -> None:
    bag = with_deep_queues(small_bag, tmp_path / "bag")
    expected = recorded(bag)
    with BagReader(bag) as reader:
        kinds = {
            name: (topic.message_type, topic.latched)
            for name, topic in reader.topics.items()
            if message_class(topic.message_type) is not None
        }
    listener = processes.listen(sum(len(expected[name]) for name in kinds), kinds)
    player = processes.play(bag, "--delay-s", 2, "--wait-subscribers", *kinds)
    output, errors = player.communicate(timeout=WAIT_S)
    assert player.returncode == 0, errors
    received, offered = results(listener)
    assert received.keys() == kinds.keys()
    for name, messages in received.items():
        assert messages == [padded(data) for data in expected[name]], name
        assert offered[name][0] == "RELIABLE"
    assert "playing" in output and "ms late on average" in output
    for name in expected.keys() - kinds.keys():
        assert f"skipping {name}: tf2_msgs is not installed" in output


def strings(path: Path, topics: dict[str, Any], texts: list[tuple[str, float, str]]) -> Path:
    """A bag of std_msgs/String messages, given as topic, time in seconds and text."""
    kind = TYPESTORE.types["std_msgs/msg/String"]
    with BagWriter(path) as writer:
        for name, qos in topics.items():
            writer.add_topic(name, "std_msgs/msg/String", qos)
        for name, seconds, text in texts:
            writer.write(name, kind(text), START_NS + round(seconds * NS))
    return path


def test_the_clock_shows_the_bags_time(processes: Processes, tmp_path: Path) -> None:
    bag = strings(
        tmp_path / "bag", {"/text": qos_profile(DEEP)}, [("/text", s, "") for s in (0.0, 5.0)]
    )
    listener = processes.listen(12, {"/clock": ("rosgraph_msgs/msg/Clock", False)})
    arguments = ("--clock", 20, "--rate", 2, "--wait-subscribers", "/text", "--loop")
    processes.listen(10**6, {"/text": ("std_msgs/msg/String", False)})
    processes.play(bag, *arguments)
    received, _ = results(listener)
    clocks = [
        TYPESTORE.deserialize_cdr(data, "rosgraph_msgs/msg/Clock").clock
        for data in received["/clock"]
    ]
    ticks_ns = [clock.sec * NS + clock.nanosec - START_NS for clock in clocks]
    # 20 Hz at double speed: a tick every 0.1 s of bag time. A busy listener may miss some.
    assert set(ticks_ns) <= {number * NS // 10 for number in range(51)}
    assert max(ticks_ns) > 0


def test_before_the_start_the_clock_stands(processes: Processes, tmp_path: Path) -> None:
    bag = strings(tmp_path / "bag", {"/text": qos_profile(DEEP)}, [("/text", 0.0, "")])
    listener = processes.listen(3, {"/clock": ("rosgraph_msgs/msg/Clock", False)})
    player = processes.play(bag, "--clock", 20, "--delay-s", 10 * WAIT_S)
    received, _ = results(listener)
    for data in received["/clock"]:
        clock = TYPESTORE.deserialize_cdr(data, "rosgraph_msgs/msg/Clock").clock
        assert clock.sec * NS + clock.nanosec == START_NS
    player.send_signal(signal.SIGTERM)
    assert player.wait(WAIT_S) == 0


def test_latched_and_best_effort_topics_stay_what_they_are(
    processes: Processes, tmp_path: Path
) -> None:
    best_effort = qos_profile(5)._replace(reliability=QosReliability.BEST_EFFORT)
    assert best_effort.durability is QosDurability.VOLATILE
    topics = {"/fast": best_effort, "/latched": qos_profile(1, latched=True)}
    texts = [("/fast", 0.0, "one"), ("/latched", 0.1, "weather"), ("/fast", 86_400.0, "never")]
    bag = strings(tmp_path / "bag", topics, texts)
    player = processes.play(bag, "--delay-s", 0)
    assert player.stdout is not None and "playing" in player.stdout.readline()
    # A latched subscription that comes late still gets the message.
    kind = "std_msgs/msg/String"
    listener = processes.listen(1, {"/latched": (kind, True), "/fast": (kind, False)})
    received, offered = results(listener)
    assert received["/latched"] == [padded(data) for data in recorded(bag)["/latched"]]
    assert offered == {
        "/latched": ("RELIABLE", "TRANSIENT_LOCAL"),
        "/fast": ("BEST_EFFORT", "VOLATILE"),
    }
    player.send_signal(signal.SIGINT)
    output, errors = player.communicate(timeout=WAIT_S)
    assert player.returncode == 0 and "Traceback" not in errors
    assert "1 messages" in output  # "/latched" was published ahead, and "never" not at all


def test_a_loop_starts_again_and_ends_on_sigterm(processes: Processes, tmp_path: Path) -> None:
    texts = [("/text", second / 10, str(second)) for second in range(3)]
    bag = strings(tmp_path / "bag", {"/text": qos_profile(DEEP)}, texts)
    listener = processes.listen(7, {"/text": ("std_msgs/msg/String", False)})
    player = processes.play(bag, "--loop", "--rate", 4, "--wait-subscribers", "/text")
    assert player.stdout is not None
    for line in player.stdout:
        if "pass 3" in line:
            break
    player.send_signal(signal.SIGTERM)
    _, errors = player.communicate(timeout=WAIT_S)
    assert player.returncode == 0 and "Traceback" not in errors
    received, _ = results(listener)
    once = [padded(data) for data in recorded(bag)["/text"]]
    assert received["/text"] == [*once, *once, once[0]]


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["bag_play", *map(str, arguments)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    main()


def test_signals_that_repeat_are_no_failure(processes: Processes, small_bag: Path) -> None:
    """Ctrl-C reaches a launched program from the terminal and from ``ros2 launch``."""
    player = processes.play(small_bag, "--loop", "--delay-s", "0")
    assert player.stdout is not None
    while "pass 1" not in player.stdout.readline():
        assert player.poll() is None, player.stderr and player.stderr.read()
    deadline_s = time.monotonic() + WAIT_S
    while player.poll() is None and time.monotonic() < deadline_s:
        player.send_signal(signal.SIGINT)
        time.sleep(0.005)
    assert player.wait(WAIT_S) == 0, player.stderr and player.stderr.read()


def test_messages_are_paced_from_the_bags_start_at_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = strings(
        tmp_path / "bag", {"/text": qos_profile(5)}, [("/text", s, "") for s in (0.5, 0.7)]
    )
    calls: list[tuple[list[int], int, float]] = []

    def record(actions: Any, start_ns: int, rate: float, stop: Any) -> Punctuality:
        calls.append(([stamp - START_NS for stamp, _ in actions], start_ns - START_NS, rate))
        return Punctuality()

    monkeypatch.setattr("occ_perception_ros.bags.play.paced", record)
    run_here(monkeypatch, bag, "--rate", 3, "--clock", 20, "--delay-s", 0)
    # Ticks every 3 / 20 = 0.15 s: at 0.5 and 0.65, the first just before the first message.
    assert calls == [([500_000_000, 500_000_000, 650_000_000, 700_000_000], 500_000_000, 3.0)]


def test_bags_that_cannot_be_played_are_refused(
    small_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="/nothing not in the bag, which has .*/lidar_top"):
        run_here(monkeypatch, small_bag, "--topics", "/nothing")
    with pytest.raises(SystemExit, match="/nowhere is not played"):
        run_here(monkeypatch, small_bag, "--wait-subscribers", "/nowhere")
    with pytest.raises(SystemExit, match="does not exist; give a rosbag2 folder"):
        run_here(monkeypatch, tmp_path / "absent")
    monkeypatch.setattr("occ_perception_ros.bags.player.message_class", lambda _: None)
    with pytest.raises(SystemExit, match="no topic of .* can be played"):
        run_here(monkeypatch, small_bag)


def test_without_rclpy_the_error_names_the_command_that_installs_it(
    small_bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(SystemExit, match="rclpy cannot be imported .*pip install 'occ_perception"):
        run_here(monkeypatch, small_bag)
    assert issubclass(PlayError, RuntimeError)
