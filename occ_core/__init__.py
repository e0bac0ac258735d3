"""3D semantic occupancy from cameras and LiDAR."""

from occ_core.checkpoint import load_checkpoint
from occ_core.inference import OccupancyEngine
from occ_core.model import OccupancyConfig, OccupancyModel, build_model
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
