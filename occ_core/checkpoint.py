"""A model on disk: ``NAME.safetensors`` with the weights, and ``NAME.json`` with the configuration
and how the model was made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import dacite
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from occ_core.build import build_model
from occ_core.config import OccupancyConfig
from occ_core.interface import VoxelModel
from occ_core.volume_encoder import ResidualBlock

SHIPPED = Path(__file__).parent / "checkpoints" / "image_context_streets.safetensors"
"""The small model that comes with the package, trained on generated towns."""


_GROWING = ("fusion.reduce.0.weight", "head.refine.0.weight")
"""Weights whose new inputs come after the trained ones: Eq. 1 of TACOcc concatenates image volume,
LiDAR volume and then the two weighted ones; the head's last features are heights.
"""


_MAX_BUFFER_BYTES = 2**32
_MAX_VOXELS = 2**28


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
    description = {
        "config": asdict(model.config),
        "frame_id": model.config.grid_frame,
        "made_by": made_by,
    }
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
        config = config_from_dict(description["config"])
        _check_weights(path, config)
        model = build_model(config)
        if not isinstance(description["frame_id"], str):
            raise ValueError(f"frame_id must be a name, got {description['frame_id']!r}")
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as err:
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


def checkpoint_id(path: Path | str) -> str:
    """File name and SHA-256 of a checkpoint's weights, which tell it apart in whatever folder."""
    path = Path(path)
    return f"{path.name} sha256:{sha256(path.read_bytes()).hexdigest()}"


def start_from(model: VoxelModel, path: Path | str, without: Sequence[str] = ()) -> list[str]:
    """Initialises a model with the weights of a trained one that has fewer parts, such as no
    adaptive fusion or no memory.

    What the new model adds starts without influence where it joins trained weights: further inputs
    of the fusion and of the head, and further residual blocks of the volume encoder.

    Args:
        without: parts of the trained model that are not taken over, such as ``image_encoder`` where
            the new one is another, or parts of these, such as ``head.filter``.

    Returns:
        The names of the weights that stay as they were initialised.

    Raises:
        CheckpointError: as ``load_checkpoint``; the trained model has no part of such a name; or it
            has a weight that the new one lacks, or has in another size.
    """
    trained, _ = load_checkpoint(path)
    parts = [name for name, _ in trained.named_children()]
    modules = {name for name, _ in trained.named_modules() if name}
    unknown = [name for name in without if name not in modules]
    if unknown:
        raise CheckpointError(
            f"the model in '{path}' has no part named '{unknown[0]}' to leave out; its parts are "
            f"{', '.join(parts)}"
        )
    weights = {
        name: weight
        for name, weight in trained.state_dict().items()
        if not name.startswith(tuple(f"{part}." for part in without))
    }
    new = model.state_dict()
    for name in _GROWING:
        if name in weights and name in new and weights[name].shape[1] < new[name].shape[1]:
            wider = new[name].clone().zero_()
            wider[:, : weights[name].shape[1]] = weights[name]
            weights[name] = wider
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
    for name, block in model.named_modules():
        if isinstance(block, ResidualBlock) and not any(key.startswith(name) for key in weights):
            block.start_as_identity()
    model.load_state_dict(weights, strict=False)
    return [name for name in new if name not in weights]


def _check_weights(path: Path, config: OccupancyConfig) -> None:
    """Compares the file's header with the configuration before memory is taken for the model, which
    a damaged or malicious configuration could make of any size.

    Raises:
        CheckpointError: the weights have other names or sizes, or the model has other large parts.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # the file itself cannot be iterated
            stored = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as err:
        raise CheckpointError(f"'{path}' is not a file of weights: {err}") from err
    try:
        with torch.device("meta"):  # without memory
            model = build_model(config)
    except (RuntimeError, MemoryError, OverflowError) as err:
        raise ValueError(f"no model can have this configuration: {err}") from err
    needed = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    unfit = sorted(
        name for name in needed.keys() | stored.keys() if needed.get(name) != stored.get(name)
    )
    if unfit:
        name = unfit[0]
        raise CheckpointError(
            f"the weights in '{path}' do not fit the configuration in "
            f"'{path.with_suffix('.json').name}': {len(unfit)} differ; the first, '{name}', has "
            f"the size {stored.get(name, 'none')} instead of {needed.get(name, 'none')}"
        )
    if (voxels := math.prod(config.grid.shape)) > _MAX_VOXELS:
        raise ValueError(f"its grid has {voxels:,} voxels; the limit is {_MAX_VOXELS:,}")
    others = sum(buffer.nbytes for buffer in model.buffers())
    if others > _MAX_BUFFER_BYTES:
        raise ValueError(
            f"its grid and images need {others:,} bytes besides the weights; the limit is "
            f"{_MAX_BUFFER_BYTES:,}"
        )


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
