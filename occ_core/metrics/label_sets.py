"""The label sets by which the scores count, at hand beside them; ``labels.sets`` defines them."""

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import (
    NUSCENES,
    OCC3D,
    OPENOCCUPANCY,
    SEMANTIC_KITTI,
    SSCBENCH_KITTI_360,
    SURROUNDOCC,
)

__all__ = [
    "NUSCENES",
    "OCC3D",
    "OPENOCCUPANCY",
    "SEMANTIC_KITTI",
    "SSCBENCH_KITTI_360",
    "SURROUNDOCC",
    "LabelSet",
]
