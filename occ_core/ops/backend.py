"""The one place that decides how an operator is computed.

Every operator of ``occ_core.ops`` and ``occ_core.rendering`` is written in plain torch. On the CPU
most have a loop compiled by numba as well, and on CUDA two are left to a library (spconv, gsplat).
Any other device takes the torch form.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)
_torch_only = ContextVar("torch_only", default=False)
_exporting = ContextVar("exporting", default=False)


def use_kernel(operator: str, *tensors: Tensor, constants: Sequence[Tensor] = ()) -> bool:
    """Whether an operator runs its compiled CPU loop.

    Args:
        operator: name for the log.
        tensors: inputs that the loop can differentiate; all must lie on the CPU.
        constants: inputs that it cannot; they must lie on the CPU and need no gradient.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in (*tensors, *constants))
    needs_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in constants)
    chosen = on_cpu and not needs_gradient and not _torch_only.get()
    _log_once(operator, "compiled CPU loop" if chosen else "torch")
    return chosen


def use_cuda_library(library: str, tensor: Tensor) -> bool:
    """Whether an operator is left to a CUDA library, which is where its input lies on a GPU."""
    if tensor.is_cuda:
        _log_once(library, "CUDA")
    return tensor.is_cuda


@contextmanager
def torch_only() -> Iterator[None]:
    """Keeps operators on the CPU to their torch form: the reference of tests and benchmarks."""
    token = _torch_only.set(True)
    try:
        yield
    finally:
        _torch_only.reset(token)


def is_exporting() -> bool:
    """Whether an operator takes the form that can leave Python, see ``exporting``."""
    return _exporting.get()


@contextmanager
def exporting() -> Iterator[None]:
    """Keeps operators to torch forms that torch.export can write down: no compiled loop, and no
    branch or loop that depends on the data.

    A loop compiled by numba is a function of Python, which a graph could only call back; the torch
    forms are made of torch's own operators, which exist in C++.
    """
    token = _exporting.set(True)
    try:
        with torch_only():
            yield
    finally:
        _exporting.reset(token)


@cache
def _log_once(operator: str, backend: str) -> None:
    log.info("%s: %s", operator, backend)
