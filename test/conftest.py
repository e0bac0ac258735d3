"""What every test shares: executed shapes, seeds, a ROS domain of their own, and the real keyframe."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Must come before the first import of occ_core: from here on a wrong shape fails at the function's border.
install_import_hook("occ_core", "beartype.beartype")

REPOSITORY = Path(__file__).resolve().parents[1]


# Seeded like every other test, and no time limit an example: a busy machine is no failure.
settings.register_profile("repository", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repository")


def pytest_configure() -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    # The processes that tests start inherit these, so neither another graph on this machine nor a second test run is heard.
    # Linux has free ports for the domains 0..101; 0 is everybody's.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOCALHOST_ONLY"] = "1"  # the same for Humble


@pytest.fixture(autouse=True)
def seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The nuScenes dataroot of one real keyframe: the folder ``nuscenes`` in ``$OCC_REAL_DATA``."""
    folder = Path(os.environ.get("OCC_REAL_DATA", REPOSITORY.parent / "shared" / "real")) / "nuscenes"
    if not folder.is_dir():
        pytest.skip(f"no real keyframe at {folder}; set OCC_REAL_DATA to the folder that holds 'nuscenes'")
    return folder
