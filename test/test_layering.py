"""Imports go one way: training -> occ_core <- occ_perception_ros; no circles, and inside each
package only downwards.
"""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGES = ("occ_core", "occ_perception_ros", "training")
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
# Rooms of occ_core that only training needs, and the other rooms that may import each.
TRAINING_ONLY = {
    "occ_core.losses": (),
    "occ_core.preprocessing": ("occ_core.engine", "occ_core.export"),  # for masked_inputs
    "occ_core.rendering": ("occ_core.losses", "occ_core.metrics"),
}
# The floors of each package, from the ground up: a module imports from its own floor and from those
# below it. A name stands for a module or for a whole folder; the longest one that fits counts.
FLOORS = {
    "occ_core": (
        "files taxonomy voxel_grid labels",
        "types",
        "geometry ops.cpu",
        "ops datasets preprocessing",
        "rendering.cameras",
        "rendering",
        "metrics",
        # the boxes of the figure
        "backbones",
        "image_encoder view_transform lidar_encoder prompts instance_attention weather_fusion "
        "fusion adaptive_fusion volume_encoder temporal voxel_filter head ground_height "
        "baselines.halving baselines.mconet baselines.occmamba",
        "losses.cross_entropy config",
        "interface",
        "losses",
        "model baselines",
        "build",
        "checkpoint",
        "engine",
        "export.parts",
        "export.memory",
        "export.step",
        "export.program export.package export.onnx_parts",
        "export.engine",
        "export.compare",
        "export.command",
    ),
    "occ_perception_ros": (
        "ranges cdr topics rviz_config worker process transforms clouds grid_info lenses jpeg_scan "
        "jpeg_codes jpeg_runs pixel_formats image_files image_stream yaml_files throttled_log "
        "truth_scores parameter_fields launch_parameters voxel_loops lidar_lines can",
        "sensor_health",
        "sync_config",
        "synchronizer diagnostics calibration context",
        "messages markers outputs decoding",
        "bags frame_parts assembler_config",
        "assembler observation can.bag_frames can.timeline",
        "frames filters input_table publishers parameters node_config",
        "inputs monitor warm_up schema exported refinement_budget",
        "pipeline can.node",
        "node",
        "occupancy_node offline can.program",
    ),
    "training": (
        "world.style",
        "world.scene world.weather",
        "world.motion world.things world.sensors",
        "world.places world.nuscenes world.box_world",
        "world.town",
        "engines",
        "figures learning demo_parts soak_parts scoring realism_parts checking labels",
        "results make_world make_labels score_labels score_preprocessing score_real "
        "virtual_views demo recipes",
        "results.code_tables evaluate check_data ablation_tables yardsticks point_probe "
        "sensor_worth realism",
        "ship train pretrain_images benchmarks report",
        "benchmark soak gpu",
        "measure_ros ablate efficiency profile gpu_check plan",
        "cost_curves",
        "robustness",
    ),
}


def files(root: Path, *packages: str) -> list[Path]:
    return sorted(file for package in packages for file in (root / package).rglob("*.py"))


def module(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def checked_types_only(tree: ast.AST) -> set[ast.AST]:
    """The statements under ``if TYPE_CHECKING:``, which never run."""
    guards = (node for node in ast.walk(tree) if isinstance(node, ast.If))
    bodies = (node.body for node in guards if ast.unparse(node.test).endswith("TYPE_CHECKING"))
    return {inner for body in bodies for statement in body for inner in ast.walk(statement)}


def imports(file: Path, root: Path, *, that_run: bool = False) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a file imports, in functions too;
    ``that_run`` leaves out what only the type checker reads.
    """
    package = file.relative_to(root).parent.parts
    tree = ast.parse(file.read_text(), str(file))
    skipped = checked_types_only(tree) if that_run else set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join((*above, node.module) if node.module else above)
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def longest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is the longest whole-word prefix of the dotted name."""
    return max((each for each in candidates if within(name, each)), key=len, default=None)


def forbidden(importer: str, name: str) -> bool:
    top = name.split(".")[0]
    if within(importer, "occ_core") and (
        top in ("occ_perception_ros", "training", *ROS) or top.endswith("_msgs")
    ):
        return True
    if within(importer, "occ_perception_ros") and top == "training":
        return True
    room = longest(name, TRAINING_ONLY)
    return room is not None and not any(
        within(importer, allowed) for allowed in ("training", room, *TRAINING_ONLY[room])
    )


def violations(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)}:{line} imports {name}"
        for file in files(root, *PACKAGES)
        for line, name in imports(file, root)
        if forbidden(module(file, root), name)
    ]


def import_graph(root: Path) -> dict[str, dict[str, str]]:
    """By module: the modules of ours that it imports when it runs, and ``file:line`` of each."""
    modules = {module(file, root): file for file in files(root, *PACKAGES)}
    graph: dict[str, dict[str, str]] = {}
    for importer, file in modules.items():
        found = graph.setdefault(importer, {})
        for line, name in imports(file, root, that_run=True):
            imported = longest(name, modules)
            if imported is not None and imported != importer:
                found.setdefault(imported, f"{file.relative_to(root)}:{line}")
    return graph


def circle(root: Path) -> str | None:
    """One import circle as text, or None."""
    try:
        TopologicalSorter(import_graph(root)).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return None


def storey(name: str, package: str, floors: tuple[str, ...]) -> int | None:
    """The floor of a module; the package itself, which names its public face, is above all."""
    if name == package:
        return len(floors)
    height = {room: number for number, floor in enumerate(floors) for room in floor.split()}
    room = longest(name.removeprefix(package + "."), height)
    return None if room is None else height[room]


def climbs(root: Path, package: str, floors: tuple[str, ...]) -> list[str]:
    """The imports that run upwards inside a package, and its modules without a floor."""
    found = []
    for importer, imported in import_graph(root).items():
        if not within(importer, package):
            continue
        start = storey(importer, package, floors)
        folder = root / importer.replace(".", "/")
        if start is None and not folder.is_dir():
            found.append(f"{importer} has no floor in test_layering.py")
        for name, where in imported.items():
            goal = storey(name, package, floors) if within(name, package) else None
            if start is not None and goal is not None and goal > start:
                found.append(f"{where} imports {name}, which lies above it")
    return found


def test_imports_go_one_way(repository: Path) -> None:
    found = violations(repository)
    assert not found, "\n".join(found)


def test_no_imports_form_a_circle(repository: Path) -> None:
    assert circle(repository) is None


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_inside_a_package_run_downwards(package: str, repository: Path) -> None:
    found = climbs(repository, package, FLOORS[package])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_on_a_floor_exists(package: str, repository: Path) -> None:
    names = " ".join(FLOORS[package]).split()
    assert len(set(names)) == len(names)
    paths = {name: repository / package / name.replace(".", "/") for name in names}
    gone = [
        name
        for name, path in paths.items()
        if not (path.is_dir() or path.with_suffix(".py").is_file())
    ]
    assert not gone, f"no such modules in {package}: {gone}"


def write(root: Path, sources: dict[str, str]) -> None:
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_violations_are_named_with_file_and_line(tmp_path: Path) -> None:
    sources = {
        "occ_core/model.py": "import torch\nfrom rclpy.node import Node\n",
        "occ_core/types.py": "def late():\n    import sensor_msgs.msg\n",
        "occ_core/geometry/poses.py": "from ..losses import semantic\n",
        "occ_core/geometry/points.py": "import occ_core.preprocessing.sky\n",
        "occ_core/metrics/depth.py": "from occ_core.rendering.cameras import Camera\n",
        "occ_core/losses/lovasz.py": "from . import semantic\n",
        "occ_core/rendering/cameras.py": "from occ_core.losses import lovasz\n",
        "occ_perception_ros/node.py": "from occ_core import rendering\nimport training.train\n",
        "training/objective.py": "from occ_core.losses.semantic import loss\n",
    }
    write(tmp_path, sources)
    assert violations(tmp_path) == [
        "occ_core/geometry/points.py:1 imports occ_core.preprocessing.sky",
        "occ_core/geometry/poses.py:1 imports occ_core.losses.semantic",
        "occ_core/model.py:2 imports rclpy.node.Node",
        "occ_core/rendering/cameras.py:1 imports occ_core.losses.lovasz",
        "occ_core/types.py:2 imports sensor_msgs.msg",
        "occ_perception_ros/node.py:1 imports occ_core.rendering",
        "occ_perception_ros/node.py:2 imports training.train",
    ]


def test_a_circle_through_a_function_is_found(tmp_path: Path) -> None:
    # model -> head -> fusion, and fusion -> model as one of its functions runs
    write(
        tmp_path,
        {
            "occ_core/model.py": "from occ_core.head import Head\n",
            "occ_core/head.py": "from . import fusion\n",
            "occ_core/fusion.py": "def late():\n    from occ_core.model import Model\n",
        },
    )
    found = circle(tmp_path)
    assert found is not None and set(found.split(" <- ")) == {
        "occ_core.model",
        "occ_core.head",
        "occ_core.fusion",
    }


def test_what_only_the_type_checker_imports_is_no_circle(tmp_path: Path) -> None:
    guarded = "import typing\n\nif typing.TYPE_CHECKING:\n    import occ_core.model\n"
    write(tmp_path, {"occ_core/model.py": "import occ_core.head\n", "occ_core/head.py": guarded})
    assert circle(tmp_path) is None


def test_an_import_that_runs_upwards_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "occ_core/__init__.py": "from occ_core.model import Model\n",
            "occ_core/types.py": "import numpy\n",
            "occ_core/ops/sparse.py": "from occ_core.types import Frame\n\nimport occ_core.model\n",
            "occ_core/ops/cpu/splat.py": "from occ_core import Model\n",
            "occ_core/model.py": "from occ_core.ops.sparse import convolve\n",
            "occ_core/attic.py": "",
        },
    )
    floors = ("types", "ops.cpu", "ops", "model")
    assert climbs(tmp_path, "occ_core", floors) == [
        "occ_core.attic has no floor in test_layering.py",
        "occ_core/ops/cpu/splat.py:1 imports occ_core, which lies above it",
        "occ_core/ops/sparse.py:3 imports occ_core.model, which lies above it",
    ]
