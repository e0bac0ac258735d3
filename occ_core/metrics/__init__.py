"""Scores of occupancy; each can be used alone: ``update`` per frame, then ``compute``."""

from occ_core.metrics.flicker import Flicker
from occ_core.metrics.label_sets import (
    OCC3D,
    SEMANTIC_KITTI,
    SSCBENCH_KITTI_360,
    SURROUNDOCC,
    LabelSet,
)
from occ_core.metrics.occupancy import OccupancyScore, visible_only
from occ_core.metrics.ray_iou import RayIoU, ray_origins
from occ_core.metrics.rendered import BevScore, ImageScore

__all__ = [
    "OCC3D",
    "SEMANTIC_KITTI",
    "SSCBENCH_KITTI_360",
    "SURROUNDOCC",
    "BevScore",
    "Flicker",
    "ImageScore",
    "LabelSet",
    "OccupancyScore",
    "RayIoU",
    "ray_origins",
    "visible_only",
]
