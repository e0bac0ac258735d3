"""The report: tables in their places, results that are missing, pages that are written again."""

from pathlib import Path

import pytest

from training import report
from training.report import SECTIONS, Section, filled, write

PAGE = "# Title\n\n<!-- table: two -->\n\nold\n\n<!-- end -->\n\nText.\n"


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "BLOCKS", {"one": lambda _: "| 1 |", "two": lambda _: "| 2 |"})


@pytest.mark.usefixtures("blocks")
def test_a_table_is_put_between_its_markers() -> None:
    page = filled(PAGE + PAGE.replace("two", "one"), Path())
    assert page == (PAGE + PAGE.replace("two", "one")).replace("old", "| 2 |", 1).replace(
        "old", "| 1 |"
    )
    assert filled(page, Path()) == page


@pytest.mark.usefixtures("blocks")
def test_an_empty_place_is_filled_and_an_unknown_table_is_named() -> None:
    assert "| 2 |" in filled("<!-- table: two -->\n<!-- end -->", Path())
    with pytest.raises(ValueError, match="no table 'three'; there are one, two"):
        filled(PAGE.replace("two", "three"), Path())


@pytest.mark.usefixtures("blocks")
def test_pages_are_written_once(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "docs" / "a.md").write_text("No table.\n")
    results = repository / "docs" / "results"
    changed = write(tmp_path, results)
    assert [path.name for path in changed] == ["README.md", "results.md"]
    assert write(tmp_path, results) == []


def test_a_section_says_what_writes_its_file(tmp_path: Path) -> None:
    section = Section("Title", "scores.json", "About.", lambda _: "| 1 |", "python -m x")
    assert section.markdown(tmp_path) == (
        "## Title\n\nAbout. Stored in `scores.json`, written by `python -m x`.\n\n*Not stored yet.*"
    )
    (tmp_path / "scores.json").write_text('{"machine": "2 cores", "command": "another"}')
    assert section.markdown(tmp_path) == (
        "## Title\n\nAbout. Measured on: 2 cores. Stored in [`scores.json`](results/scores.json), "
        "written by `python -m x`.\n\n| 1 |"
    )


def test_titles_are_unique() -> None:
    titles = [section.title for section in SECTIONS]
    assert len(set(titles)) == len(titles)
