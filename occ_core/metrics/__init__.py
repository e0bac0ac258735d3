"""Scores of occupancy; each is usable alone: ``update`` frame by frame, then ``compute``."""

from occ_core.metrics.flicker import Flicker
from occ_core.metrics.occupancy import OccupancyScore, visible_only
from occ_core.metrics.ray_iou import RayIoU, ray_origins
from occ_core.metrics.rendered import BevScore, ImageScore

__all__ = ["BevScore", "Flicker", "ImageScore", "OccupancyScore", "RayIoU", "ray_origins", "visible_only"]
