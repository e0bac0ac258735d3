import multiprocessing
import threading

import pytest

from occ_core.rendering.cpu.threads import at_once


@pytest.mark.parametrize("threads", [1, 3])
def test_every_part_is_worked_on_once(threads: int, set_threads):
    set_threads(threads)
    seen = []
    at_once(lambda first, end: seen.append((first, end)), [(0, 3), (3, 6), (6, 7), (7, 9)])
    at_once(lambda: seen.append(()), [])
    assert sorted(seen) == [(0, 3), (3, 6), (6, 7), (7, 9)]


def test_parts_are_worked_on_at_once_by_threads_that_stay(set_threads):
    """The two meet at a barrier: one after the other they never would."""
    set_threads(2)
    meeting, workers = threading.Barrier(2, timeout=30), []

    def work(_: int) -> None:
        meeting.wait()
        workers.append(threading.get_ident())

    for _ in range(2):
        at_once(work, [(0,), (1,)])
    assert (
        len(set(workers)) == 2
        and set(workers[:2]) == set(workers[2:])
        and threading.get_ident() not in workers
    )


def test_what_fails_in_a_part_is_told_when_the_others_ended(set_threads):
    set_threads(2)
    failed, ended = threading.Event(), []

    def work(one: int) -> None:
        if one == 0:
            failed.set()
            raise ZeroDivisionError
        assert failed.wait(30)
        ended.append(one)

    with pytest.raises(ZeroDivisionError):
        at_once(work, [(1,), (0,), (2,)])
    assert sorted(ended) == [1, 2]


def test_a_forked_process_has_threads_of_its_own(set_threads):
    set_threads(2)
    at_once(lambda one: None, [(1,), (2,)])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=at_once, args=(queue.put, [(1,), (2,)]), daemon=True)
    child.start()
    child.join(timeout=30)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0 and sorted([queue.get(), queue.get()]) == [1, 2]
