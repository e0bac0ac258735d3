"""Ships a trained model with the package: ``python -m training.ship CHECKPOINT --data TOWNS``.

The weights are stored as float16 in ``occ_core/checkpoints``, scored as stored, and described by
the command and the seed that produced them and by their scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from safetensors.torch import save_file
from torch import Tensor, nn

from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig
from occ_core.datasets.benchmark_data import benchmark_of, drive_names, open_frames
from occ_core.losses.cross_entropy import class_weights
from training.evaluate import EvaluateConfig, evaluate
from training.learning.examples import count_voxels
from training.learning.unweighted import take_out_class_weights


@dataclass(frozen=True)
class ShipConfig:
    """Which model is shipped, and the data that it is scored on."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Weights that training wrote, a .safetensors file with its .json beside it."""
    data: Path
    """nuScenes data root with labels, of scenes that the model was not trained on."""
    keyframes: Path | None = None
    """nuScenes data root of real keyframes, which are scored without labels."""
    refine_above: float = 0.5
    """Coarse voxels more likely than this to be occupied are refined. Training uses a lower limit,
    to learn from more of them.
    """
    to: Path = SHIPPED
    """The file to write."""
    trained_on: Path | None = None
    """nuScenes data root that the model was trained on: the weights of its classes in the cross
    entropies are taken out of the answers (see ``take_out_class_weights``). None leaves them in.
    """
    class_balance: float = 0.25
    """``LossWeights.class_balance`` of the training."""
    average_with: Path | None = None
    """Checkpoint of the same model, such as the one that the training started from: the mean of
    both weights is shipped. What the training forgot comes back, most of what it learnt stays
    (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    note: str = ""
    """What else users should know about how the model was trained."""


def ship(config: ShipConfig) -> dict[str, Any]:
    """Writes the shipped checkpoint and returns its scores, by data set."""
    model, _ = load_checkpoint(config.checkpoint)
    if config.average_with is not None:
        _average(model, config.average_with)
    if config.trained_on is not None:
        take_out_class_weights(model, _class_weights(config.trained_on, config, model.config))
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    description = json.loads(config.checkpoint.with_suffix(".json").read_text())
    description["config"]["refine_above"] = config.refine_above
    config.to.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, config.to)
    _write(config.to, description)
    unseen = EvaluateConfig(data=config.data, checkpoint=config.to)
    scores = {"unseen_towns": evaluate(unseen)}
    if config.keyframes is not None:
        scores["real_keyframes"] = evaluate(
            replace(unseen, data=config.keyframes, benchmark="keyframe")
        )
    shipped_keys = ("command", "seed", "step", "text_encoder")
    made_by = {key: value for key, value in description["made_by"].items() if key in shipped_keys}
    if config.trained_on is not None:
        made_by["class_weights"] = f"taken out (class_balance {config.class_balance})"
    if config.average_with is not None:
        made_by["averaged_with"] = config.average_with.name
    _write(config.to, description | {"made_by": made_by | {"note": config.note, "scores": scores}})
    return scores


def _average(model: nn.Module, path: Path) -> None:
    """Replaces the model's weights by the mean of them and those of a checkpoint.

    Raises:
        ValueError: the checkpoint is one of another model.
    """
    other, _ = load_checkpoint(path)
    own, others = model.state_dict(), other.state_dict()
    if {name: each.shape for name, each in own.items()} != {
        name: each.shape for name, each in others.items()
    }:
        raise ValueError(f"{path} is a checkpoint of another model: its weights differ")
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(others[name], 0.5)


def _class_weights(root: Path, config: ShipConfig, model: OccupancyConfig) -> Tensor:
    """The weights of the classes in a training on ``root``."""
    name = benchmark_of(model.labels.name)
    drives = sorted(drive_names(name, root, None, None))
    frames = open_frames(name, root, drives, model.image_size, model.grid, None, 1, "stop")
    voxels = count_voxels(frames, label_set=model.labels)
    return class_weights(voxels, config.class_balance, model.labels.empty)


def _write(checkpoint: Path, description: dict[str, Any]) -> None:
    checkpoint.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    """Command line."""
    print(json.dumps(ship(tyro.cli(ShipConfig, prog="training.ship")), indent=2))


if __name__ == "__main__":
    main()
