"""The metrics of labelled drives by which trainings are compared, seed by seed."""

from __future__ import annotations

from typing import Any

from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from training.scoring.labelled_drives import score_drives
from training.scoring.sensors import ALL_SENSORS, ONE_SWEEP, conditions, without_cameras


def drive_metrics(
    engine: OccupancyEngine,
    frames: NuScenesFrames,
    keyframes: int | None = None,
    *,
    blind: bool = False,
) -> dict[str, float]:
    """``miou`` and ``iou`` of the whole grid and, as ``camera_mask_miou``, of what cameras see; all
    of them also of a single sweep (``one_sweep_miou``), and mIoU by weather (``miou_night``).

    Args:
        keyframes: how many keyframes of every drive are scored, from its first on; None: all.
        blind: mask every camera.

    Raises:
        FileNotFoundError, ValueError: see ``score_drives``.
    """
    wanted = {
        name: (lambda frame, change=change: change(without_cameras(frame))) if blind else change
        for name, change in conditions(engine.model.config).items()
        if name in (ALL_SENSORS, ONE_SWEEP)
    }
    scores = score_drives(engine, frames, wanted, keyframes)
    metrics: dict[str, float] = {}
    for condition in (ALL_SENSORS, ONE_SWEEP):
        part = scores.get(condition, scores[ALL_SENSORS])  # without LiDAR, sweeps do not matter
        metrics |= _flat(part, "" if condition == ALL_SENSORS else f"{condition}_")
    return metrics


def _flat(scores: dict[str, Any], prefix: str) -> dict[str, float]:
    """The scores of the whole grid and of the camera mask, overall and by weather."""
    metrics: dict[str, float] = {}
    for place, part in (("", scores), ("camera_mask_", scores.get("camera_mask"))):
        if part is not None:
            metrics |= {f"{prefix}{place}{name}": part[name] for name in ("miou", "iou")}
            for weather, each in part["by_weather"].items():
                metrics[f"{prefix}{place}miou_{weather}"] = each["miou"]
    return metrics
