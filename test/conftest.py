"""What all tests share: executed shapes, seeds, a ROS domain of their own, the real keyframe."""

import os

# Read once, as torch is imported. OpenMP's idle threads spin while they wait; where other programs
# use the cores too, they take them from the threads that work, and steps of milliseconds take
# seconds. Two test files beside two busy loops on two cores: 68 s by default, 41 s with 30,000
# turns (what programs of this repository set), 7 s with 1,000.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Must come before the first import of occ_core: from here on, a function refuses a wrong shape.
install_import_hook("occ_core", "beartype.beartype")

REPOSITORY = Path(__file__).resolve().parents[1]


# Seeded like every other test, and no time limit an example: a busy machine is no failure.
settings.register_profile("repository", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repository")


def pytest_configure() -> None:
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    # Processes that tests start inherit these, so they hear neither another graph on this machine
    # nor a second test run. Linux has free ports for the domains 0..101; 0 is everybody's.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOCALHOST_ONLY"] = "1"  # the same for Humble


@pytest.fixture(autouse=True)
def seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The nuScenes dataroot of one real keyframe: the folder ``nuscenes`` in ``$OCC_REAL_DATA``."""
    folder = (
        Path(os.environ.get("OCC_REAL_DATA", REPOSITORY.parent / "shared" / "real")) / "nuscenes"
    )
    if not folder.is_dir():
        pytest.skip(
            f"no real keyframe at {folder}; set OCC_REAL_DATA to the folder that holds 'nuscenes'"
        )
    return folder


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP text tower of two small layers, its weights random, with a tokenizer of letters, as a
    Hugging Face folder.
    """
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz,.:;"
    pieces = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[]
    ).save_pretrained(folder)
    start, end = len(pieces) - 2, len(pieces) - 1
    config = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=160,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(0)
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder
