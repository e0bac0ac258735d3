"""nuScenes tables of strangers: read, or refused by a documented error, and never a way out of the
data root.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.datasets.nuscenes import NuScenes

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TABLES = (
    "scene",
    "log",
    "sample",
    "sample_data",
    "calibrated_sensor",
    "sensor",
    "ego_pose",
    "category",
    "instance",
    "sample_annotation",
)
VALUES = st.one_of(
    st.sampled_from([None, -1, 10**30, 10**400, 1e308, float("nan"), "", "../x", "/etc", [], {}]),
    st.text(max_size=8),
    st.integers(),
    st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=2)), max_size=5),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_nuscenes(tmp_path_factory.mktemp("good"))


def write(root: Path, tables: dict[str, Any]) -> Path:
    folder = root / "v1.0-mini"
    folder.mkdir(exist_ok=True)
    for name, records in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(records))
    return root


def read_tables(root: Path) -> dict[str, Any]:
    files = (root / "v1.0-mini").glob("*.json")
    return {file.stem: json.loads(file.read_bytes()) for file in files}


@FUZZ
@given(data=st.data())
def test_a_changed_value_is_read_or_refused(
    data: st.DataObject, good: Path, tmp_path: Path
) -> None:
    tables = read_tables(good)
    for _ in range(data.draw(st.integers(1, 3))):
        records = tables[data.draw(st.sampled_from(TABLES))]
        if isinstance(records, list) and records:
            index = data.draw(st.integers(0, len(records) - 1))
            if isinstance(records[index], dict) and data.draw(st.booleans()):
                key = data.draw(st.sampled_from(sorted(records[index])))
                records[index][key] = data.draw(VALUES)
            else:
                records[index] = data.draw(st.one_of(VALUES, st.just(records[0])))
    try:
        for keyframe in NuScenes(write(tmp_path, tables)).keyframes():
            _ = keyframe.boxes
            for recording in (*keyframe.cameras.values(), keyframe.lidar):
                assert recording.path.resolve().is_relative_to(tmp_path.resolve())
    except (ValueError, LookupError) as error:
        assert str(error).strip("'\"")


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "a\\b", "..", "", "a\0b"])
def test_a_scene_whose_name_is_a_path_is_refused(name: str, good: Path, tmp_path: Path) -> None:
    tables = read_tables(good)
    tables["scene"][0]["name"] = name
    with pytest.raises(ValueError, match="must be a plain name, without a path"):
        NuScenes(write(tmp_path, tables))


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "samples\\..\\..\\secret", "a\0b"]
)
def test_a_recording_outside_the_data_root_is_refused(
    name: str, good: Path, tmp_path: Path
) -> None:
    tables = read_tables(good)
    for record in tables["sample_data"]:
        record["filename"] = name
    with pytest.raises(ValueError, match="must be a path within the data root"):
        NuScenes(write(tmp_path, tables)).keyframes()


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "3", "[3]", '[{"token": []}]', "\xff"])
def test_files_that_are_no_tables(text: str, good: Path, tmp_path: Path) -> None:
    root = write(tmp_path, read_tables(good))
    (root / "v1.0-mini" / "log.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"log\.json"):
        NuScenes(root)


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("category", "name", ["vehicle.car"]),
        ("category", "name", None),
        ("sensor", "channel", []),
        ("sensor", "channel", None),
        ("sample_annotation", "prev", [1.5]),
        ("sample_annotation", "next", 3),
    ],
)
def test_names_and_tokens_that_are_no_text_are_refused(
    table: str, field: str, value: Any, good: Path, tmp_path: Path
) -> None:
    tables = read_tables(good)
    tables[table][0][field] = value
    with pytest.raises(ValueError, match=rf"{table}.json: {field} of .* must be text"):
        NuScenes(write(tmp_path, tables))


@pytest.mark.parametrize("index", ["3", 256, 1.5, None, -1, []])
def test_an_index_of_a_category_that_is_none_is_refused(
    index: Any, good: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(good, tmp_path / "data")
    tables = read_tables(good)
    tables["category"][3]["index"] = index
    nuscenes = NuScenes(write(root, tables))
    words = "category.json: index of 'category3' must be a whole number"
    with pytest.raises(ValueError, match=words):
        nuscenes.read_lidarseg(nuscenes.keyframes()[0].lidar)
    with pytest.raises(ValueError, match=words):
        nuscenes.lidarseg_index(tables["category"][3]["name"])


@pytest.mark.parametrize("name", [5, "../key0.bin", None, "", "."])
def test_a_file_of_point_classes_is_named_by_a_path(name: Any, good: Path, tmp_path: Path) -> None:
    root = shutil.copytree(good, tmp_path / "data")
    tables = read_tables(good)
    tables["lidarseg"][0]["filename"] = name
    nuscenes = NuScenes(write(root, tables))
    with pytest.raises(ValueError, match="lidarseg.json: filename of 'key0' must be"):
        nuscenes.read_lidarseg(nuscenes.keyframes()[0].lidar)
