"""Checkpoints of strangers: refused by one error, before memory is taken for what they claim."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_core.build import build_model
from occ_core.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from occ_core.config import debug

MORE_BYTES = 4 * 2**30
FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VALUES = st.one_of(
    st.sampled_from([None, 0, -1, 10**9, 10**30, 10**400, 1e-300, 1e300, "x", [], {}, True]),
    st.floats(),
    st.integers(),
    st.lists(st.integers(0, 10**6), max_size=6),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """The weights' file and the description of a good checkpoint."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, build_model(debug()), {})
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Allows four more gigabytes of addresses."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def write(folder: Path, weights: bytes, description: str) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(weights)
    path.with_suffix(".json").write_text(description)
    return path


def places(config: Any, found: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys on the way to every value that is no mapping."""
    if not isinstance(config, dict):
        return [found]
    return [place for key, value in config.items() for place in places(value, (*found, key))]


@FUZZ
@given(data=st.data())
def test_a_changed_configuration_is_refused_or_equal(
    data: st.DataObject, saved: tuple[bytes, dict[str, Any]], tmp_path: Path
) -> None:
    weights, description = saved
    changed = json.loads(json.dumps(description))
    *way, last = data.draw(st.sampled_from(places(changed["config"])))
    entry = changed["config"]
    for key in way:
        entry = entry[key]
    entry[last] = data.draw(VALUES)
    path = write(tmp_path, weights, json.dumps(changed))
    try:
        model, _ = load_checkpoint(path)
    except CheckpointError as error:
        assert "model" in str(error)
    else:  # a value that changes no weight, such as a range
        assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 10**6},
        {"channels": 10**15},
        {"grid": {"range_m": [-4e6, -4e6, -4.0, 4e6, 4e6, 4.0], "voxel_size_m": 0.5}},
    ],
    ids=["wide", "absurd", "grid"],
)
def test_a_model_that_would_fill_the_memory_is_refused(
    change: dict[str, Any], saved: tuple[bytes, dict[str, Any]], tmp_path: Path
) -> None:
    weights, description = saved
    assert change.keys() <= description["config"].keys()
    changed = {**description, "config": {**description["config"], **change}}
    with pytest.raises(CheckpointError):
        load_checkpoint(write(tmp_path, weights, json.dumps(changed)))


@FUZZ
@given(data=st.data())
def test_damaged_weights_are_refused(
    data: st.DataObject, saved: tuple[bytes, dict[str, Any]], tmp_path: Path
) -> None:
    weights, description = saved
    content = bytearray(weights)
    header_bytes = int.from_bytes(weights[:8], "little")
    at = data.draw(st.integers(0, header_bytes))
    piece = data.draw(st.binary(min_size=1, max_size=8))
    content[at : at + len(piece)] = piece
    del content[data.draw(st.sampled_from([len(content), 4, 100, header_bytes + 20])) :]
    path = write(tmp_path, bytes(content), json.dumps(description))
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert "model" in str(error)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "null", '{"config": 1}', "\0", ""])
def test_descriptions_that_are_none(
    text: str, saved: tuple[bytes, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="does not describe a model"):
        load_checkpoint(write(tmp_path, saved[0], text))
