"""The demo's child processes: none survives, and errors contain the end of the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.demo_parts.processes import ChildError, Children

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(900)"]
PATIENCE_S = 300.0
"""Limit of waits that end at once unless the machine is very busy."""


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_run_returns_its_output_and_receives_the_environment(tmp_path: Path) -> None:
    with Children(tmp_path / "logs", {"DEMO_WORD": "town"}) as children:
        output = children.run(
            "echo",
            [sys.executable, "-c", "import os; print(os.environ['DEMO_WORD'])"],
            timeout_s=PATIENCE_S,
        )
    assert output == "town\n"
    assert (tmp_path / "logs" / "echo.log").read_text() == "town\n"


def test_a_failed_run_raises_its_code_and_log(tmp_path: Path) -> None:
    with (
        Children(tmp_path, {}) as children,
        pytest.raises(ChildError, match=r"(?s)bad ended with code 3.*the reason"),
    ):
        children.run(
            "bad",
            [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"],
            timeout_s=PATIENCE_S,
        )


def test_a_child_that_dies_ends_the_wait_and_the_others(tmp_path: Path) -> None:
    script = "import time; print('cannot load', flush=True); time.sleep(0.3); raise SystemExit(1)"
    message = r"(?s)node ended with code 1 while waiting for answers.*cannot load"
    with pytest.raises(ChildError, match=message), Children(tmp_path, {}) as children:
        other = children.start("player", SLEEPS)
        children.start("node", [sys.executable, "-c", script])
        children.wait(lambda: False, "answers", timeout_s=PATIENCE_S)
    assert other.returncode is not None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
def test_the_peak_memory_of_a_child_is_known_while_it_runs(tmp_path: Path) -> None:
    """A child that fills 200 MB and frees them has used them all the same."""
    script = "b = bytearray(b'1') * 200_000_000; del b; print('up', flush=True); import time; "
    with Children(tmp_path, {}) as children:
        child = children.start("filler", [sys.executable, "-c", script + "time.sleep(900)"])
        children.wait(lambda: "up" in child.log(), "the filler", timeout_s=PATIENCE_S)
        peak_mib = child.peak_memory_mib()
    assert peak_mib is not None and 190 < peak_mib < 400
    assert child.peak_memory_mib() is None


def test_a_wait_times_out(tmp_path: Path) -> None:
    with (
        pytest.raises(ChildError, match=r"(?s)timed out after 1 s waiting for a miracle.*up"),
        Children(tmp_path, {}) as children,
    ):
        sleeper = children.start("sleeper", SLEEPS)
        children.wait(lambda: "up" in sleeper.log(), "the sleeper", timeout_s=PATIENCE_S)
        children.wait(lambda: False, "a miracle", timeout_s=1.0)
    assert sleeper.returncode is not None


def test_stop_interrupts_and_expects_success(tmp_path: Path) -> None:
    clean = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(0))\n"
        "print('up', flush=True)\n"
        "signal.pause()\n"
    )
    with Children(tmp_path, {}, grace_s=PATIENCE_S) as children:
        child = children.start("clean", [sys.executable, "-c", clean])
        children.wait(lambda: "up" in child.log(), "the handler", timeout_s=PATIENCE_S)
        children.stop(child)
        assert child.returncode == 0
        rude = children.start("rude", SLEEPS)
        children.wait(lambda: "up" in rude.log(), "the sleeper", timeout_s=PATIENCE_S)
        with pytest.raises(ChildError, match="rude ended with code"):
            children.stop(rude)  # KeyboardInterrupt is an error


def test_grandchildren_and_processes_that_ignore_signals_end_too(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "sleeper = [sys.executable, '-c', 'import time; time.sleep(900)']\n"
        "print(subprocess.Popen(sleeper).pid, flush=True)\n"
        "time.sleep(900)\n"
    )
    with Children(tmp_path, {}, grace_s=0.3) as children:
        child = children.start("deaf", [sys.executable, "-c", script])
        children.wait(lambda: child.log().endswith("\n"), "the grandchild", timeout_s=PATIENCE_S)
        grandchild = int(child.log())
        assert alive(grandchild)
    assert child.returncode == -signal.SIGKILL
    deadline = time.monotonic() + PATIENCE_S
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(grandchild)


def test_the_demo_ended_from_outside_ends_its_children(tmp_path: Path, repository: Path) -> None:
    # As in training.demo, SIGTERM becomes an exit through the `with`.
    script = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "from training.demo_parts.processes import Children\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))\n"
        "with Children(Path(sys.argv[1]), {}) as children:\n"
        "    sleeper = 'import os, time; print(os.getpid(), flush=True); time.sleep(900)'\n"
        "    child = children.start('c', [sys.executable, '-c', sleeper])\n"
        "    children.wait(lambda: child.log().endswith('\\n'), 'the sleeper', 300)\n"
        "    print(child.log(), end='', flush=True)\n"
        "    time.sleep(900)\n"
    )
    demo = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
    )
    assert demo.stdout is not None
    child = int(demo.stdout.readline())
    assert alive(child)
    demo.terminate()
    assert demo.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert not alive(child)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
