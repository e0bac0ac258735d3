"""Values of tables that other makers write, and tokens that no table has."""

import shutil
from pathlib import Path

import pytest
from faulty_folders import Break, Fault, assert_named, edit, surroundocc

from training.check_data import CheckConfig, check_data


def own_splits(text: str) -> Break:
    def break_it(root: Path) -> None:
        (root / "v1.0-mini" / "splits.json").write_text(text)

    return break_it


def valued(table: str, token: str, field: str, value: object, words: str) -> Fault:
    return Fault("surroundocc", lambda root: edit(root, table, token, **{field: value}), words)


def lost(table: str, token: str, field: str, value: object = "lost") -> Fault:
    words = f"{table}.json: {field} of 1 of .* records, such as '{token}', is a token that .* lacks"
    return valued(table, token, field, value, words)


FAULTS = {
    **{
        f"index {index!r}": valued(
            "category",
            "category3",
            "index",
            index,
            "category.json: index of 'category3' must be a whole number",
        )
        for index in ("3", 999, 1.5, None, -1, [3])
    },
    **{
        f"{field} {value!r}": valued(
            table, token, field, value, f"{table}.json: {field} of '{token}' must be text"
        )
        for table, token, field, value in (
            ("category", "category3", "name", ["vehicle.car"]),
            ("category", "category3", "name", None),
            ("sensor", "CAM_BACK", "channel", None),
            ("sensor", "CAM_BACK", "channel", ["CAM_BACK"]),
            ("sensor", "CAM_BACK", "modality", 3),
            ("lidarseg", "key0", "filename", 5),
        )
    },
    "lidarseg outside": valued(
        "lidarseg",
        "key0",
        "filename",
        "../key0.bin",
        "lidarseg.json: filename of 'key0' must be a path within the data root",
    ),
    "number as neighbour": valued(
        "sample_annotation", "key0 car", "prev", 5, "prev of record 0 must be text, got 5"
    ),
    "box before": lost("sample_annotation", "key0 car", "prev"),
    "recording after": lost("sample_data", "key3 CAM_BACK", "next"),
    "list as neighbour": lost("sample_data", "key3 CAM_BACK", "prev", ["key0 CAM_BACK"]),
    "no pose": lost("sample_data", "key3 CAM_BACK", "ego_pose_token", ""),
    "sample before": lost("sample", "key3", "prev"),
    "splits as a list": Fault(
        "surroundocc",
        own_splits("[]"),
        "splits.json must hold .*; correct it or take it away$",
        {"split": "val"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_values_of_the_wrong_kind_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_named(FAULTS[name], tmp_path / "data")


def test_neighbours_may_be_null_and_paths_may_have_back_slashes(tmp_path: Path) -> None:
    surroundocc(tmp_path)
    (tmp_path / "lidarseg").mkdir()
    shutil.move(tmp_path / "key0.bin", tmp_path / "lidarseg" / "key0.bin")
    edit(tmp_path, "lidarseg", "key0", filename="lidarseg\\key0.bin")
    edit(tmp_path, "sample_annotation", "key0 car", prev=None)
    edit(tmp_path, "sample", "key0", prev="", next="key3")
    assert check_data(CheckConfig(tmp_path)).faults == []
