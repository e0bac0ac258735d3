"""``LabelSet``: what the class ids of a grid mean, and how their scores are averaged."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import ClassVar, Literal

from occ_core.taxonomy import IGNORE

Absent = Literal["left_out", "zero", "nan"]
"""The IoU of a class that occurs neither in truth nor in prediction, and what becomes of the mean:
``left_out`` averages the other classes; ``zero`` counts it as 0; ``nan`` makes the mean NaN.
"""
Colour = tuple[int, int, int]
"""Red, green and blue in 0..255."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model or a benchmark by id. In every set the id 255 is ignored: it counts in
    neither losses nor metrics.

    Raises:
        ValueError: a field is out of range or does not fit the others; the text names it.
    """

    names: tuple[str, ...]
    empty: int = 0
    """Id of the unoccupied class: it is not averaged into the mIoU, but false positives and misses
    of the other classes count against them.
    """
    name: str = "custom"
    palette: tuple[Colour, ...] = ()
    """A colour for every class; where none are given they are spread evenly over the hues."""
    absent: Absent = "left_out"
    drivable: tuple[str, ...] = ()
    """Classes on which a road vehicle drives, for the 2D map."""
    ground: tuple[str, ...] = ()
    """Flat classes, the drivable ones among them: they are no obstacles."""
    vehicles: tuple[str, ...] = ()
    """Classes counted as one wherever a score is called a vehicle's."""
    static: tuple[str, ...] = ()
    """Classes of things that do not move."""

    ignore: ClassVar[int] = IGNORE

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 0 <= self.empty < count or not 2 <= count <= IGNORE:
            raise ValueError(
                f"a LabelSet has 2 to {IGNORE} classes, the empty one among them; got {count} with "
                f"empty = {self.empty}"
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"LabelSet.names must differ, got {twice} more than once")
        if not self.palette:
            object.__setattr__(self, "palette", _spread_colours(count, self.empty))
        if len(self.palette) != count or any(
            len(colour) != 3 or not all(0 <= channel <= 255 for channel in colour)
            for colour in self.palette
        ):
            raise ValueError(
                f"LabelSet.palette must hold (red, green, blue) in 0..255 for each of {count} "
                f"classes, got {len(self.palette)}: {self.palette}"
            )
        for field in ("drivable", "ground", "vehicles", "static"):
            if unknown := sorted(set(getattr(self, field)) - set(self.occupied_names)):
                raise ValueError(f"LabelSet.{field} names no occupied class of the set: {unknown}")

    @classmethod
    def from_names(cls, names: str) -> LabelSet:
        """The set of the class names in a text, divided by spaces; the first one is empty."""
        return cls(tuple(names.split()))

    @property
    def occupied(self) -> list[int]:
        """Ids of all classes but the empty one."""
        return [label for label in range(len(self.names)) if label != self.empty]

    @property
    def occupied_names(self) -> list[str]:
        """Names of all classes but the empty one, in the order of their ids."""
        return [self.names[label] for label in self.occupied]

    def ids(self, names: tuple[str, ...]) -> list[int]:
        """The ids of classes by name.

        Raises:
            ValueError: a class is not in the set.
        """
        if unknown := [name for name in names if name not in self.names]:
            raise ValueError(f"the label set '{self.name}' has no class {unknown}")
        return [self.names.index(name) for name in names]

    def same_ids(self, other: LabelSet) -> bool:
        """Whether every id stands for the same class in both sets."""
        return self.names == other.names and self.empty == other.empty


def _spread_colours(count: int, empty: int) -> tuple[Colour, ...]:
    """Saturated colours at even steps of hue; black for the empty class, which is never drawn."""
    colours: list[Colour] = []
    for label in range(count):
        red, green, blue = colorsys.hsv_to_rgb(label / count, 0.8, 0.9)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    colours[empty] = (0, 0, 0)
    return tuple(colours)
