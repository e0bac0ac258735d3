"""3D semantic occupancy from cameras and LiDAR."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "build": ("build_model",),
    "checkpoint": ("load_checkpoint",),
    "config": ("OccupancyConfig",),
    "engine": ("OccupancyEngine",),
    "model": ("OccupancyModel",),
    "types": ("DriveContext", "Frame", "Occupancy"),
}


def __getattr__(name: str) -> Any:
    """Imports on first use: tools that only read data should not wait seconds for the network's
    packages.
    """
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"occ_core.{module}"), name)
    raise AttributeError(f"module 'occ_core' has no attribute '{name}'")
