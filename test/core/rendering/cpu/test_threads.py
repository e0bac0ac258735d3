import multiprocessing
import threading

import pytest

from occ_core.rendering.cpu.threads import run_parallel


@pytest.mark.parametrize("threads", [1, 3])
def test_every_part_runs_once(threads: int, set_threads):
    set_threads(threads)
    seen = []
    run_parallel(lambda first, end: seen.append((first, end)), [(0, 3), (3, 6), (6, 7), (7, 9)])
    run_parallel(lambda: seen.append(()), [])
    assert sorted(seen) == [(0, 3), (3, 6), (6, 7), (7, 9)]


def test_parts_run_at_the_same_time_on_threads_that_stay(set_threads):
    """The two meet at a barrier: one after the other they never would."""
    set_threads(2)
    meeting, workers = threading.Barrier(2, timeout=300), []

    def work(_: int) -> None:
        meeting.wait()
        workers.append(threading.get_ident())

    for _ in range(2):
        run_parallel(work, [(0,), (1,)])
    assert (
        len(set(workers)) == 2
        and set(workers[:2]) == set(workers[2:])
        and threading.get_ident() not in workers
    )


def test_an_error_in_a_part_is_raised_when_the_others_have_ended(set_threads):
    set_threads(2)
    failed, ended = threading.Event(), []

    def work(one: int) -> None:
        if one == 0:
            failed.set()
            raise ZeroDivisionError
        assert failed.wait(300)
        ended.append(one)

    with pytest.raises(ZeroDivisionError):
        run_parallel(work, [(1,), (0,), (2,)])
    assert sorted(ended) == [1, 2]


def test_a_forked_process_has_threads_of_its_own(set_threads):
    set_threads(2)
    run_parallel(lambda one: None, [(1,), (2,)])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=run_parallel, args=(queue.put, [(1,), (2,)]), daemon=True)
    child.start()
    child.join(timeout=300)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0 and sorted([queue.get(), queue.get()]) == [1, 2]
