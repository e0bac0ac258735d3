"""How long torch's idle threads keep a core: told before torch is imported, or not at all."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("told", "expected"), [({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_the_package_tells_torchs_threads_before_they_are_there(
    told: dict[str, str], expected: str
) -> None:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import training, sys; assert 'torch' not in sys.modules; import torch",
        ],
        env=inherited | told | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    read = re.findall(
        r"GOMP_SPINCOUNT = '(\d+)'", done.stderr
    )  # one for each OpenMP library that is loaded
    if not read:
        pytest.skip("this torch does not use GNU OpenMP")
    assert set(read) == {expected}
