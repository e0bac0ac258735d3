"""The documents name files, symbols, options and commands that the code has; their examples run."""

import ast
import dataclasses
import importlib
import inspect
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tyro

ROOT = Path(__file__).parents[1]
PACKAGES = ("occ_core", "occ_perception_ros", "training")
FOLDERS = (*PACKAGES, "launch", "config", "rviz", "test", "docs")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "QUALITY_DECLARATION.md",
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "results.md"),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*")
TOPIC = re.compile(r"~/[\w/<>]+")
# First words of a command that are not ours to check.
FOREIGN = {"cd", "git", "pip", "rosdep", "colcon"}
# Words in code spans that are not ours: formats, other programs, files and values that users give.
WORDS = re.findall(
    r"\w+",
    "bgr8 can_bus cp data db3 DATAROOT CHECKPOINT example html json lidarseg lock logdir mcap md "
    "mini nuscenes_occ nuScenes_Occupancy out points_ego points_grid pre_commit robot rosbag2 "
    "samples server sweeps tf2_msgs TFMessage trainval velocity venv",
)


class Parsed(Exception):
    """A command line was understood; what it would do is not done."""


def code(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def spans(page: Path) -> Iterator[str]:
    """Code spans outside code blocks."""
    yield from INLINE.findall(BLOCK.sub("", page.read_text()))


def commands(page: Path) -> list[list[str]]:
    """The command lines of a page, as words."""
    lines = "".join(code(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


@cache
def trees(root: Path = ROOT) -> dict[Path, ast.Module]:
    files = (file for folder in (*PACKAGES, "launch") for file in (root / folder).rglob("*.py"))
    return {file: ast.parse(file.read_text()) for file in files}


@cache
def members() -> dict[str, set[str]]:
    """Fields, methods and attributes of every class, those of its bases included."""
    own: dict[str, set[str]] = defaultdict(set)
    bases: dict[str, list[str]] = defaultdict(list)
    for tree in trees().values():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            own[node.name] |= set(defined(node))
            bases[node.name] += [ast.unparse(base).split(".")[-1] for base in node.bases]
    for name in own:
        for base in bases[name]:
            own[name] = own[name] | own.get(base, set())
    return dict(own)


def defined(node: ast.AST) -> Iterator[str]:
    """The names that a module or class defines, in the classes within it too."""
    for child in ast.walk(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            yield child.name
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            yield child.target.id
        elif isinstance(child, ast.Assign):
            yield from (target.id for target in child.targets if isinstance(target, ast.Name))


@cache
def vocabulary() -> set[str]:
    """Every name in the code: identifiers, words of its strings but docstrings, files, commands."""
    words = {*WORDS, *(part for file in ROOT.iterdir() for part in file.name.split("."))}
    for file, tree in trees().items():
        words |= {file.stem, *file.relative_to(ROOT).parts}
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        for node in (node for node in ast.walk(tree) if node not in texts):
            for name in ("id", "attr", "arg", "name", "module"):
                value = getattr(node, name, None)
                words |= set(re.findall(r"\w+", value)) if isinstance(value, str) else set()
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words |= set(re.findall(r"[\w]+", node.value))
    for text in ("Makefile", "setup.py", "package.xml", "pyproject.toml", "test/conftest.py"):
        words |= set(re.findall(r"\w+", (ROOT / text).read_text()))
    return words


def unknown_names(span: str) -> list[str]:
    """What a code span names that is not there."""
    missing = [path for path in PATH.findall(span) if not (ROOT / path.rstrip(".")).exists()]
    owner, _, member = span.partition("(")[0].partition(".")
    if owner in members() and member and member.split(".")[0] not in members()[owner]:
        missing.append(span)
    plain = re.sub(r"(?:https?://|<|>)\S*|[\w.-]*\d[\w.-]*", " ", PATH.sub(" ", span))
    words = {word.replace("-", "_") for word in re.findall(r"[A-Za-z_][\w-]{2,}", plain)}
    known = vocabulary()
    return missing + sorted(
        word for word in words if word not in known and word.removesuffix("_ms") not in known
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_spans_name_what_is_there(page: Path) -> None:
    found = [f"`{span}`: {name}" for span in spans(page) for name in unknown_names(span)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "span",
    [
        "occ_core/gone.py",
        "OccupancyConfig.gone",
        "gone_function(...)",
        "sync.gone_parameter",
        "--gone-option",
        "~/input/gone",
    ],
)
def test_a_name_that_is_gone_is_noticed(span: str) -> None:
    assert unknown_names(span)


def symbol_rows(text: str) -> Iterator[tuple[str, list[str]]]:
    """File and symbols of the rows of tables that have the columns "file" and "symbols"."""
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells or not header:
            header = cells
        elif {"file", "symbols"} <= set(header) and "`" in line:
            row = dict(zip(header, cells, strict=True))
            yield INLINE.findall(row["file"])[0], INLINE.findall(row["symbols"])


def missing_symbols(text: str) -> list[str]:
    found = []
    for file, symbols in symbol_rows(text):
        names = set(defined(trees()[ROOT / file])) if ROOT / file in trees() else set()
        gone = [symbol for symbol in symbols if not set(symbol.split(".")) <= names]
        found += [f"{file} has no {symbol}" for symbol in gone]
    return found


@pytest.mark.parametrize("name", ["tacocc", "gaussrender", "vlmfusion"])
def test_equations_lead_to_their_code(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text()
    assert len(list(symbol_rows(text))) >= 9
    assert not missing_symbols(text), missing_symbols(text)


def test_a_symbol_that_is_gone_is_noticed() -> None:
    text = (ROOT / "docs" / "tacocc.md").read_text()
    assert missing_symbols(text.replace("`ConvLSTM`", "`ConvGRU`")) == [
        "occ_core/temporal.py has no ConvGRU"
    ]
    assert missing_symbols(text.replace("occ_core/temporal.py", "occ_core/memory.py"))


def console_scripts() -> dict[str, str]:
    text = (ROOT / "setup.py").read_text().replace("{NAME}", "occ_perception_ros")
    return dict(re.findall(r'f?"(\w+) = ([\w.]+):main"', text))


def launch_arguments() -> set[str]:
    calls = (node for node in ast.walk(trees()[ROOT / "launch" / "bringup.launch.py"]))
    return {
        ast.literal_eval(node.args[0])
        for node in calls
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "DeclareLaunchArgument"
    }


def parse(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a program read its command line, and stops it there."""

    def only_parse(reader: Any) -> Any:
        def read(*args: Any, **options: Any) -> None:
            given = args[0]
            target = _arguments_of(given) if inspect.isfunction(given) else given
            reader(target, *args[1:], **options)
            raise Parsed

        return read

    program = importlib.import_module(module)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with monkeypatch.context() as patch:
        patch.setattr(tyro, "cli", only_parse(tyro.cli))
        patch.setattr(
            tyro.extras, "overridable_config_cli", only_parse(tyro.extras.overridable_config_cli)
        )
        with pytest.raises(Parsed):
            program.main()


def _arguments_of(function: Any) -> Any:
    """A function that takes the same arguments and does nothing."""

    def nothing(*args: Any, **options: Any) -> None: ...

    # inspect reads the signature there
    nothing.__wrapped__ = function  # type: ignore[attr-defined]
    nothing.__annotations__, nothing.__doc__ = function.__annotations__, function.__doc__
    return nothing


def check_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = console_scripts()
    while re.match(r"[A-Z_]+=", words[0]):  # variables of the shell
        words = words[1:]
    if words[0] == "torchrun":  # its own options, then those of python
        words = ["python", *words[words.index("-m") :]]
    if words[:2] == ["python", "-m"] and words[2].startswith("training."):
        parse(words[2], words[3:], monkeypatch)
    elif words[:3] == ["ros2", "launch", "occ_perception_ros"]:
        given = {word.partition(":=")[0] for word in words[4:] if ":=" in word}
        assert (ROOT / "launch" / words[3]).is_file() and given <= launch_arguments(), words
    elif words[:2] in (["ros2", "lifecycle"], ["ros2", "param"]):
        check_verbs(words)
    elif words[0] == "occupancy_node":
        check_node_arguments(words[1:])
    elif words[:2] == ["can_context", "--ros-args"]:
        check_can_node_arguments(words[2:])
    elif words[0] in scripts:
        parse(scripts[words[0]], words[1:], monkeypatch)
    elif words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), words
    else:
        assert words[0] in FOREIGN, words


def check_verbs(words: list[str]) -> None:
    """A transition of the node, or a parameter of it that is set."""
    fields = pytest.importorskip("occ_perception_ros.parameter_fields")
    from occ_perception_ros.node_config import NodeConfig

    assert words[2:4] == ["set", "/occupancy_node"], words
    if words[1] == "lifecycle":
        assert words[4] in ("configure", "activate", "deactivate", "cleanup", "shutdown"), words
    else:
        assert words[4] in {name for name, _, _ in fields.describe(NodeConfig)}, words


def check_node_arguments(words: list[str]) -> None:
    """Parameters, presets and remapped inputs of a command that starts the node."""
    module = pytest.importorskip("occ_perception_ros.node_config")
    from occ_perception_ros.parameter_fields import describe
    from occ_perception_ros.topics import PRESETS

    known = {name for name, _, _ in describe(module.NodeConfig)}
    for option, value in zip(words, words[1:], strict=False):
        if option == "-p":
            assert value.partition(":=")[0] in known, value
        elif option == "--topics":
            assert value in PRESETS, value
        elif option == "-r":
            assert re.match(
                r"~/input/(points|odometry|weather|region|\w+/(image|camera_info)):=", value
            )


def check_can_node_arguments(words: list[str]) -> None:
    """Parameters and the remapped input of a command that starts the CAN node."""
    module = pytest.importorskip("occ_perception_ros.can.node")
    known = {spec.name for spec in dataclasses.fields(module.CanNodeConfig)}
    for option, value in zip(words[::2], words[1::2], strict=True):
        assert option in ("-p", "-r"), option
        assert value.partition(":=")[0] in (known if option == "-p" else {"~/input/frames"}), value


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda p: p.name)
def test_commands_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in commands(page):
        check_command(words, monkeypatch)


@pytest.mark.parametrize(
    "line",
    [
        "python -m training.evaluate --data d --gone x",
        "python -m training.train gone_recipe",
        "python -m training.ablate gone_table",
        "bag_play out/bag --gone 1",
        "nuscenes_to_bag a b --gone",
        "ros2 launch occ_perception_ros bringup.launch.py gone:=1",
        "occupancy_node --ros-args -p gone:=1",
        "ros2 param set /occupancy_node gone 1",
        "ros2 lifecycle set /occupancy_node go",
        "can_context --ros-args -p gone:=1",
        "can_context drive.asc --gone 1",
        "make gone",
        "gone_script",
    ],
)
def test_a_command_that_is_gone_is_noticed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, SystemExit, ValueError, pytest.fail.Exception)):
        check_command(shlex.split(line), monkeypatch)


@pytest.mark.parametrize("example", code(ROOT / "docs" / "plugins.md", "python"))
def test_examples_run(example: str) -> None:
    exec(compile(example, "docs/plugins.md", "exec"), {})


@pytest.mark.parametrize(
    "page", [page for page in PAGES if code(page, "python")], ids=lambda p: p.name
)
def test_examples_import_what_is_there(page: Path) -> None:
    for example in code(page, "python"):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom):
                source = importlib.import_module(str(node.module))
                assert all(hasattr(source, alias.name) for alias in node.names), ast.unparse(node)
