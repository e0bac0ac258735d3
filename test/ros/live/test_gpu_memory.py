"""What the live node does when the GPU's memory does not suffice; the error is made here."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus


def test_memory_is_given_back_and_the_next_frame_works(
    graph: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = graph()
    step = live.engine.step
    left: list[weakref.ref[torch.Tensor]] = []
    still_held: list[bool] = []

    def exhaust(frame: Any) -> Any:
        if live.engine.frames:
            return step(frame)
        half_computed = torch.zeros(8)
        left.append(weakref.ref(half_computed))
        live.engine.frames.append(frame)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    live.engine.step = exhaust
    # What a frame of the stack still refers to is not given back.
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: still_held.append(left[0]() is not None))
    live.connect()
    live.play(last=len(live.messages) // 3)
    live.settle(1)
    status = live.status()
    assert still_held == [False]
    assert status.level == DiagnosticStatus.ERROR and "CUDA out of memory" in status.message
    live.play(first=len(live.messages) // 3)
    live.settle(3)
    assert live.counts() == (3, 2, 1) and live.status().level != DiagnosticStatus.ERROR


def test_a_gpu_that_stays_full_ends_the_node(graph: Callable[..., Any]) -> None:
    live = graph(max_failures=2)

    def exhaust(frame: Any) -> Any:
        live.engine.frames.append(frame)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    live.engine.step = exhaust
    live.connect()
    live.play()
    live.until(lambda: bool(live.node.failure), "end")
    assert live.node.failure == "2 frames in a row failed"
