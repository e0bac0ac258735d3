"""The decorator of all loops that numba compiles."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def kernel(function: Function) -> Function: ...
@overload
def kernel(**options: Any) -> Callable[[Function], Function]: ...
def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compiles a loop over arrays for the CPU.

    The machine code is kept on disk beside the source, and the loop runs without Python's lock, so
    that other threads go on meanwhile. The tests wrap every function in checks of its argument
    types (``test/conftest.py``); numba gets the bare function.

    Args:
        options: further options of ``numba.njit``.
    """

    def compile_(function: Function) -> Function:
        return cast(Function, njit(cache=True, nogil=True, **options)(inspect.unwrap(function)))

    return compile_ if function is None else compile_(function)
