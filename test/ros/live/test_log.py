"""What the live node writes to the log, on rclpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import Log


def test_a_healthy_drive_writes_nothing(graph: Callable[..., Any]) -> None:
    # a name of its own: rcl stops sending a node's lines to /rosout when another node of its name,
    # such as one that an earlier test has left to the garbage collector, comes to its end
    live = graph(namespace="/healthy")
    lines = live.listen(Log, "/rosout")
    live.connect()

    def has(text: str) -> bool:
        return any(line.msg == text for line in lines)

    def heard() -> bool:
        live.node.get_logger().info("before the drive")
        live.executor.spin_once(timeout_sec=0.02)
        return has("before the drive")

    live.until(heard, "line of the log")
    live.play()
    live.node.get_logger().info("after the drive")
    live.until(lambda: has("after the drive"), "line of the log")
    assert live.counts() == (3, 3, 0)
    own = [line.msg for line in lines if line.name == live.node.get_logger().name]
    assert set(own) == {"before the drive", "after the drive"}
