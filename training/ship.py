"""Ships a trained model with the package: ``python -m training.ship RUN/model.safetensors --data
TOWNS [--keyframes REAL]``.

The weights are stored as float16, scored as stored, and written to ``occ_core/checkpoints`` with
the command and seed that made them.
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
    """Which model, and what it is scored on."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """What training wrote."""
    data: Path
    """nuScenes data root with labels, of scenes not trained on."""
    keyframes: Path | None = None
    """nuScenes data root of real keyframes, scored by ``--benchmark keyframe``."""
    refine_above: float = 0.5
    """Coarse voxels likelier than this to be occupied are refined; in training more are, to learn
    from.
    """
    to: Path = SHIPPED
    note: str = ""
    """What else a user should know of how it was made."""


def ship(config: ShipConfig) -> dict[str, Any]:
    """Writes the shipped checkpoint and returns its scores."""
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
    kept = ("command", "seed", "step", "text_encoder")
    made_by = {key: value for key, value in description["made_by"].items() if key in kept}
    _write(config.to, description | {"made_by": made_by | {"note": config.note, "scores": scores}})
    return scores


def _write(checkpoint: Path, description: dict[str, Any]) -> None:
    checkpoint.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    """Command line."""
    print(json.dumps(ship(tyro.cli(ShipConfig, prog="training.ship")), indent=2))


if __name__ == "__main__":
    main()
