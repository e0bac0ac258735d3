"""The tables of the documentation that the code itself gives, as Markdown: parameters, launch
arguments, topic presets, models, recipes, training options.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from training.results.result_tables import markdown


def parameters_table() -> str:
    """The node's parameters: name, default, whether they may change while it runs, meaning."""
    from occ_perception_ros.node_config import NodeConfig
    from occ_perception_ros.parameter_fields import parameter_fields

    rows = [
        [
            f"`{field.name}`",
            f"`{_yaml(field.default)}`",
            "yes" if field.is_dynamic else "",
            _one_line(field.text),
        ]
        for field in parameter_fields(NodeConfig)
    ]
    return markdown(["parameter", "default", "dynamic", "meaning"], rows)


def launch_table(path: Path) -> str:
    """The launch file's arguments, read from its source: ``launch`` need not be installed."""
    rows = []
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "DeclareLaunchArgument":
            given = {word.arg: word.value for word in call.keywords}
            name, default = call.args[0], given["default_value"]
            shown = f"`{ast.literal_eval(default)}`" if ast.literal_eval(default) else ""
            rows.append([f"`{ast.literal_eval(name)}`", shown, _words(given["description"])])
    return markdown(["argument", "default", "meaning"], rows)


def presets_table() -> str:
    """Where each kind of bag has the node's inputs, and the parameters that differ for it."""
    from occ_perception_ros.topics import PRESETS

    rows = [
        [
            f"`{name}`",
            preset.description,
            ", ".join(f"`{topic}`" for topic in (preset.image, preset.points, preset.odometry)),
            ", ".join(f"`{key}:={_yaml(value)}`" for key, value in preset.parameters.items()),
        ]
        for name, preset in PRESETS.items()
    ]
    return markdown(["preset", "bags", "images, points, odometry", "parameters"], rows)


def models_table() -> str:
    """The presets of the model: what their configurations say of size."""
    from occ_core.config import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        model = preset()
        encoder = model.image_encoder
        rows.append(
            [
                f"`{name}`",
                " x ".join(map(str, model.image_size)),
                f"{'-'.join(map(str, encoder.depths))}, {encoder.block}, {encoder.widths[-1]}",
                str(model.channels),
                f"{model.grid.voxel_size_m:g} m",
                _one_line(preset.__doc__ or ""),
            ]
        )
    head = ["preset", "image", "ResNet blocks, kind, width", "channels", "voxel", "for"]
    return markdown(head, rows)


def label_sets_table() -> str:
    """The label sets: number of classes, the empty one, what an absent class does to the mIoU."""
    from occ_core.labels.benchmarks import BENCHMARKS
    from occ_core.labels.sets import LABEL_SETS

    absent = {"left_out": "left out", "zero": "counts as 0", "nan": "makes it NaN"}
    rows = []
    for name, labels in LABEL_SETS.items():
        grid, frame = "any", "any"
        if name in BENCHMARKS:
            shape = " x ".join(map(str, BENCHMARKS[name].grid.shape))
            grid = f"{shape} of {BENCHMARKS[name].grid.voxel_size_m:g} m"
            frame = BENCHMARKS[name].grid_frame
        empty = f"{labels.empty} {labels.names[labels.empty]}"
        rows.append(
            [f"`{name}`", str(len(labels.occupied)), empty, absent[labels.absent], grid, frame]
        )
    head = ["label set", "classes", "empty", "a class that nothing shows", "grid", "frame"]
    return markdown(head, rows)


def protocols_table() -> str:
    """What each benchmark's own code counts and prints."""
    from occ_core.metrics.protocols import PROTOCOLS

    rows = []
    for name, protocol in PROTOCOLS.items():
        reported = ["mIoU"]
        reported += ["IoU"] * protocol.geometry
        reported += ["precision, recall"] * protocol.precision_recall
        reported += ["RayIoU"] * protocol.ray_iou
        unit = "percent" if protocol.percent else "fraction"
        digits = "not rounded" if protocol.digits is None else f"{protocol.digits} decimals"
        voxels = "in `mask_camera`" if protocol.camera_mask else "with a label"
        rows.append([f"`{name}`", voxels, ", ".join(reported), f"{unit}, {digits}"])
    return markdown(["benchmark", "voxels", "reported", "printed as"], rows)


def recipes_table() -> str:
    """The recipes, by the first sentence of each docstring."""
    from training.recipes import RECIPES

    rows = [[f"`{each.__name__}`", _one_line(each.__doc__ or "")] for each in RECIPES]
    return markdown(["recipe", "what it trains"], rows)


def options_table() -> str:
    """The options of every recipe that are not of the model, a loss or the augmentation."""
    from occ_perception_ros.parameter_fields import describe
    from training.recipes import TrainConfig

    rows = [
        [f"`--{name.replace('_', '-')}`", _one_line(text)]
        for name, _, text in describe(TrainConfig)
        if "." not in name and text
    ]
    return markdown(["option", "meaning"], rows)


def _yaml(value: Any) -> str:
    """A default as a parameter file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value) if value != "" else '""'


def _words(text: ast.expr) -> str:
    """A string of the source; the one that inserts something inserts the presets."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    constants = [each.value if isinstance(each, ast.Constant) else None for each in parts]
    return _one_line("".join(str(each or "Presets below") for each in constants))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
