"""What the programs do to their own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from occ_perception_ros import process
from occ_perception_ros.process import RunningClock, use_middleware_profile

VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
SHARED_MEMORY = """
from occ_perception_ros.process import use_middleware_profile
if {use}: use_middleware_profile()
import rclpy
rclpy.init()
node = rclpy.create_node("test")
sizes = [0]
for line in open("/proc/self/maps"):
    if "/dev/shm/" in line:
        low, high = (int(address, 16) for address in line.split()[0].split("-"))
        sizes.append(high - low)
print(max(sizes))
"""


def test_a_stopped_process_does_not_miss_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(process.time, "monotonic", lambda: now_s[0])
    clock = RunningClock()
    for step_s, expected_s in ((0.01, 0.01), (0.04, 0.05), (0.9, 0.1), (0.01, 0.11)):
        now_s[0] += step_s  # at most 0.05 s of each step count
        assert clock() == pytest.approx(expected_s)
    now_s[0] += 2.0  # a stop, after which lost messages are repeated for 3.5 s
    assert clock() == pytest.approx(0.11)
    for _ in range(34):
        now_s[0] += 0.1
        assert clock() == pytest.approx(0.11)
    now_s[0] += 0.2
    assert clock() == pytest.approx(0.16)


@pytest.mark.parametrize(
    "name", [*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"], ids=lambda name: name.lower()
)
def test_a_profile_of_the_user_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "mine")
    use_middleware_profile()
    others = set(VARIABLES) - {name}
    assert os.environ[name] == "mine" and not others & os.environ.keys()


@pytest.mark.parametrize("distribution", ["jazzy", "humble"])
def test_without_one_the_packages_is_used(
    distribution: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"):
        monkeypatch.setenv(each, "")
    monkeypatch.setenv("ROS_DISTRO", distribution)
    use_middleware_profile()
    expected = [str(repository / "config" / "fastdds.xml"), ""]
    values = [os.environ[name] for name in VARIABLES]
    assert values == (expected[::-1] if distribution == "humble" else expected)


def test_it_gives_messages_more_shared_memory() -> None:
    """32 MiB for the messages of a process, of which no segment has half by default."""
    largest = {}
    for use in (False, True):
        program = SHARED_MEMORY.format(use=use)
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        # or it would map the memory of nodes that happen to run beside the tests
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        largest[use] = int(done.stdout)
    assert largest[False] < 2**24 and largest[True] >= 2**25


@pytest.mark.parametrize(("body", "expected"), [("event.wait(600)", 7), ("pass", 0)])
def test_what_does_not_end_in_time_is_ended(body: str, expected: int) -> None:
    program = f"""
import threading
from occ_perception_ros.process import ended_after
event = threading.Event()
with ended_after(0.2, 7):
    {body}
event.wait(0.5)  # longer than the time that was left
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=300)
    assert done.returncode == expected
