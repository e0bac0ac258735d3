"""Tensors as the arrays that compiled loops take."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors as numpy arrays, which share their memory where that is contiguous."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def named_arrays(tensors: tuple[Tensor, ...]) -> Any:
    """A named tuple of tensors as the same named tuple of ``arrays``."""
    return type(tensors)(*arrays(*tensors))
