"""The node as a program: ``occupancy_node`` or ``ros2 run occ_perception_ros occupancy_node``.

Without a launch file, ``--topics PRESET`` connects the node to a kind of bag, and ``--bag BAG``
takes the calibration file beside the bag that will be played: ``occupancy_node --bag out/bag``.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from occ_perception_ros.process import (
    end_process,
    end_process_on_stop_signal,
    on_stop_signal,
    run_in_temporary_thread,
    use_middleware_profile,
)
from occ_perception_ros.topics import PRESETS, preset_arguments

if TYPE_CHECKING:
    from occ_perception_ros.frames import Engine
    from occ_perception_ros.node import OccupancyNode
    from occ_perception_ros.parameters import NodeConfig

_USAGE = f"""usage: occupancy_node [--topics {{{",".join([*PRESETS, "custom"])}}}]
                      [--bag BAG] [--ros-args ...]

Semantic 3D occupancy from cameras and LiDAR. `ros2 param describe` and docs/robot.md explain the
parameters. --bag BAG: for a bag that is played by another program; the calibration.yaml in its
folder is used, nothing is lost (input_qos:=reliable), and --topics is nuscenes unless given.
"""


def main() -> NoReturn:
    """Runs the program and ends the process."""
    end_process(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Returns:
        The exit code: 0, or 1 after an error message of one line.
    """
    end_process_on_stop_signal()
    if "-h" in arguments or "--help" in arguments:
        print(_USAGE, end="")
        return 0
    try:
        ros_arguments = _with_preset(*_with_bag(arguments))
    except ValueError as error:
        return _fail(str(error))
    return _run_node(ros_arguments)


def load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    """Loads the checkpoint and warms up the engine; returns it with the model's image size.

    Raises:
        CheckpointError: the checkpoint is not usable.
        ParameterError: the device does not exist, or the model's answers are not finite.
    """
    return run_in_temporary_thread(lambda: _load_engine(config))


def _run_node(arguments: list[str]) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

    from occ_core.checkpoint import CheckpointError
    from occ_core.ops.allocator import keep_freed_memory
    from occ_perception_ros.node import OccupancyNode
    from occ_perception_ros.parameters import ParameterError

    keep_freed_memory()
    use_middleware_profile()
    command = ["occupancy_node", *arguments]
    try:
        rclpy.init(args=command, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # the parser of --ros-args raises several classes of errors
        return _fail(str(error))
    if unknown := remove_ros_args(command)[1:]:
        rclpy.try_shutdown()
        return _fail(
            f"unknown arguments {unknown}; parameters and remappings follow --ros-args, see --help"
        )
    try:
        node = OccupancyNode(load_engine)
    except (ParameterError, CheckpointError) as error:
        rclpy.try_shutdown()
        return _fail(str(error))
    return _spin(node)


def _spin(node: OccupancyNode) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopping = threading.Event()
    on_stop_signal(stopping.set)
    anchor = node.config.anchor
    kind, name = ("point clouds", anchor) if node.config.lidar else ("images", f"{anchor}/image")
    topic = node.resolve_topic_name(f"~/input/{name}")
    node.get_logger().info(f"ready; waiting for {kind} on '{topic}'")
    while rclpy.ok() and not stopping.is_set() and not node.worker.given_up:
        executor.spin_once(timeout_sec=0.1)
    gave_up = node.worker.given_up
    if node.stop():  # otherwise the worker still publishes and needs the publishers
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
    rclpy.try_shutdown()
    if gave_up:
        return _fail(f"{node.config.max_failures} frames in a row failed")
    return 0


def _load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    import numpy as np
    import simplejpeg
    import torch

    from occ_core.checkpoint import SHIPPED
    from occ_core.datasets.sensors import CameraSample, frame_from_sensors
    from occ_core.engine import AnswerError, OccupancyEngine, best_device
    from occ_core.types import DriveContext
    from occ_perception_ros.assembler_config import check_sensors
    from occ_perception_ros.image_files import decode_image_file
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
    try:
        check_sensors(config, engine.model.config.camera, engine.model.config.lidar)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    height, width = image_size = engine.model.config.image_size
    camera = CameraSample(
        image=np.zeros((height, width, 3), np.uint8),
        intrinsics=np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]]),
        grid_from_camera=np.eye(4),
    )
    cameras = [camera] * len(config.cameras)
    points = np.array([[10.0, 10.0, -1.0, 10.0, 0.0]], np.float32)[: int(config.lidar)]
    decode_image_file(simplejpeg.encode_jpeg(camera.image))  # compiles the check for damage
    # The first step allocates memory and selects kernels, the second does so for the memory of
    # earlier frames. Both would otherwise delay the first frames of the drive.
    for stamp_ns in (1, 500_000_001):
        frame = frame_from_sensors(cameras, points, np.eye(4), stamp_ns, DriveContext(), image_size)
        try:
            engine.step(frame)
        except AnswerError as error:
            raise ParameterError(f"checkpoint {config.checkpoint or SHIPPED}: {error}") from error
    engine.reset("start")
    return engine, image_size


def _with_bag(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without ``--bag BAG``, and the parameters that stand for it.

    Raises:
        ValueError: the bag does not exist.
    """
    if "--bag" not in arguments:
        return arguments, []
    position = arguments.index("--bag")
    bag = Path(arguments[position + 1] if position + 1 < len(arguments) else "")
    if not bag.exists() or bag == Path():
        raise ValueError(f"--bag needs the path of a bag, got '{bag}'")
    others = arguments[:position] + arguments[position + 2 :]
    if "--topics" not in others:
        others = ["--topics", "nuscenes", *others]
    values = ["-p", "input_qos:=reliable"]
    calibration = (bag if bag.is_dir() else bag.parent) / "calibration.yaml"
    if calibration.exists():
        values += ["-p", f"calibration_file:={calibration}"]
    return others, values


def _with_preset(arguments: list[str], values_of_bag: list[str]) -> list[str]:
    """The arguments with ``--topics PRESET`` replaced by its ROS arguments.

    The other arguments have priority over the preset: rcl uses the first remapping rule that
    matches a name, and the last value of a parameter.
    """
    if "--topics" not in arguments:
        return arguments
    position = arguments.index("--topics")
    if position + 1 == len(arguments):
        raise ValueError(f"--topics needs a preset, one of {[*PRESETS, 'custom']}")
    others = arguments[:position] + arguments[position + 2 :]
    preset = preset_arguments(arguments[position + 1])[1:]
    pairs = list(zip(preset[::2], preset[1::2], strict=True))
    rules = [part for pair in pairs if pair[0] == "-r" for part in pair]
    values = [part for pair in pairs if pair[0] == "-p" for part in pair]
    return ["--ros-args", *values, *values_of_bag, "--", *others, "--ros-args", *rules]


def _fail(text: str) -> int:
    print(f"occupancy_node: {' '.join(text.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
