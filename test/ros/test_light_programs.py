"""Programs that run no model do without torch, whose import takes seconds and 200 MB."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import importlib, sys

name, *arguments = sys.argv[1:]
module = importlib.import_module(f"occ_perception_ros.{name}")
if arguments:
    sys.argv[1:] = arguments
    try:
        module.main()
    except SystemExit as end:
        assert not end.code, end.code
print("torch is", "loaded" if "torch" in sys.modules else "not loaded")
"""


def last_line(repository: Path, *arguments: str | Path) -> str:
    """What ``PROGRAM`` prints last."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["can.program", "can.node", "bags.play", "bags.player"])
def test_what_a_program_imports_is_not_torch(name: str, repository: Path) -> None:
    assert last_line(repository, name) == "torch is not loaded"


def test_a_scene_is_converted_and_checked_without_torch(
    small_drive: Path, tmp_path: Path, repository: Path
) -> None:
    bag = tmp_path / "bag"
    converted = last_line(repository, "bags.nuscenes_to_bag", small_drive, bag)
    assert converted == "torch is not loaded"
    assert last_line(repository, "bags.check", bag) == "torch is not loaded"


def test_the_shipped_model_needs_no_transformers(repository: Path) -> None:
    """Their import takes seconds and 150 MB, of which the live node has no use."""
    program = (
        "import sys; from occ_core.checkpoint import SHIPPED, load_checkpoint; "
        "load_checkpoint(SHIPPED); print('transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr


def test_torch_would_be_seen(repository: Path) -> None:
    assert last_line(repository, "frames") == "torch is loaded"
