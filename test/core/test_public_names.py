"""The package itself: its public names, and what importing it does and does not do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import occ_core


def test_every_public_name_can_be_imported():
    assert 3 <= len(occ_core.__all__) <= 8
    assert all(getattr(occ_core, name).__name__ == name for name in occ_core.__all__)


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = occ_core.Nothing


@pytest.mark.parametrize(("inherited", "expected"), [(None, "30000"), ("7", "7")])
def test_importing_it_bounds_openmp_and_does_not_load_torch(
    inherited: str | None, expected: str, repository: Path
):
    program = (
        "import os, sys, occ_core; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if inherited is not None:
        environment["GOMP_SPINCOUNT"] = inherited
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [expected, "False"]
