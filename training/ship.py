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
from safetensors.torch import load_file, save_file

from occ_core.checkpoint import SHIPPED
from training.evaluate import EvaluateConfig, evaluate


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
    note: str = ""
    """What else users should know about how the model was trained."""


def ship(config: ShipConfig) -> dict[str, Any]:
    """Writes the shipped checkpoint and returns its scores, by data set."""
    trained = load_file(config.checkpoint)
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
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
    _write(config.to, description | {"made_by": made_by | {"note": config.note, "scores": scores}})
    return scores


def _write(checkpoint: Path, description: dict[str, Any]) -> None:
    checkpoint.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    """Command line."""
    print(json.dumps(ship(tyro.cli(ShipConfig, prog="training.ship")), indent=2))


if __name__ == "__main__":
    main()
