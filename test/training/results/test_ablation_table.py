import json
from pathlib import Path

import pytest

from training.results.ablation_table import AblationTable, TableRow, format_table

HEADER = {"command": "ablate", "data": "towns", "test": "data/test"}
ROWS = [
    TableRow("base", (), "base", 800, "aaaa"),
    TableRow("add", ("add",), "base", 800, "bbbb"),
    TableRow("memory", ("memory",), "add", 1600, "cccc"),
]


def load(folder: Path) -> AblationTable:
    return AblationTable.load(folder / "table.json", ROWS, HEADER)


def filled(folder: Path) -> AblationTable:
    table = load(folder)
    table.add("memory", 1, {"iou": 0.875})
    table.add("base", 2, {"iou": 0.25, "miou": float("nan")})
    table.add("base", 1, {"iou": 0.5, "miou": 0.125})
    table.add("add", 1, {"iou": 0.75, "miou": 0.25})
    table.save("a machine")
    return table


def test_rows_are_stored_in_their_order_and_compared(tmp_path: Path):
    base, add, memory = filled(tmp_path).document["rows"]
    assert (base["name"], base["seeds"], base["metrics"]["iou"]["mean"]) == ("base", [1, 2], 0.375)
    assert base["metrics"]["iou_over_first"]["values"] == [0.0, 0.0]
    assert add["metrics"]["iou_over_first"]["values"] == [0.75 - 0.5]
    # its reference is "add", not the first row
    assert memory["over"] == "add" and memory["steps"] == 1600
    assert memory["metrics"]["iou_over_first"]["values"] == [0.875 - 0.75]


def test_a_row_may_be_scored_before_its_reference(tmp_path: Path):
    table = load(tmp_path)
    table.add("add", 1, {"iou": 0.75})
    (add,) = table.compare()
    assert list(add["metrics"]) == ["iou"]


def test_loading_and_saving_changes_no_byte(tmp_path: Path):
    filled(tmp_path)
    before = (tmp_path / "table.json").read_bytes()
    table = load(tmp_path)
    assert table.has("base", 2) and not table.has("add", 2)
    table.save("another machine")  # nothing is new
    assert (tmp_path / "table.json").read_bytes() == before
    table.document = {"machines": ["a machine"]}  # as if the file said something else
    table.save("a machine")
    assert (tmp_path / "table.json").read_bytes() == before


def test_new_scores_replace_old_ones_and_name_their_machine(tmp_path: Path):
    filled(tmp_path)
    table = load(tmp_path)
    table.add("add", 1, {"iou": 0.5})
    table.save("another machine")
    assert load(tmp_path).scores["add"] == {1: {"iou": 0.5}}
    assert table.document["machines"] == ["a machine", "another machine"]


def test_a_new_latency_is_saved(tmp_path: Path):
    table = filled(tmp_path)
    table.latency = {"ms": {"base": 20.0}}
    table.save("a machine")
    assert load(tmp_path).latency == {"ms": {"base": 20.0}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"test": "data/other", "rows": []},
            "scored on 'data/other', not on 'data/test'; choose another --results",
        ),
        (
            {"test": "data/test", "rows": [{"name": "add", "training": "0000"}]},
            "holds 'add' from a different training; choose another --results",
        ),
        (
            {"test": "data/test", "rows": [{"name": "unknown", "training": "aaaa"}]},
            "holds 'unknown' from a different training",
        ),
    ],
)
def test_a_table_of_something_else_is_refused(
    document: dict[str, object], message: str, tmp_path: Path
):
    (tmp_path / "table.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_the_text_shows_means_differences_and_what_sets_a_row_apart(tmp_path: Path):
    title, base, add, memory = format_table(filled(tmp_path).document).splitlines()
    assert title.split() == ["IoU", "difference", "mIoU", "difference"]
    # +0.00 +- the standard error of [0, 0]
    assert base.split()[:4] == ["base", "37.50%", "+0.00", "+-0.00"]
    assert add.split() == ["add", "75.00%", "+25.00", "25.00%", "+12.50"]
    assert memory.split()[:3] == ["memory", "87.50%", "+12.50"]
    assert memory.endswith("to 'add', 1600 steps")
