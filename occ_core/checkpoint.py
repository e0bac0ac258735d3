"""A model on disk: ``NAME.safetensors`` with the weights, and ``NAME.json`` with the configuration
and how the model was made.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dacite
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from occ_core.build import build_model
from occ_core.config import OccupancyConfig
from occ_core.interface import VoxelModel

SHIPPED = Path(__file__).parent / "checkpoints" / "tiny_town.safetensors"
"""The small model that comes with the package, trained on generated towns."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the text says why."""


def save_checkpoint(path: Path, model: VoxelModel, made_by: dict[str, Any]) -> None:
    """Writes the weights to ``path``, and the configuration to a ``.json`` file of the same name.

    Args:
        path: the file to write, with the suffix ``.safetensors``.
        made_by: how the model was made (command, seed, scores), stored with the configuration.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, path)
    description = {"config": asdict(model.config), "frame_id": "lidar", "made_by": made_by}
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def load_checkpoint(path: Path | str) -> tuple[VoxelModel, dict[str, Any]]:
    """The model in evaluation mode on the CPU, and its description (``config``, ``frame_id``,
    ``made_by``).

    Raises:
        CheckpointError: a file is missing or is not part of a checkpoint, or the weights do not fit
            the configuration.
    """
    path = Path(path)
    described = path.with_suffix(".json")
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"checkpoint '{path}' is not a .safetensors file; give the file that training wrote"
        )
    for needed in (path, described):
        if not needed.is_file():
            raise CheckpointError(
                f"checkpoint file '{needed}' does not exist; a checkpoint consists of a "
                ".safetensors file and a .json file of the same name"
            )
    try:
        description = json.loads(described.read_text())
        model = build_model(config_from_dict(description["config"]))
        if not isinstance(description["frame_id"], str):
            raise ValueError(f"frame_id must be a name, got {description['frame_id']!r}")
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"'{described}' does not describe a model of this version: {err!r}"
        ) from err
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as err:
        raise CheckpointError(
            f"the weights in '{path}' do not fit the configuration in '{described.name}': {err}"
        ) from err
    return model.eval(), description


def start_from(model: VoxelModel, path: Path | str) -> list[str]:
    """Initialises a model with the weights of a trained one that has fewer parts, such as no
    adaptive fusion or no memory.

    Where concatenation becomes the adaptive fusion, its weighted features start without influence.

    Returns:
        The names of the weights that stay as they were initialised.

    Raises:
        CheckpointError: as ``load_checkpoint``; or the trained model has a weight that the new one
            lacks, or has in another size.
    """
    trained, _ = load_checkpoint(path)
    weights, new = trained.state_dict(), model.state_dict()
    reduce = "fusion.reduce.0.weight"
    if reduce in weights and reduce in new and weights[reduce].shape[1] < new[reduce].shape[1]:
        # Eq. 1 concatenates image volume, LiDAR volume and then the two weighted ones
        wider = new[reduce].clone().zero_()
        wider[:, : weights[reduce].shape[1]] = weights[reduce]
        weights[reduce] = wider
    unfit = [
        name
        for name, weight in weights.items()
        if name not in new or new[name].shape != weight.shape
    ]
    if unfit:
        raise CheckpointError(
            f"the model in '{path}' is not contained in this one; {len(unfit)} weights do not fit, "
            f"the first is '{unfit[0]}'"
        )
    model.load_state_dict(weights, strict=False)
    return [name for name in new if name not in weights]


def config_from_dict(values: dict[str, Any]) -> OccupancyConfig:
    """The inverse of ``dataclasses.asdict``, also after JSON, which turns tuples into lists.

    Keys that are absent take their defaults.

    Raises:
        ValueError: a key is unknown, or its value has the wrong type or is out of range.
    """
    try:
        return dacite.from_dict(OccupancyConfig, values, dacite.Config(cast=[tuple], strict=True))
    except dacite.DaciteError as err:
        raise ValueError(str(err)) from err
