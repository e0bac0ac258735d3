"""Voxels -> a sequence: OccMamba's height-prioritised 2D Hilbert expansion (its section 3.3).

The columns of the grid follow a Hilbert curve in the ground plane; all heights of a column come one
after the other. The authors' code does not turn the quarters of the curve, which leaves one step in
six between cells that do not touch; this is the curve that the paper names, for grids of any size.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

Vector = tuple[int, int]
"""Cells along x and y."""


def hilbert_curve(cells_x: int, cells_y: int) -> list[Vector]:
    """Every cell of a plane once, from a corner on, each next to the one before it.

    On squares whose side is a power of two it is Hilbert's curve; elsewhere the halves of a
    rectangle are rounded to even numbers of cells. Some sizes need a single diagonal step.
    """
    along, across = ((cells_x, 0), (0, cells_y))
    if cells_y > cells_x:
        along, across = across, along
    return _walk((0, 0), along, across)


def _walk(corner: Vector, along: Vector, across: Vector) -> list[Vector]:
    """The cells of the rectangle that two signed sides span, from its first corner to the far end
    of ``along``.
    """
    (length, step), (width, side) = _measure(along), _measure(across)
    if width == 1 or length == 1:
        count, unit = (length, step) if width == 1 else (width, side)
        return [_plus(corner, _times(unit, cell)) for cell in range(count)]
    if 2 * length > 3 * width:  # too long: one half after the other
        half = length // 2
        half += half % 2 if length > 2 else 0
        first, rest = _times(step, half), _times(step, length - half)
        return [*_walk(corner, first, across), *_walk(_plus(corner, first), rest, across)]
    # up the near half, along the far side, and down again
    half_length, half_width = length // 2, width // 2
    half_width += half_width % 2 if width > 2 else 0
    up, rest_up = _times(side, half_width), _times(side, width - half_width)
    near, rest = _times(step, half_length), _times(step, length - half_length)
    last = _plus(corner, _plus(_times(step, length - 1), _times(side, half_width - 1)))
    return [
        *_walk(corner, up, near),
        *_walk(_plus(corner, up), along, rest_up),
        *_walk(last, _times(up, -1), _times(rest, -1)),
    ]


def _measure(side: Vector) -> tuple[int, Vector]:
    """Number of cells of a signed side, and the step from one of them to the next."""
    count = abs(side[0] + side[1])
    return count, (side[0] // count, side[1] // count)


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1]


def _times(a: Vector, factor: int) -> Vector:
    return a[0] * factor, a[1] * factor


def height_first_order(shape: tuple[int, int, int]) -> Int[Tensor, " voxel"]:
    """For every place in the sequence, the voxel that stands there: its index in a flattened volume
    ``[x, y, z]``.
    """
    x, y = torch.tensor(hilbert_curve(*shape[:2]), device="cpu").unbind(1)  # [column]
    heights = torch.arange(shape[2], device="cpu")
    return ((x * shape[1] + y)[:, None] * shape[2] + heights).flatten()
