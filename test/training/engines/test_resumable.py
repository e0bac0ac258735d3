import importlib
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from training.engines.resumable import done_path, finish_drives
from training.labels.drive import LabelDrive, LoadDrive

NAMES = ("a", "b", "c")
# The workers are processes of their own, which import what they run.
TASKS = '''
import os
import signal


def label(out, load):
    """Notes that the drive was labelled, in a file to which every call adds a letter."""
    with (out / f"{load().name}.calls").open("a") as file:
        file.write("x")
    return {"keyframes": 2, "points": 100}


def label_but_die_once(out, load):
    if load().name == "b" and not (out / "died").exists():
        (out / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return label(out, load)


def die(out, load):
    os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "label_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("label_tasks")


def drives() -> dict[str, LoadDrive]:
    return {name: partial(LabelDrive, name, "", (), (), ()) for name in NAMES}


def test_every_drive_is_labelled_once_and_complete_ones_are_not_made_again(
    tmp_path: Path, tasks: ModuleType
) -> None:
    counts = finish_drives(tmp_path, "surroundocc", drives(), tasks.label, workers=2)
    # three drives of 2 keyframes and 100 points
    assert (counts["drives"], counts["keyframes"], counts["points"]) == (3, 6, 300)
    done_path(tmp_path, "surroundocc", "b").unlink()
    counts = finish_drives(tmp_path, "surroundocc", drives(), tasks.label, workers=1)
    assert counts["drives"] == 1
    assert [len((tmp_path / f"{name}.calls").read_text()) for name in NAMES] == [1, 2, 1]


def test_a_worker_that_is_killed_costs_no_drive(tmp_path: Path, tasks: ModuleType) -> None:
    finish_drives(tmp_path, "surroundocc", drives(), tasks.label_but_die_once, workers=2)
    assert (tmp_path / "died").exists()
    assert all(done_path(tmp_path, "surroundocc", name).is_file() for name in NAMES)
    assert all((tmp_path / f"{name}.calls").read_text() for name in NAMES)


def test_workers_that_always_die_end_the_run_with_advice(tmp_path: Path, tasks: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="use fewer than 2 workers"):
        finish_drives(tmp_path, "surroundocc", drives(), tasks.die, workers=2)
    assert not done_path(tmp_path, "surroundocc", "a").exists()
