"""The node's model where ``occ_export`` made it, in place of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from occ_core.export.engine import ExportedEngine
from occ_core.export.package import Description, ExportedModel, read_description
from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.parameters import ParameterError


def load_exported(config: NodeConfig) -> ExportedEngine:
    """The engine of ``config.exported_model``.

    Raises:
        ExportedModelError: its files are missing or damaged, or of another version of torch.
        ParameterError: other parameters do not fit it.
    """
    path = Path(config.exported_model)
    problems = mismatches(config, read_description(path))
    if problems:
        raise ParameterError(*problems)
    return ExportedEngine(ExportedModel(path))


def mismatches(config: NodeConfig, exported: Description) -> list[str]:
    """What parameters ask for that an exported model cannot do, since it is decided in it."""
    problems = []
    if len(config.cameras) != exported.cameras:
        problems.append(
            f"exported_model takes {exported.cameras} cameras, but cameras names "
            f"{len(config.cameras)}; run occ_export --cameras {len(config.cameras)}"
        )
    for name, asked, decided in (
        ("device", config.device, exported.device),
        ("precision", config.precision, exported.precision),
    ):
        if asked not in ("auto", decided):
            problems.append(
                f"exported_model was made for {name} {decided}, but {name} is {asked}; leave it at "
                f"auto, or run occ_export --{name} {asked}"
            )
    return problems
