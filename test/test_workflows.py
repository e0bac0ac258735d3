"""The workflow for the containers of ROS 2: it parses, and what it runs exists."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def job(repository: Path) -> Any:
    content = yaml.safe_load((repository / ".github" / "workflows" / "ros.yml").read_text())
    return content["jobs"]["colcon"]


def test_every_distribution_has_its_container(job: Any) -> None:
    assert job["strategy"]["matrix"]["distribution"] == ["humble", "jazzy", "rolling"]
    assert job["container"] == "ros:${{ matrix.distribution }}-ros-base"


def test_it_builds_and_tests_what_is_there(job: Any, repository: Path) -> None:
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    for command in ("rosdep install", "colcon build", "colcon test", "colcon test-result"):
        assert command in commands
    paths = re.findall(r"test/[\w./]+", commands)
    assert "test/true_ros/run.sh" in paths and all((repository / path).exists() for path in paths)
    assert os.access(repository / "test" / "true_ros" / "run.sh", os.X_OK)
    # Extras that pip is asked for are those of setup.py.
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', commands)
    setup = (repository / "setup.py").read_text()
    assert all(f'"{name}": ' in setup for name in extras.split(","))
