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
    end_process_after,
    end_process_on_stop_signal,
    ended_after,
    on_stop_signal,
    run_in_temporary_thread,
    use_middleware_profile,
)

if TYPE_CHECKING:
    from occ_perception_ros.frames import Engine
    from occ_perception_ros.node import OccupancyNode
    from occ_perception_ros.node_config import NodeConfig

CLEAN_UP_S = 1.5
"""Limit for the node's clean-up at its end. A launch kills it 5 s after Ctrl-C, and on a busy
machine the clean-up begins, and the process ends, a second late each."""

_USAGE = """usage: occupancy_node [--topics {{{presets}}}]
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
        The exit code: 0, or 1 after an error message: one line for every problem.
    """
    end_process_on_stop_signal()
    if "-h" in arguments or "--help" in arguments:
        from occ_perception_ros.topics import PRESETS

        print(_USAGE.format(presets=",".join([*PRESETS, "custom"])), end="")
        return 0
    try:
        ros_arguments = _with_preset(*_with_bag(arguments))
    except ValueError as error:
        return _fail(str(error))
    return _run_node(ros_arguments)


def load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    """Loads the model and warms up the engine; returns it with the model's image size.

    Raises:
        CheckpointError: the checkpoint is not usable.
        ExportedModelError: the exported model is not usable.
        ParameterError: the device does not exist, or the model's answers are not finite.
    """
    return run_in_temporary_thread(lambda: _load_engine(config))


def model_text(config: NodeConfig, device: str) -> str:
    """Which model answers and where, and why there if nobody asked for it."""
    model = config.exported_model or config.checkpoint or "the package's own"
    is_fallback = config.device == "auto" and device == "cpu" and not config.exported_model
    return f"model: {model}, on {device}" + (
        ", since torch and spconv find no GPU that they can use" if is_fallback else ""
    )


def _run_node(arguments: list[str]) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import remove_ros_args

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
    stopping = threading.Event()

    def stop() -> None:
        stopping.set()
        end_process_after(CLEAN_UP_S, 0)  # a transition may wait for a model that hangs

    def load(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
        end_process_on_stop_signal()
        try:
            return load_engine(config)
        finally:
            on_stop_signal(stop)

    try:
        node = OccupancyNode(load)
    except ParameterError as error:
        rclpy.try_shutdown()
        return _fail(*error.problems)
    on_stop_signal(stop)
    return _spin(node, stopping)


def _spin(node: OccupancyNode, stopping: threading.Event) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok() and not stopping.is_set() and not node.failure:
        executor.spin_once(timeout_sec=0.1)
    code = _fail(node.failure) if node.failure else 0
    with ended_after(CLEAN_UP_S, code):
        if node.stop():  # otherwise the worker still publishes and needs the publishers
            executor.shutdown(timeout_sec=0.5)
            node.destroy_node()
        rclpy.try_shutdown()
    return code


def _load_engine(config: NodeConfig) -> tuple[Engine, tuple[int, int]]:
    from rclpy.logging import get_logger

    from occ_core.checkpoint import SHIPPED
    from occ_core.engine import AnswerError, OccupancyEngine, best_device, checked_device
    from occ_core.export.engine import ExportedEngine
    from occ_perception_ros.assembler_config import check_sensors
    from occ_perception_ros.exported import load_exported
    from occ_perception_ros.parameters import ParameterError
    from occ_perception_ros.warm_up import warm_up

    try:
        device = str(best_device() if config.device == "auto" else checked_device(config.device))
    except ValueError as error:
        raise ParameterError(str(error)) from error
    engine: OccupancyEngine | ExportedEngine
    if config.exported_model:
        engine = load_exported(config)
        device = engine.model.device.type
    else:
        path = config.checkpoint or SHIPPED
        engine = OccupancyEngine.from_checkpoint(path, device, config.precision)
    get_logger("occupancy_node").info(model_text(config, device))
    try:
        check_sensors(config, engine.model.config.camera, engine.model.config.lidar)
    except ValueError as error:
        raise ParameterError(str(error)) from error
    image_size = engine.model.config.image_size
    try:
        warm_up(engine, image_size, config)
    except AnswerError as error:
        name = config.exported_model or config.checkpoint or SHIPPED
        raise ParameterError(f"model {name}: {error}") from error
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
    from occ_perception_ros.topics import PRESETS, preset_arguments

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


def _fail(*problems: str) -> int:
    """Prints what is wrong, each problem on a line of its own."""
    lines = [" ".join(problem.split()) for problem in problems]
    if len(lines) > 1:
        lines = [f"{len(lines)} problems:", *(f"  {line}" for line in lines)]
    print("occupancy_node:", "\n".join(lines), file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
