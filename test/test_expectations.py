"""``docs/expectations.md``: all rows are there, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

FEATURES, FAILURES = 44, 38
PROOF = re.compile(r"(test_\w+\.py)::(test_\w+)")
# Only a ROS installation can show these by themselves: launch, colcon, RViz and TF.
NEEDS_ROS = {"features": (1, 2, 12, 40), "failures": ()}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "expectations.md").read_text()


def rows(page: str, table: str) -> list[list[str]]:
    """The cells of a table's rows, without its two lines of head."""
    block = page.partition(f"<!-- {table} -->")[2].partition(f"<!-- end of {table} -->")[0]
    lines = [line for line in block.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def functions(root: Path) -> dict[str, set[str]]:
    """The test functions of each test file by its name, which no other file has."""
    return {
        file.name: {
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        for file in (root / "test").rglob("test_*.py")
    }


def unproved(page: str, root: Path) -> list[str]:
    """Rows without a test, and tests that do not exist."""
    found = []
    for table in ("features", "failures"):
        for number, *_, proof in rows(page, table):
            named = PROOF.findall(proof)
            if PROOF.sub("", proof).strip(" ,") or not named:
                found.append(f"{table} {number}: '{proof}' is no list of tests")
            found += [
                f"{table} {number}: {file}::{test} does not exist"
                for file, test in named
                if test not in functions(root).get(file, set())
            ]
    return found


def test_every_row_is_there(page: str) -> None:
    for table, count in (("features", FEATURES), ("failures", FAILURES)):
        found = rows(page, table)
        assert [row[0] for row in found] == [str(number) for number in range(1, count + 1)]
        assert all(len(row) == 4 and all(row) for row in found)


def test_every_row_is_proved(page: str, repository: Path) -> None:
    assert not unproved(page, repository), "\n".join(unproved(page, repository))


def test_what_needs_ros_names_its_tests_and_another(page: str) -> None:
    for table, numbers in NEEDS_ROS.items():
        for row in rows(page, table):
            files = {file for file, _ in PROOF.findall(row[-1])}
            assert ("test_true_ros.py" in files) == (int(row[0]) in numbers), row
            assert files != {"test_true_ros.py"}, f"without ROS nothing shows {row}"


def test_a_proof_that_is_gone_is_noticed(page: str, repository: Path) -> None:
    edited = page.replace("test_monitor.py::test_time_that", "test_monitor.py::test_hours_that")
    edited = edited.replace("test_docs.py::test_the_readme_is_short", "it is short")
    assert unproved(edited, repository) == [
        "features 43: 'it is short' is no list of tests",
        "failures 11: test_monitor.py::test_hours_that_does_not_come_is_an_error_after_a_while "
        "does not exist",
    ]
