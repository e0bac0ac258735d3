"""Imports go one way: training -> occ_core <- occ_perception_ros."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROS = (
    "rclpy",
    "tf2_ros",
    "message_filters",
    "sensor_msgs_py",
    "launch",
    "launch_ros",
    "ament_index_python",
    "rosbag2_py",
)
TRAINING_ONLY = ("occ_core.losses", "occ_core.rendering")


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, anywhere in it; relative names made
    absolute.
    """
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, node.module) if node.module else above)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def forbidden(importer: str, name: str) -> bool:
    top = name.split(".")[0]
    if importer.startswith("occ_core/") and (
        top in ("occ_perception_ros", "training", *ROS) or top.endswith("_msgs")
    ):
        return True
    if importer.startswith("occ_perception_ros/") and top == "training":
        return True
    allowed = ("training/", "occ_core/metrics/", "occ_core/losses/", "occ_core/rendering/")
    return any(within(name, package) for package in TRAINING_ONLY) and not importer.startswith(
        allowed
    )


def violations(root: Path) -> list[str]:
    files = sorted(
        file
        for package in ("occ_core", "occ_perception_ros", "training")
        for file in (root / package).rglob("*.py")
    )
    return [
        f"{file.relative_to(root)}:{line} imports {name}"
        for file in files
        for line, name in imports(file, root)
        if forbidden(file.relative_to(root).as_posix(), name)
    ]


def test_imports_go_one_way(repository: Path) -> None:
    found = violations(repository)
    assert not found, "\n".join(found)


def test_violations_are_named_with_file_and_line(tmp_path: Path) -> None:
    sources = {
        "occ_core/model.py": "import torch\nfrom rclpy.node import Node\n",
        "occ_core/types.py": "def late():\n    import sensor_msgs.msg\n",
        "occ_core/geometry/poses.py": "from ..losses import semantic\n",
        "occ_core/metrics/depth.py": "from occ_core.rendering.cameras import Camera\n",
        "occ_core/losses/lovasz.py": "from . import semantic\n",
        "occ_perception_ros/node.py": "import occ_core\n\nfrom occ_core import rendering\nimport training.train\n",
        "training/objective.py": "from occ_core.losses.semantic import loss\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert violations(tmp_path) == [
        "occ_core/geometry/poses.py:1 imports occ_core.losses.semantic",
        "occ_core/model.py:2 imports rclpy.node.Node",
        "occ_core/types.py:2 imports sensor_msgs.msg",
        "occ_perception_ros/node.py:3 imports occ_core.rendering",
        "occ_perception_ros/node.py:4 imports training.train",
    ]
