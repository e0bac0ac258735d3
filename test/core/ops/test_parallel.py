"""Independent pieces of work in several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from occ_core.ops import backend
from occ_core.ops.parallel import in_one_thread, in_parallel, side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def settings() -> tuple[object, ...]:
    return (
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        backend.is_exporting(),
    )


@torch.inference_mode()
def test_results_are_those_of_one_after_the_other_in_order() -> None:
    values = torch.randn(40, 1000, generator=torch.Generator().manual_seed(1))
    work = [partial(torch.cumsum, row, 0) for row in values]
    parallel = in_parallel(work, CPU)
    assert all(torch.equal(a, each()) for a, each in zip(parallel, work, strict=True))


def test_functions_of_different_kinds_run_side_by_side() -> None:
    """Two wait for each other, so that they end only if they run at the same time."""
    meeting = threading.Barrier(2)

    def first() -> str:
        meeting.wait(600.0)
        return "a"

    def second() -> int:
        meeting.wait(600.0)
        return 2

    with torch.inference_mode():
        found = side_by_side(first, second, lambda: (), device=CPU)
    assert found == ("a", 2, ())
    found = side_by_side(lambda: "a", torch.is_grad_enabled, lambda: (), device=CPU)
    assert found == ("a", True, ())


@torch.inference_mode()
def test_two_pieces_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)  # passed by two threads at once, or by none
    assert in_parallel([partial(meeting.wait, 600.0)] * 2, CPU) in ([0, 1], [1, 0])


def test_pieces_have_the_callers_settings() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.float16), backend.exporting():
        expected = settings()
        assert expected == (True, True, torch.float16, True)
        assert in_parallel([settings] * 3, CPU) == [expected] * 3
    with torch.no_grad():
        assert in_parallel([settings] * 3, CPU) == [(False, False, torch.bfloat16, False)] * 3


@torch.inference_mode()
def test_each_piece_computes_with_one_thread_and_later_threads_with_all() -> None:
    assert in_parallel([torch.get_num_threads] * 3, CPU) == [1, 1, 1]
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


@pytest.mark.parametrize("why", ["gradients", "device", "one thread", "one piece"])
def test_otherwise_they_run_in_the_callers_thread(why: str) -> None:
    if why == "one thread":
        torch.set_num_threads(1)
    device = torch.device("meta") if why == "device" else CPU
    pieces = 1 if why == "one piece" else 3
    with torch.set_grad_enabled(why == "gradients"):
        assert set(in_parallel([threading.get_ident] * pieces, device)) == {threading.get_ident()}


@torch.inference_mode()
def test_what_a_piece_raises_reaches_the_caller_and_threads_are_as_before() -> None:
    def fail() -> None:
        raise ValueError("piece 2")

    with pytest.raises(ValueError, match="piece 2"):
        in_parallel([lambda: None, fail], CPU)
    assert torch.get_num_threads() == 2


def test_small_operators_have_one_thread_and_the_callers_settings() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.float16), backend.exporting():
        expected = settings()
        assert in_one_thread(settings, CPU) == expected
    with torch.no_grad():
        assert in_one_thread(torch.get_num_threads, CPU) == 1
        with pytest.raises(ZeroDivisionError):
            in_one_thread(lambda: 1 // 0, CPU)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("why", ["gradients", "device", "one thread"])
def test_otherwise_small_operators_run_in_the_callers_thread(why: str) -> None:
    if why == "one thread":
        torch.set_num_threads(1)
    device = torch.device("meta") if why == "device" else CPU
    with torch.set_grad_enabled(why == "gradients"):
        assert in_one_thread(threading.get_ident, device) == threading.get_ident()


def test_nothing_is_nothing() -> None:
    assert in_parallel([], CPU) == []
