"""The documents: figures are the stored ones, links lead somewhere, the README stays short, and the
site builds without a network.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.report import BLOCK, SECTIONS, filled, pages, results_page

MAX_README_WORDS = 900
MAX_CELL_WORDS = 15
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What looks like a result: a percentage, points, a spread, a score, a time with a decimal point.
FIGURE = re.compile(
    r"\d ?%|(?<!\w)[+−-]\d+\.\d|± ?\d|\d\.\d+ ?(?:s|ms|cm|GiB|points?)\b|\b0\.\d{3}\b"
    r"|\b(?:[mM]?IoU|RayIoU|p50|p99|flicker) \d"
)


def prose(page: str) -> str:
    """A page without code, generated tables and the targets of its links."""
    return INLINE.sub("", LINK.sub("]", BLOCK.sub("", CODE.sub("", page))))


def figures(page: str) -> Iterator[str]:
    """Lines of the prose that state a result."""
    yield from (line for line in prose(page).splitlines() if FIGURE.search(line))


def cells(page: str) -> Iterator[str]:
    for line in CODE.sub("", page).splitlines():
        if line.startswith("|"):
            yield from line.strip("|").split("|")


def anchor(heading: str) -> str:
    """The anchor of a heading, as mkdocs and GitHub make it."""
    words = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower()).strip()
    return re.sub(r"\s+", "-", words)


def broken_links(path: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", path.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, part = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            yield f"{path.name}: {target}"
        elif part:
            headings = re.findall(r"^#+ (.*)$", CODE.sub("", file.read_text()), re.MULTILINE)
            if part not in map(anchor, headings):
                yield f"{path.name}: {target} has no such heading"


def documents(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *(root / "docs").rglob("*.md")]


def test_tables_are_those_of_the_stored_results(repository: Path) -> None:
    results = repository / "docs" / "results"
    for page in pages(repository):
        text = page.read_text()
        expected = results_page(results) if page.name == "results.md" else filled(text, results)
        assert text == expected, f"{page.name}: run `python -m training.report --write`"


def test_prose_states_no_result(repository: Path) -> None:
    """Figures stand in generated tables alone, and in the log, which says how it was that day."""
    found = [
        f"{page.name}: {line}"
        for page in pages(repository)
        if page.name != "results.md"
        for line in figures(page.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "mIoU 32.7 on towns",
        "a gain of +0.75 points",
        "flicker falls to 14 %",
        "it takes 0.39 s",
        "IoU is 0.556",
    ],
)
def test_a_result_in_prose_is_noticed(line: str) -> None:
    assert list(figures(f"Text.\n\n{line}\n"))


def test_constants_and_code_are_no_results() -> None:
    page = "With 32 beams at 20 Hz, `--rate 0.5`, voxels of 0.5 m and 1.5 for lambda.\n"
    assert not list(figures(page + "```\nmIoU 0.3\n```\n"))
    block = "<!-- table: results -->\n\n| mIoU | 32.7 % |\n\n<!-- end -->\n"
    assert not list(figures(block))


def test_a_table_that_was_edited_is_noticed(repository: Path) -> None:
    page = (repository / "README.md").read_text()
    block = BLOCK.search(page)
    assert block is not None
    edited = page.replace(block[0], re.sub(r"\d\.\d", "9.9", block[0], count=1))
    assert edited != page
    assert filled(edited, repository / "docs" / "results") == page


def test_every_stored_result_is_shown(repository: Path) -> None:
    results = repository / "docs" / "results"
    stored = {path.relative_to(results).as_posix() for path in results.rglob("*.json")}
    shown = {name for section in SECTIONS for name in (section.file, *section.also)}
    shown |= {name for name in stored if re.match(r"tiny/\w+_town_(test|weathers)\.json", name)}
    assert stored <= shown, f"no table shows {sorted(stored - shown)}"
    for name in stored:
        json.loads((results / name).read_text())


def test_the_readme_is_short(repository: Path) -> None:
    page = (repository / "README.md").read_text()
    assert len(page.split()) <= MAX_README_WORDS
    long = [cell.strip() for cell in cells(page) if len(cell.split()) > MAX_CELL_WORDS]
    assert not long, long
    limits = page.partition("## Limits")[2].partition("\n## ")[0]
    assert len(re.findall(r"^- ", limits, re.MULTILINE)) == 8
    assert "QUALITY_DECLARATION.md" in page


def test_links_lead_somewhere(repository: Path) -> None:
    found = [link for path in documents(repository) for link in broken_links(path)]
    assert not found, "\n".join(found)


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[b](b.md) [c](b.md#there-it-is) [d](b.md#gone) [e](c.md)\n")
    (tmp_path / "b.md").write_text("# There it is\n")
    assert list(broken_links(tmp_path / "a.md")) == [
        "a.md: b.md#gone has no such heading",
        "a.md: c.md",
    ]


def test_the_site_builds_strictly_and_asks_for_nothing_from_elsewhere(
    tmp_path: Path, repository: Path
) -> None:
    pytest.importorskip("material", reason="the extra 'docs' is not installed")
    shutil.copytree(repository / "docs", tmp_path / "docs")
    shutil.copy(repository / "mkdocs.yml", tmp_path)
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=tmp_path, check=True
    )
    built = list((tmp_path / "out" / "site").rglob("*.html"))
    assert len(built) >= len(list((repository / "docs").rglob("*.md")))
    remote = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
    )
    asked = [match[0] for page in built for match in remote.finditer(page.read_text())]
    assert not [tag for tag in asked if "canonical" not in tag], asked
