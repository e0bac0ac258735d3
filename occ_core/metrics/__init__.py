"""Scores of occupancy; each can be used alone: ``update`` per frame, then ``compute``."""

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import (
    NUSCENES,
    OCC3D,
    OPENOCCUPANCY,
    SEMANTIC_KITTI,
    SSCBENCH_KITTI_360,
    SURROUNDOCC,
)
from occ_core.metrics.flicker import Flicker
from occ_core.metrics.occupancy import OccupancyScore, visible_only
from occ_core.metrics.ray_iou import RayIoU, ray_origins
from occ_core.metrics.rendered import BevScore, ImageScore

__all__ = [
    "NUSCENES",
    "OCC3D",
    "OPENOCCUPANCY",
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
