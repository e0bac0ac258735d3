"""The command ``can_context``: a node, or a recorded drive without ROS.

With ``--ros-args`` it is the node, otherwise it reads a log or a bag.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from occ_perception_ros.bags.reader import BagError
from occ_perception_ros.can.bag_frames import bag_frames
from occ_perception_ros.can.context_decoder import CanContext
from occ_perception_ros.can.frame import CanFrame
from occ_perception_ros.can.rules_file import RulesError
from occ_perception_ros.can.sources import CanSourceError, log_frames
from occ_perception_ros.can.timeline import ContextAt, changes, timeline, written
from occ_perception_ros.process import end_process, end_process_on_stop_signal, on_stop_signal

if TYPE_CHECKING:
    from occ_perception_ros.can.node import CanContextNode

_BAG_SUFFIXES = ("", ".mcap", ".db3")


def main() -> None:
    """Runs the command."""
    if "--ros-args" in sys.argv[1:]:
        end_process(run_node(sys.argv[1:]))
    try:
        tyro.cli(_run, prog="can_context")
    except (RulesError, CanSourceError, BagError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"can_context: {error}")


def run_node(arguments: list[str]) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Returns:
        The exit code: 0, or 1 after an error message of one line.
    """
    end_process_on_stop_signal()
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    from occ_perception_ros.can.node import CanContextNode
    from occ_perception_ros.parameters import ParameterError

    command = ["can_context", *arguments]
    try:
        rclpy.init(args=command, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # the parser of --ros-args raises several classes of errors
        return _fail(str(error))
    try:
        if unknown := remove_ros_args(command)[1:]:
            return _fail(f"unknown arguments {unknown}; with --ros-args, use parameters")
        _spin(CanContextNode())
    except ParameterError as error:
        return _fail(str(error))
    finally:
        rclpy.try_shutdown()
    return 0


def _spin(node: CanContextNode) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopping = threading.Event()
    on_stop_signal(stopping.set)
    node.get_logger().info(f"ready; reading frames from {node.source}")
    while rclpy.ok() and not stopping.is_set():
        executor.spin_once(timeout_sec=0.1)
    node.stop()
    executor.shutdown(timeout_sec=0.5)
    node.destroy_node()


def _run(
    drive: tyro.conf.Positional[Path],
    rules: Path,
    topic: str | None = None,
    out: Path | None = None,
) -> None:
    """Prints weather and region over a drive, by rules for the signals on its CAN bus.

    ROS need not be installed. With --ros-args this command is a node that reads a CAN bus.

    Args:
        drive: A CAN log (.asc, .blf, .log of candump and others), or a bag with can_msgs/Frame.
        rules: YAML file of the rules; config/can_context.yaml is an example.
        topic: Topic of the frames in the bag; by default the only one.
        out: New bag for the topics /can/weather and /can/region.
    """
    context = CanContext.from_file(rules)
    entries = _checked(drive, timeline(_frames(drive, topic), context), context)
    first_ns: int | None = None
    for entry in changes(entries if out is None else written(entries, out)):
        first_ns = entry.stamp_ns if first_ns is None else first_ns
        print(_line(entry, first_ns))
    print(f"frames: {_counted(context)}")


def _checked(drive: Path, entries: Iterator[ContextAt], context: CanContext) -> Iterator[ContextAt]:
    """Passes the entries on, and refuses a drive without a signal before a bag is complete."""
    yield from entries
    if not any(context.counts.values()):
        raise CanSourceError(f"{drive} has no CAN frames")
    if not context.counts["decoded"]:
        raise CanSourceError(
            f"no frame of {drive} has a signal of the rules ({_counted(context)}); check the DBC "
            "file"
        )


def _counted(context: CanContext) -> str:
    return ", ".join(f"{count} {name}" for name, count in context.counts.items() if count)


def _frames(drive: Path, topic: str | None) -> Iterator[CanFrame]:
    if drive.suffix in _BAG_SUFFIXES:
        return bag_frames(drive, topic)
    return log_frames(drive)


def _line(entry: ContextAt, first_ns: int) -> str:
    seconds = (entry.stamp_ns - first_ns) * 1e-9
    return f"{seconds:10.3f} s  weather: {entry.weather}, region: {entry.region}"


def _fail(text: str) -> int:
    print(f"can_context: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
