"""Files of strangers run no code: no call in the sources could."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("occ_core", "occ_perception_ros", "training", "launch")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
"""Their files are programs."""
CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "runs text",
    "__import__": "imports by text",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "yaml.unsafe_load": "makes Python objects",
    "yaml.full_load": "makes Python objects",
    "yaml.unsafe_load_all": "makes Python objects",
    "yaml.full_load_all": "makes Python objects",
    "tarfile.open": "may write outside its folder",
    "shutil.unpack_archive": "may write outside its folder",
    "zipfile.ZipFile": "may expand to any size",
}
SAFE = {"torch.load": ("weights_only", "True"), "fabric.load": ("weights_only", "True")}
"""The argument that these need."""
LOADERS = ("yaml.SafeLoader", "_PlainLoader")
"""What ``yaml.load`` may use; the second is a subclass of the first."""
IMPORTS_BY_TEXT = {
    "occ_core/__init__.py": "the package's own names",
    "occ_perception_ros/can/install.py": "two names",
    "occ_perception_ros/bags/play.py": "rclpy",
    "occ_perception_ros/bags/player.py": "checked, see its test",
    "training/demo_parts/recorder.py": "types of topics on the demo's own domain",
}


def dangers(name: str, text: str) -> Iterator[str]:
    """Calls and imports that could run what a file holds, by line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            source = node.module if isinstance(node, ast.ImportFrom) else None
            found = {source or "", *(alias.name for alias in node.names)}
            for module in sorted({each.split(".")[0] for each in found} & MODULES):
                yield f"{name}:{node.lineno} imports {module}"
        if isinstance(node, ast.Call):
            reason = danger_of(node, name)
            if reason:
                yield f"{name}:{node.lineno} {ast.unparse(node.func)} {reason}"


def danger_of(call: ast.Call, name: str) -> str:
    """Why a call is dangerous; empty: it is not."""
    function = ast.unparse(call.func)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if function in CALLS:
        return CALLS[function]
    if given.get("shell", "False") != "False":
        return "runs a shell"
    if given.get("trust_remote_code", "False") != "False":
        return "runs a model's code"
    if given.get("allow_pickle", "False") != "False":
        return "unpickles"
    if function in SAFE:
        key, value = SAFE[function]
        return "" if given.get(key) == value else f"needs {key}={value}"
    if function in ("yaml.load", "yaml.load_all"):
        loader = given.get("Loader") or "".join(map(ast.unparse, call.args[1:2]))
        return "" if loader in LOADERS else "needs a safe loader"
    if function.split(".")[-1] == "import_module" and name not in IMPORTS_BY_TEXT:
        return "imports by text"
    return ""


def test_no_source_can_run_what_a_file_holds(repository: Path) -> None:
    found = [
        danger
        for folder in PACKAGES
        for file in sorted((repository / folder).rglob("*.py"))
        for danger in dangers(file.relative_to(repository).as_posix(), file.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "danger"),
    [
        ("import pickle", "imports pickle"),
        ("from joblib.memory import Memory", "imports joblib"),
        ("import os, shelve", "imports shelve"),
        ("eval(text)", "eval runs text"),
        ("torch.load(path)", "needs weights_only=True"),
        ("torch.load(path, weights_only=False)", "needs weights_only=True"),
        ("fabric.load(path)", "needs weights_only=True"),
        ("np.load(path, allow_pickle=True)", "unpickles"),
        ("yaml.load(text, yaml.Loader)", "needs a safe loader"),
        ("yaml.load(text, Loader=yaml.UnsafeLoader)", "needs a safe loader"),
        ("yaml.unsafe_load(text)", "makes Python objects"),
        ("subprocess.run(text, shell=True)", "runs a shell"),
        ("Model.from_pretrained(name, trust_remote_code=True)", "runs a model's code"),
        ("importlib.import_module(name)", "imports by text"),
    ],
)
def test_a_danger_is_noticed(text: str, danger: str) -> None:
    (found,) = dangers("a.py", text)
    assert found.startswith("a.py:1 ") and danger in found


def test_what_is_safe_is_not_called_dangerous() -> None:
    text = (
        "import json\ntorch.load(p, weights_only=True)\nnp.load(p)\n"
        "yaml.safe_load(t)\nyaml.load(t, yaml.SafeLoader)\nmodel.eval()\nast.literal_eval(t)\n"
        "subprocess.run([program])\n"
    )
    assert not list(dangers("a.py", text))
