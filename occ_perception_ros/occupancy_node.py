"""The node as a program: ``occupancy_node`` or ``ros2 run occ_perception_ros occupancy_node``.

Without a launch file, ``--topics PRESET`` connects the node to a kind of bag, e.g.
``occupancy_node --topics nuscenes --ros-args -p calibration_file:=bag/calibration.yaml``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

from occ_perception_ros.topics import PRESETS, preset_arguments

if TYPE_CHECKING:
    from occ_perception_ros.frames import Engine
    from occ_perception_ros.parameters import NodeConfig

_USAGE = f"""usage: occupancy_node [--topics {{{",".join([*PRESETS, "custom"])}}}] [--ros-args ...]

Semantic 3D occupancy of cameras and LiDAR. Parameters: ros2 param list /occupancy_node, or README.
"""


def main() -> NoReturn:
    """The program: ``run``, and then the end of the process."""
    code = run(sys.argv[1:])
    # Everything is closed. Taking torch and DDS apart costs another second of processor time, on a
    # busy machine more than a
    # launch waits after Ctrl-C before it kills.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Runs the node until SIGINT or SIGTERM; the process's exit code: 0, or 1 after one line of
    reason.
    """
    # Imports and weights take seconds, on a busy machine longer than a launch waits before it
    # kills. Until the node spins
    # there is nothing to tidy up: Ctrl-C ends the program at once.
    _on_signal(lambda: os._exit(0))
    if "-h" in arguments or "--help" in arguments:
        print(_USAGE, end="")
        return 0
    try:
        ros_arguments = _with_preset(arguments)
    except ValueError as error:
        return _fail(str(error))
    return _spin(ros_arguments)


def _spin(arguments: list[str]) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    from occ_core.checkpoint import CheckpointError
    from occ_core.ops.allocator import keep_freed_memory
    from occ_perception_ros.node import OccupancyNode
    from occ_perception_ros.parameters import ParameterError

    keep_freed_memory()
    try:
        rclpy.init(
            args=["occupancy_node", *arguments], signal_handler_options=SignalHandlerOptions.NO
        )
    except Exception as error:  # rcl's parser of --ros-args has several classes of errors
        return _fail(str(error))
    if unknown := remove_ros_args(["occupancy_node", *arguments])[1:]:
        rclpy.try_shutdown()
        return _fail(
            f"unknown arguments {unknown}; parameters and remappings follow --ros-args, see --help"
        )
    try:
        node = OccupancyNode(load_engine)
    except (ParameterError, CheckpointError) as error:
        rclpy.try_shutdown()
        return _fail(str(error))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopping = threading.Event()
    _on_signal(stopping.set)
    node.get_logger().info(
        f"ready; waiting for point clouds on '{node.resolve_topic_name('~/input/points')}'"
    )
    while rclpy.ok() and not stopping.is_set() and not node.worker.given_up:
        executor.spin_once(timeout_sec=0.1)
    gave_up = node.worker.given_up
    ended = node.stop()
    if ended:  # while the worker still publishes, its publishers must live
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
    rclpy.try_shutdown()
    if gave_up:
        return _fail(f"{node.config.max_failures} frames in a row failed")
    return 0


def _on_signal(action: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    """The engine of the configured checkpoint, warmed up, and its image size.

    Raises:
        CheckpointError: the checkpoint is not usable.
        ParameterError: the device is not there.
    """
    # A thread that ends: OpenMP gives every thread that computes helpers of its own, and where they
    # all are more than the
    # processor's cores they sleep between two operations instead of waiting awake. The worker would
    # take twice the time.
    with ThreadPoolExecutor(max_workers=1) as passing:
        return passing.submit(_load_engine, config).result()


def _load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    import numpy as np
    import torch

    from occ_core.checkpoint import SHIPPED
    from occ_core.datasets.frames import frame_from_sensors
    from occ_core.engine import OccupancyEngine, best_device
    from occ_core.types import DriveContext
    from occ_perception_ros.parameters import ParameterError

    device = config.device
    if device == "auto":
        device = best_device().type
    elif device.startswith("cuda"):
        count = torch.cuda.device_count()
        if (torch.device(device).index or 0) >= count:
            raise ParameterError(
                f"device is '{device}', but torch sees {count} CUDA devices; use device:=cpu"
            )
    engine = OccupancyEngine.from_checkpoint(config.checkpoint or SHIPPED, device, config.precision)
    height, width = image_size = engine.model.config.image_size
    cameras = len(config.cameras)
    images = [np.zeros((height, width, 3), np.uint8)] * cameras
    intrinsics = [np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]])] * cameras
    points = np.array([[10.0, 10.0, -1.0, 10.0, 0.0]], np.float32)
    poses = [np.eye(4)] * cameras
    # The first step allocates and picks kernels, the second those of the memory: better now than in
    # the drive's first frames.
    for stamp_ns in (1, 500_000_001):
        engine.step(
            frame_from_sensors(
                images, intrinsics, poses, points, np.eye(4), stamp_ns, DriveContext(), image_size
            )
        )
    engine.reset("start")
    return engine, image_size


def _with_preset(arguments: list[str]) -> list[str]:
    """The arguments with ``--topics PRESET`` turned into remapping rules; what the command line
    says beside it wins.
    """
    if "--topics" not in arguments:
        return arguments
    position = arguments.index("--topics")
    if position + 1 == len(arguments):
        raise ValueError(f"--topics needs a preset, one of {[*PRESETS, 'custom']}")
    others = arguments[:position] + arguments[position + 2 :]
    preset = preset_arguments(arguments[position + 1])
    # rcl takes the first rule that matches a name, and the last value of a parameter.
    rules = [part for i, part in enumerate(preset) if part == "-r" or (i and preset[i - 1] == "-r")]
    values = [
        part for i, part in enumerate(preset) if part == "-p" or (i and preset[i - 1] == "-p")
    ]
    return ["--ros-args", *values, "--", *others, "--ros-args", *rules]


def _fail(text: str) -> int:
    print(f"occupancy_node: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
