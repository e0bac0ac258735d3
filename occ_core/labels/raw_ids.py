"""Raw label ids of KITTI's annotations -> classes: the ``learning_map`` of semantic-kitti-api and
that of SSCBench.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import SEMANTIC_KITTI, SSCBENCH_KITTI_360
from occ_core.taxonomy import IGNORE

RAW_EMPTY = 0
"""Raw id of voxels in which nothing was measured: empty space, where the voxel is valid."""
_UNKNOWN = 254
"""What the table has for ids that are not in the annotation."""


@dataclass(frozen=True)
class RawIds:
    """Raw ids of an annotation by class; the first one of a class is written into predictions."""

    labels: LabelSet
    of_class: dict[str, tuple[int, ...]]
    """Class name -> raw ids, for every occupied class of the set."""
    ignored: tuple[int, ...]
    """Raw ids that belong to no class: 255 in memory, as they are not empty space either."""

    def class_of_raw(self) -> dict[int, str]:
        """Raw id -> class name, without those ignored and ``RAW_EMPTY``."""
        return {raw: name for name, raws in self.of_class.items() for raw in raws}

    @cached_property
    def _table(self) -> np.ndarray:
        """uint8 ``[65536]``: the class id of every raw id."""
        table = np.full(1 << 16, _UNKNOWN, dtype=np.uint8)
        table[RAW_EMPTY] = self.labels.empty
        table[list(self.ignored)] = IGNORE
        for name, raws in self.of_class.items():
            table[list(raws)] = self.labels.names.index(name)
        return table

    def to_ids(self, raw: np.ndarray) -> np.ndarray:
        """Class ids of raw ids, uint8 of the same shape.

        Raises:
            ValueError: a raw id is unknown.
        """
        table = self._table
        if raw.size and not 0 <= raw.min() <= raw.max() < len(table):
            raise ValueError(
                f"raw label ids are 0 to {len(table) - 1}, got {raw.min()} to {raw.max()}"
            )
        # Most voxels are empty: only the others are looked up.
        occupied = np.flatnonzero(raw != RAW_EMPTY)
        looked_up = raw.ravel()[occupied]
        found = table[looked_up]
        if (found == _UNKNOWN).any():
            unknown = np.unique(looked_up[found == _UNKNOWN]).tolist()
            raise ValueError(
                f"the raw label ids {unknown} are not in {self.labels.name}'s annotation; is this "
                "another data set?"
            )
        ids = np.full(raw.size, self.labels.empty, dtype=np.uint8)
        ids[occupied] = found
        return ids.reshape(raw.shape)

    def to_raw(self, ids: np.ndarray) -> np.ndarray:
        """Raw ids of class ids, uint16 of the same shape: the inverse map of the benchmark.

        Raises:
            ValueError: an id is not that of a class.
        """
        table = np.zeros(len(self.labels.names), dtype=np.uint16)
        table[self.labels.empty] = RAW_EMPTY
        for name, raws in self.of_class.items():
            table[self.labels.names.index(name)] = raws[0]
        if ids.size and not 0 <= ids.min() <= ids.max() < len(table):
            raise ValueError(
                f"predictions hold class ids 0 to {len(table) - 1} of {self.labels.name}, got "
                f"{ids.min()} to {ids.max()}"
            )
        return table[ids]


_SHARED: dict[str, tuple[int, ...]] = {
    "car": (10, 252),
    "bicycle": (11,),
    "motorcycle": (15,),
    "truck": (18, 258),
    "other-vehicle": (20, 13, 16, 256, 257, 259),
    "person": (30, 254),
    "road": (40, 60),
    "parking": (44,),
    "sidewalk": (48,),
    "other-ground": (49,),
    "building": (50,),
    "fence": (51,),
    "vegetation": (70,),
    "terrain": (72,),
    "pole": (80,),
    "traffic-sign": (81,),
}

SEMANTIC_KITTI_RAW = RawIds(
    SEMANTIC_KITTI,
    _SHARED | {"bicyclist": (31, 253), "motorcyclist": (32, 255), "trunk": (71,)},
    ignored=(1, 52, 99),
)
"""SemanticKITTI: outliers, other structures and other objects are ignored."""

KITTI_360_RAW = RawIds(
    SSCBENCH_KITTI_360,
    _SHARED | {"other-structure": (52,), "other-object": (99,)},
    ignored=(1, 31, 32, 71, 253, 255),
)
"""KITTI-360 in SSCBench: riders and trunks are ignored besides outliers."""
