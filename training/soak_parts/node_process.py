"""The node as a process of the soak: how it is started, watched and ended."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

from training.demo_parts.processes import Child, Children

_POLL_S = 0.005
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
_END_S = 60.0
"""After this the node is taken to hang."""


def start_node(children: Children, calibration: Path, is_stub: bool, name: str = "node") -> Child:
    """Starts the node.

    Args:
        children: owns the process.
        calibration: the drive's calibration file.
        is_stub: whether a quick engine takes the place of the shipped model.
        name: of the process's log.
    """
    module = "training.soak_parts.stub_node" if is_stub else "occ_perception_ros.occupancy_node"
    values = {
        "calibration_file": calibration.resolve(),
        "input_qos": "reliable",
        "use_sim_time": "true",
        "max_failures": 1000,  # damaged clouds may come for longer than the default allows
    }
    parameters = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    return children.start(name, [sys.executable, "-m", module, "--ros-args", *parameters])


def has_begun(child: Child) -> bool:
    """Whether the program handles SIGTERM, which Python by itself does not: its first lines have
    run.
    """
    try:
        status = Path(f"/proc/{child.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def is_ready(child: Child) -> bool:
    """Whether the node waits for sensor data."""
    return "ready;" in child.log()


def memory_mib(child: Child) -> float:
    """Resident memory of a process; 0 once it has ended."""
    try:
        pages = Path(f"/proc/{child.pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return int(pages) * _PAGE_MIB


def interrupt(child: Child, again_s: float | None = None) -> tuple[int | None, float]:
    """Sends SIGINT and waits for the end; returns exit code and time in seconds.

    Args:
        child: the process.
        again_s: send it a second time, so long after the first; None: do not.

    Returns:
        The exit code, None if the process had to be killed; and the time from the first SIGINT.
    """
    started_s = time.monotonic()
    child.signal(signal.SIGINT)
    while child.returncode is None:
        elapsed_s = time.monotonic() - started_s
        if again_s is not None and elapsed_s >= again_s:
            child.signal(signal.SIGINT)
            again_s = None
        if elapsed_s > _END_S:
            child.signal(signal.SIGKILL)
            return None, elapsed_s
        time.sleep(_POLL_S)
    return child.returncode, time.monotonic() - started_s
