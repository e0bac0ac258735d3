"""The tables of the documentation that the code itself gives, as Markdown: parameters, launch
arguments, topic presets, models, recipes, training options.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from training.results.result_tables import markdown


def parameters_table() -> str:
    """The node's parameters: name, default, meaning."""
    from occ_perception_ros.parameters import NodeConfig, describe

    rows = [
        [f"`{name}`", f"`{_yaml(default)}`", _one_line(text)]
        for name, default, text in describe(NodeConfig)
    ]
    return markdown(["parameter", "default", "meaning"], rows)


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


def recipes_table() -> str:
    """The recipes, by the first sentence of each docstring."""
    from training.recipes import RECIPES

    rows = [[f"`{each.__name__}`", _one_line(each.__doc__ or "")] for each in RECIPES]
    return markdown(["recipe", "what it trains"], rows)


def options_table() -> str:
    """The options of every recipe that are not of the model, a loss or the augmentation."""
    from occ_perception_ros.parameters import describe
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
