"""A model on disk: ``NAME.safetensors`` with the weights, ``NAME.json`` beside it with the config
and how it was made.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.config import OccupancyConfig, SurroundOccConfig, TPVFormerConfig
from occ_core.image_encoder import ImageEncoderConfig
from occ_core.interface import VoxelModel
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from occ_core.view_transform import DepthBins
from occ_core.voxel_grid import VoxelGrid

SHIPPED = Path(__file__).parent / "checkpoints" / "tiny_town.safetensors"
"""The small model that comes with the package, trained on generated towns."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, and why."""


def save_checkpoint(path: Path, model: VoxelModel, made_by: dict[str, Any]) -> None:
    """Writes weights to ``path`` (``.safetensors``), config and ``made_by`` (command, seed, scores)
    to a ``.json`` beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    save_file(weights, path)
    description = {"config": asdict(model.config), "frame_id": "lidar", "made_by": made_by}
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def load_checkpoint(path: Path | str) -> tuple[VoxelModel, dict[str, Any]]:
    """The model in evaluation mode, on the CPU, and the description beside it.

    Raises:
        CheckpointError: a file is absent, is not a checkpoint, or does not fit its own config.
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
                f"checkpoint file '{needed}' does not exist; a checkpoint is a .safetensors and a "
                ".json beside it"
            )
    try:
        description = json.loads(described.read_text())
        model = build_model(config_from_dict(description["config"]))
        if not isinstance(description["frame_id"], str):
            raise ValueError(f"frame_id must be a name, got {description['frame_id']!r}")
    except (KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"'{described}' does not describe a model of this version: {err!r}"
        ) from err
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as err:
        raise CheckpointError(
            f"the weights in '{path}' do not fit the config beside them: {err}"
        ) from err
    return model.eval(), description


def start_from(model: VoxelModel, path: Path | str) -> list[str]:
    """Gives a new model the weights of a trained one that has less: no fuser, no memory. Returns
    the names of what stays new.

    Where concatenation becomes the adaptive fuser, its weighted features count nothing at first.

    Raises:
        CheckpointError: see ``load_checkpoint``; or the trained model has what the new one lacks,
            or has it in another size.
    """
    trained, _ = load_checkpoint(path)
    weights, new = trained.state_dict(), model.state_dict()
    reduce = "fusion.reduce.0.weight"
    if reduce in weights and reduce in new and weights[reduce].shape[1] < new[reduce].shape[1]:
        wider = new[reduce].clone().zero_()
        wider[:, : weights[reduce].shape[1]] = weights[
            reduce
        ]  # image volume, LiDAR volume: the first of Eq. 1's four
        weights[reduce] = wider
    unfit = [
        name
        for name, weight in weights.items()
        if name not in new or new[name].shape != weight.shape
    ]
    if unfit:
        raise CheckpointError(
            f"'{path}' is of a model that this one does not contain; {len(unfit)} weights do not "
            f"fit, the first is '{unfit[0]}'"
        )
    model.load_state_dict(weights, strict=False)
    return [name for name in new if name not in weights]


def config_from_dict(values: dict[str, Any]) -> OccupancyConfig:
    """The inverse of ``dataclasses.asdict`` for ``OccupancyConfig``, from JSON (where tuples are
    lists).
    """
    plain = _tuples(values)
    plain["grid"] = VoxelGrid(**_tuples(values["grid"]))
    plain["image_encoder"] = ImageEncoderConfig(**_tuples(values["image_encoder"]))
    plain["depth"] = DepthBins(**values["depth"])
    if values.get("adaptive_fusion") is not None:
        plain["adaptive_fusion"] = AdaptiveFusionConfig(**_tuples(values["adaptive_fusion"]))
    if values.get("temporal") is not None:
        plain["temporal"] = TemporalConfig(**values["temporal"])
    if values.get("language") is not None:
        plain["language"] = LanguageConfig(**values["language"])
    if values.get("tpvformer") is not None:
        plain["tpvformer"] = TPVFormerConfig(**_tuples(values["tpvformer"]))
    if values.get("surroundocc") is not None:
        plain["surroundocc"] = SurroundOccConfig(**_tuples(values["surroundocc"]))
    return OccupancyConfig(**plain)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
