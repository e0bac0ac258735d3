"""Replay over real rclpy: the bytes, their quality of service, their pace, the clock and the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import QosDurability, QosReliability

from occ_perception_ros.bags.play import PlayConfig, PlayError, clock_ticks, message_class, paced
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.writer import TYPESTORE, BagWriter, qos_profile

NS = 10**9
START_NS = 1_600_000_000 * NS


class FakeTime:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.stopped = False

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        return self.stopped

    def is_set(self) -> bool:
        return self.stopped


def test_actions_run_at_their_bag_time_divided_by_the_rate() -> None:
    fake, ran = FakeTime(), []
    stamps = [0, NS, NS, 4 * NS]
    actions = ((START_NS + stamp, lambda: ran.append(fake.now_s)) for stamp in stamps)
    punctuality = paced(actions, START_NS, 2.0, fake, lambda: fake.now_s)  # type: ignore[arg-type]
    assert ran == [50.0, 50.5, 50.5, 52.0]
    assert (punctuality.messages, punctuality.worst_s) == (4, 0.0)


def test_lateness_does_not_add_up() -> None:
    """Publishing takes 0.3 s: the second message is 0.2 s late, the third, 0.9 s later, is on time
    again.
    """
    fake, ran = FakeTime(), []

    def act() -> None:
        ran.append(round(fake.now_s - 50, 6))
        fake.now_s += 0.3

    actions = ((START_NS + round(s * NS), act) for s in (0.0, 0.1, 1.0))
    punctuality = paced(actions, START_NS, 1.0, fake, lambda: fake.now_s)  # type: ignore[arg-type]
    assert ran == [0.0, 0.3, 1.0]
    assert punctuality.worst_s == pytest.approx(0.2) and punctuality.total_s == pytest.approx(0.2)


def test_stopping_ends_the_wait_and_publishes_nothing_more() -> None:
    stop, ran = threading.Event(), []
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    punctuality = paced(
        iter([(0, lambda: ran.append(0)), (60 * NS, lambda: ran.append(1))]), 0, 1.0, stop
    )
    assert ran == [0] and punctuality.messages == 1 and time.monotonic() - began < 5


def test_clock_ticks_are_even_in_wall_time() -> None:
    # 10 Hz at double rate: 0.2 s of bag time a tick
    assert list(clock_ticks(START_NS, START_NS + NS // 2, 2.0, 10.0)) == [
        START_NS,
        START_NS + NS // 5,
        START_NS + 2 * NS // 5,
    ]


def test_message_classes_of_packages_that_are_not_there() -> None:
    assert message_class("sensor_msgs/msg/Imu").__name__ == "Imu"
    assert message_class("no_such_msgs/msg/Thing") is None
    assert message_class("sensor_msgs/msg/NoSuchMessage") is None


@pytest.mark.parametrize(("field", "value"), [("rate", 0.0), ("clock", -1.0), ("delay_s", -0.1)])
def test_nonsense_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(PlayConfig(bag=Path("bag")), **{field: value})  # type: ignore[arg-type]


LISTENER = textwrap.dedent("""
    import sys, time, rclpy
    from rclpy.qos import QoSProfile, DurabilityPolicy, ReliabilityPolicy
    from occ_perception_ros.bags.play import message_class
    count, *wanted = sys.argv[1:]
    rclpy.init()
    node = rclpy.create_node("listener")
    heard = []
    topics = [item.split(",") for item in wanted]
    for topic, kind, latched in topics:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched == "1" else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=500, durability=durability, reliability=ReliabilityPolicy.BEST_AVAILABLE)
        def hear(data, topic=topic):
            heard.append(f"{topic} {time.monotonic_ns()} {data.hex()}")
        node.create_subscription(message_class(kind), topic, hear, qos, raw=True)
    print("READY", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end and len(heard) < int(count):
        rclpy.spin_once(node, timeout_sec=0.05)
    for topic, _, _ in topics:
        for info in node.get_publishers_info_by_topic(topic):
            print(f"{topic} {info.qos_profile.reliability.name} {info.qos_profile.durability.name}")
    print("MESSAGES", *heard, sep="\\n", flush=True)
""")


class Graph:
    """Processes of one test in a ROS domain of their own."""

    def __init__(self, domain: int) -> None:
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def play(self, *arguments: object) -> subprocess.Popen[str]:
        return self.start("-m", "occ_perception_ros.bags.play", *arguments)

    def listen(self, count: int, topics: dict[str, tuple[str, bool]]) -> subprocess.Popen[str]:
        """Hears ``{topic: (type, latched)}`` until ``count`` messages are there; returns when it
        listens.
        """
        process = self.start(
            "-c",
            LISTENER,
            count,
            *(f"{name},{kind},{latched:d}" for name, (kind, latched) in topics.items()),
        )
        assert process.stdout is not None and process.stdout.readline() == "READY\n", (
            process.stderr and process.stderr.read()
        )
        return process


Heard = dict[str, list[tuple[int, bytes]]]


def heard(process: subprocess.Popen[str]) -> tuple[Heard, dict[str, tuple[str, str]]]:
    """What the listener heard until it ended: times and bytes of each topic; and reliability and
    durability of its publisher.
    """
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    before, after = output.split("MESSAGES\n")
    offered = {
        topic: (reliability, durability)
        for topic, reliability, durability in map(str.split, before.splitlines())
    }
    found = defaultdict(list)
    for line in after.splitlines():
        topic, time_ns, data = line.split(" ")
        found[topic].append((int(time_ns), bytes.fromhex(data)))
    return found, offered


def padded(data: bytes) -> bytes:
    """As it travels: RTPS fills a payload with zeros to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


@pytest.fixture
def graph() -> Iterator[Graph]:
    graph = Graph(1 + (os.getpid() + 37) % 101)
    yield graph
    for process in graph.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def recorded(bag: Path) -> dict[str, list[tuple[int, bytes]]]:
    found = defaultdict(list)
    with BagReader(bag) as reader:
        for message in reader.messages():
            found[message.topic].append((message.stamp_ns, message.data))
    return found


def test_every_byte_of_a_drive_arrives_in_order_and_in_time(graph: Graph, small_bag: Path) -> None:
    truth = recorded(small_bag)
    kinds: dict[str, tuple[str, bool]] = {}
    with BagReader(small_bag) as reader:
        for name, topic in reader.topics.items():
            if (
                topic.message_type != "tf2_msgs/msg/TFMessage"
                or message_class(topic.message_type) is not None
            ):
                kinds[name] = (topic.message_type, topic.latched)
    count = sum(len(truth[name]) for name in kinds) + 21
    listener = graph.listen(count, {**kinds, "/clock": ("rosgraph_msgs/msg/Clock", False)})
    player = graph.play(small_bag, "--clock", 20, "--wait-subscribers", *(name for name in kinds))
    output, errors = player.communicate(timeout=60)
    assert player.returncode == 0, errors
    found, offered = heard(listener)
    clock = found.pop("/clock")
    assert found.keys() == kinds.keys()
    for name, messages in found.items():
        assert [data for _, data in messages] == [padded(data) for _, data in truth[name]], name
        assert offered.get(name, ("RELIABLE", "?"))[0] == "RELIABLE"
    assert "playing" in output and "ms late on average" in output
    if message_class("tf2_msgs/msg/TFMessage") is None:
        assert (
            "skipping /tf: tf2_msgs is not installed" in output
            and "skipping /tf_static: tf2_msgs" in output
        )
    # 1 s of LiDAR at rate 1, 20 intervals; the machine may be busy, so only the whole is held to
    # its time.
    first, last = found["/lidar_top"][0][0], found["/lidar_top"][-1][0]
    assert 0.9 * NS < last - first < 3 * NS
    # 1.025 s at 20 Hz: ticks at 0, 0.05, ..., 1.0
    stamps = [TYPESTORE.deserialize_cdr(data, "rosgraph_msgs/msg/Clock").clock for _, data in clock]  # type: ignore[attr-defined]
    start = min(messages[0][0] for messages in truth.values())
    assert [stamp.sec * NS + stamp.nanosec for stamp in stamps] == [
        start + tick * NS // 20 for tick in range(21)
    ]


def strings(path: Path, topics: dict[str, Any], texts: list[tuple[str, float, str]]) -> Path:
    """A bag of std_msgs/String messages ``(topic, seconds, text)``."""
    kind = TYPESTORE.types["std_msgs/msg/String"]
    with BagWriter(path) as writer:
        for name, qos in topics.items():
            writer.add_topic(name, "std_msgs/msg/String", qos)
        for name, seconds, text in texts:
            writer.write(name, kind(text), START_NS + round(seconds * NS))
    return path


def test_latched_messages_wait_for_late_subscribers_and_best_effort_stays_best_effort(
    graph: Graph, tmp_path: Path
) -> None:
    best_effort = qos_profile(5)._replace(reliability=QosReliability.BEST_EFFORT)
    assert best_effort.durability is QosDurability.VOLATILE
    texts = [("/fast", 0.0, "one"), ("/latched", 0.1, "weather"), ("/fast", 60.0, "never")]
    bag = strings(
        tmp_path / "bag", {"/fast": best_effort, "/latched": qos_profile(1, latched=True)}, texts
    )
    player = graph.play(bag, "--delay-s", 0)
    assert player.stdout is not None and "playing" in player.stdout.readline()
    time.sleep(0.3)
    # A latched subscription joins late and still hears.
    listener = graph.listen(
        1, {"/latched": ("std_msgs/msg/String", True), "/fast": ("std_msgs/msg/String", False)}
    )
    found, offered = heard(listener)
    assert [data for _, data in found["/latched"]] == [
        padded(data) for _, data in recorded(bag)["/latched"]
    ]
    assert offered == {
        "/latched": ("RELIABLE", "TRANSIENT_LOCAL"),
        "/fast": ("BEST_EFFORT", "VOLATILE"),
    }
    player.send_signal(signal.SIGINT)
    output, errors = player.communicate(timeout=20)
    assert player.returncode == 0 and "Traceback" not in errors
    assert "1 messages" in output  # /latched left ahead of its time, the third message never


def test_loop_begins_again_and_ends_on_sigterm(graph: Graph, tmp_path: Path) -> None:
    texts = [("/text", second / 10, str(second)) for second in range(3)]
    bag = strings(tmp_path / "bag", {"/text": qos_profile(50)}, texts)
    listener = graph.listen(7, {"/text": ("std_msgs/msg/String", False)})
    player = graph.play(bag, "--loop", "--rate", 4, "--wait-subscribers", "/text", "--delay-s", 0)
    assert player.stdout is not None
    for line in player.stdout:
        if "pass 3" in line:
            break
    player.send_signal(signal.SIGTERM)
    _, errors = player.communicate(timeout=20)
    assert player.returncode == 0 and "Traceback" not in errors
    found, _ = heard(listener)
    once = [padded(data) for _, data in recorded(bag)["/text"]]
    assert [data for _, data in found["/text"]] == [*once, *once, once[0]]


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    from occ_perception_ros.bags.play import main

    monkeypatch.setattr(sys, "argv", ["bag_play", *map(str, arguments)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    main()


def test_what_cannot_be_played_is_told(
    small_bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_nuscenes: Callable[..., Any],
) -> None:
    with pytest.raises(SystemExit, match="/nothing not in the bag; it has .*/lidar_top"):
        run_here(monkeypatch, small_bag, "--topics", "/nothing")
    with pytest.raises(SystemExit, match="/tf is not played|/nobody is not played"):
        run_here(monkeypatch, small_bag, "--wait-subscribers", "/nobody")
    with pytest.raises(SystemExit, match="does not exist; give a rosbag2 folder"):
        run_here(monkeypatch, tmp_path / "absent")
    monkeypatch.setattr("occ_perception_ros.bags.play.message_class", lambda _: None)
    with pytest.raises(SystemExit, match="none of its topics can be played"):
        run_here(monkeypatch, small_bag)


def test_without_rclpy_it_says_how_to_get_it(
    small_bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(
        SystemExit, match="rclpy cannot be imported .*pip install 'occ_perception_ros"
    ):
        run_here(monkeypatch, small_bag)
    assert issubclass(PlayError, RuntimeError)
