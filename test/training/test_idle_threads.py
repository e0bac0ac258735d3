"""How long torch's idle threads spin: set before torch is imported, or not at all."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "user"),
    [
        ("occ_core", {}),
        ("occ_perception_ros", {}),
        ("training", {}),
        ("training", {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_a_package_bounds_the_spinning_unless_the_user_has_done_so(
    package: str, user: dict[str, str]
) -> None:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))
    }
    code = f"import {package}, sys; assert 'torch' not in sys.modules; import torch"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | user | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    # once for each OpenMP library that is loaded
    found = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if not found:
        pytest.skip("this torch does not use GNU OpenMP")
    assert set(found) == {user.get("GOMP_SPINCOUNT", "30000")}
