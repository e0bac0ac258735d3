"""The rules of the house that a script can check; CONTRIBUTING.md gives their reasons."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("occ_core", "occ_perception_ros", "training")
FOLDERS = (*PACKAGES, "launch", "test")
MAX_ROOT_FILES = 24
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_COLUMNS = 100
HANGING = ("Of ", "Their ", "Those ")  # they lean on a name that stands elsewhere
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources(root: Path, *folders: str) -> Iterator[tuple[str, str]]:
    """Path from the root and text of every Python file."""
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            yield file.relative_to(root).as_posix(), file.read_text()


def long_lines(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{name}:{number} has {len(line)} columns"


def long_functions(name: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno} {node.name} has {lines} lines"


def documented(tree: ast.Module) -> Iterator[tuple[ast.AST, str, bool]]:
    """Public functions, classes and methods with their docstrings, and whether one is required:
    small methods may speak for themselves.
    """
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for owner in (tree, *(node for node in classes if not node.name.startswith("_"))):
        for node in owner.body:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
                overload = "overload" in map(ast.unparse, node.decorator_list)
                yield node, ast.get_docstring(node) or "", owner is tree and not overload


def poor_docstrings(name: str, text: str) -> Iterator[str]:
    for node, docstring, required in documented(ast.parse(text)):
        summary = " ".join(docstring.partition("\n\n")[0].split())
        if required and not docstring:
            yield f"{name}:{node.lineno} {node.name} has no docstring"
        elif docstring and not summary.endswith((".", ":", "?")):
            yield f"{name}:{node.lineno} {node.name}: the summary has no end: '{summary}'"
        elif summary.startswith(HANGING):
            yield f"{name}:{node.lineno} {node.name}: the summary leans on nothing: '{summary}'"


def twice_named(files: list[tuple[str, str]]) -> list[str]:
    """Class names that stand for more than one class."""
    places = defaultdict(list)
    for name, text in files:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    return [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]


def test_the_root_of_occ_core_holds_the_figure_alone(repository: Path) -> None:
    names = sorted(file.name for file in (repository / "occ_core").glob("*.py"))
    assert len(names) <= MAX_ROOT_FILES, names


def test_files_are_short(repository: Path) -> None:
    lines = {name: len(text.splitlines()) for name, text in sources(repository, *FOLDERS)}
    found = [f"{name} has {count} lines" for name, count in lines.items() if count > MAX_FILE_LINES]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", [long_lines, long_functions])
def test_lines_and_functions_are_short(rule, repository: Path) -> None:
    found = [each for source in sources(repository, *FOLDERS) for each in rule(*source)]
    assert not found, "\n".join(found)


def test_public_names_have_docstrings(repository: Path) -> None:
    found = [each for source in sources(repository, *PACKAGES) for each in poor_docstrings(*source)]
    assert not found, "\n".join(found)


def test_a_class_name_stands_for_one_class(repository: Path) -> None:
    found = twice_named(list(sources(repository, *PACKAGES)))
    assert not found, "\n".join(found)


def test_what_breaks_a_rule_is_named() -> None:
    text = (
        "class View:\n"
        '    """What a camera\n    sees"""\n'
        "    def drawn(self): return 2\n"
        "class _Hidden:\n    def drawn(self): return 3\n"
        "def paint(): return 4\n"
        'def draw():\n    """Draws."""\n' + "    x = 1\n" * 59 + "y = '" + "z" * 96 + "'\n"
    )
    assert list(poor_docstrings("a.py", text)) == [
        "a.py:1 View: the summary has no end: 'What a camera sees'",
        "a.py:7 paint has no docstring",
    ]
    # def, docstring and 59 assignments: 61 lines
    assert list(long_functions("a.py", text)) == ["a.py:8 draw has 61 lines"]
    # 5 characters, 96 letters and a quote
    assert list(long_lines("a.py", text)) == ["a.py:69 has 102 columns"]
    assert twice_named([("a.py", text), ("b.py", "class View: ...")]) == ["View: a.py:1, b.py:1"]
