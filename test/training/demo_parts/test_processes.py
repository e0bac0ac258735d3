"""The demo's child processes: none survives, failures are told with the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.demo_parts.processes import ChildError, Children

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_run_gives_its_output_and_the_environment_is_handed_on(tmp_path: Path) -> None:
    with Children(tmp_path / "logs", {"DEMO_WORD": "town"}) as children:
        output = children.run(
            "echo",
            [sys.executable, "-c", "import os; print(os.environ['DEMO_WORD'])"],
            timeout_s=20,
        )
    assert output == "town\n"
    assert (tmp_path / "logs" / "echo.log").read_text() == "town\n"


def test_a_failed_run_tells_code_and_log(tmp_path: Path) -> None:
    with (
        Children(tmp_path, {}) as children,
        pytest.raises(ChildError, match=r"(?s)bad ended with code 3.*the reason"),
    ):
        children.run(
            "bad", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], timeout_s=20
        )


def test_a_child_that_dies_ends_the_wait_and_the_others(tmp_path: Path) -> None:
    script = "import time; print('cannot load', flush=True); time.sleep(0.3); raise SystemExit(1)"
    told = r"(?s)node ended with code 1 while waiting for answers.*cannot load"
    with pytest.raises(ChildError, match=told), Children(tmp_path, {}) as children:
        other = children.start("player", SLEEPS)
        children.start("node", [sys.executable, "-c", script])
        children.wait(lambda: False, "answers", timeout_s=20)
    assert other.returncode is not None


def test_a_wait_ends_in_time(tmp_path: Path) -> None:
    with (
        pytest.raises(ChildError, match=r"(?s)waited 1 s in vain for a miracle.*up"),
        Children(tmp_path, {}) as children,
    ):
        sleeper = children.start("sleeper", SLEEPS)
        children.wait(lambda: False, "a miracle", timeout_s=1.0)
    assert sleeper.returncode is not None


def test_stop_interrupts_and_expects_success(tmp_path: Path) -> None:
    clean = "import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
    with Children(tmp_path, {}) as children:
        child = children.start("clean", [sys.executable, "-c", clean])
        children.wait(lambda: "up" in child.log(), "the handler", timeout_s=20)
        children.stop(child)
        assert child.returncode == 0
        rude = children.start("rude", SLEEPS)
        children.wait(lambda: "up" in rude.log(), "the sleeper", timeout_s=20)
        with pytest.raises(ChildError, match="rude ended with code"):
            children.stop(rude)  # Python's own end on SIGINT is a failure


def test_grandchildren_and_the_deaf_end_too(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, "
        "signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, "
        "flush=True)\n"
        "time.sleep(60)\n"
    )
    with Children(tmp_path, {}, grace_s=0.3) as children:
        child = children.start("deaf", [sys.executable, "-c", script])
        children.wait(lambda: child.log().endswith("\n"), "the grandchild", timeout_s=20)
        grandchild = int(child.log())
        assert alive(grandchild)
    assert child.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(grandchild)


def test_the_demo_ended_from_outside_ends_its_children(tmp_path: Path, repository: Path) -> None:
    # As training.demo does it: SIGTERM becomes an exit through the `with`.
    script = (
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "from training.demo_parts.processes import Children\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))\n"
        "with Children(Path(sys.argv[1]), {}) as children:\n"
        "    sleeper = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "    child = children.start('c', [sys.executable, '-c', sleeper])\n"
        "    children.wait(lambda: child.log().endswith('\\n'), 'it', 20)\n"
        "    print(child.log(), end='', flush=True)\n"
        "    time.sleep(60)\n"
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
    assert demo.wait(20) == 128 + signal.SIGTERM
    assert not alive(child)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
