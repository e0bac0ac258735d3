"""Fingerprints of trainings: by them an ablation recognises what has been trained before."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from occ_core.labels.sets import NUSCENES
from training.learning.config import TrainConfig

_BEFORE: dict[str, Any] = {"damaged": "stop", "start_without": []}
_BEFORE_IN_MODEL: dict[str, Any] = {
    "masked_inputs": False,
    "grid_frame": "lidar",
    "labels": json.loads(json.dumps(asdict(NUSCENES))),
}
_BEFORE_IN_GAUSS_RENDER: dict[str, Any] = {"min_opacity": 0.02}
_BEFORE_IN_LOSSES: dict[str, Any] = {"class_balance": 0.25}
_BEFORE_IN_RENDERING: dict[str, Any] = {"frames": 2}
"""What every training did before these options existed; with it a training is the same as then."""


def fingerprint(config: TrainConfig) -> str:
    """Twelve hexadecimal digits, equal for trainings that differ only in seed and folder."""
    return _digest(json.loads(json.dumps(asdict(config), default=str)))


def stored_fingerprint(folder: Path) -> str:
    """Fingerprint of the training in a folder, from its ``config.json``."""
    return _digest(json.loads((folder / "config.json").read_text()))


def _digest(config: dict[str, Any]) -> str:
    config = _without(config, _BEFORE)
    config["model"] = _without(config["model"], _BEFORE_IN_MODEL)
    config["losses"] = _without(config["losses"], _BEFORE_IN_LOSSES)
    if config.get("gauss_render"):
        config["gauss_render"] = _without(config["gauss_render"], _BEFORE_IN_GAUSS_RENDER)
    if config.get("rendering"):
        config["rendering"] = _without(config["rendering"], _BEFORE_IN_RENDERING)
    compared = {
        name: value
        for name, value in _without_disabled(config).items()
        if name not in ("seed", "out")
    }
    return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:12]


def _without(config: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in config.items() if name not in before or value != before[name]
    }


def _without_disabled(config: Any) -> Any:
    """The options that are on: one that is off leaves a training as it was before the option
    existed.
    """
    if not isinstance(config, dict):
        return config
    return {
        name: _without_disabled(value)
        for name, value in config.items()
        if value is not None and value is not False
    }
