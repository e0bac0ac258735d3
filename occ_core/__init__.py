"""3D semantic occupancy from cameras and LiDAR."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# An idle OpenMP thread spins for a while before it sleeps, and so takes its core away from other
# threads that have work to do. On two busy cores a keyframe takes seconds with the default and
# 0.56 s with this bound. OpenMP reads it once, when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

if TYPE_CHECKING:
    from occ_core.build import build_model
    from occ_core.checkpoint import load_checkpoint
    from occ_core.config import OccupancyConfig
    from occ_core.engine import OccupancyEngine
    from occ_core.model import OccupancyModel
    from occ_core.types import DriveContext, Frame, Occupancy

__all__ = [
    "DriveContext",
    "Frame",
    "Occupancy",
    "OccupancyConfig",
    "OccupancyEngine",
    "OccupancyModel",
    "build_model",
    "load_checkpoint",
]

_MODULES = {
    "DriveContext": "types",
    "Frame": "types",
    "Occupancy": "types",
    "OccupancyConfig": "config",
    "OccupancyEngine": "engine",
    "OccupancyModel": "model",
    "build_model": "build",
    "load_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Tools that only read data need not wait seconds for the network's packages.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'occ_core' has no attribute '{name}'")
    return getattr(import_module(f"occ_core.{_MODULES[name]}"), name)
