import multiprocessing

import pytest
import torch

from occ_core.rendering.threads import at_once, bands


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_bands_are_as_many_as_threads_unless_they_would_be_thin(threads: int):
    assert bands(10, 1) == {1: [(0, 10)], 3: [(0, 3), (3, 6), (6, 10)]}[threads]
    assert bands(10, 5) == {1: [(0, 10)], 3: [(0, 5), (5, 10)]}[threads]
    assert bands(10, 11) == [(0, 10)]
    assert bands(10, 1, others=1) == {1: [(0, 10)], 3: [(0, 5), (5, 10)]}[threads]  # two threads each, of three: rounded up
    assert bands(10, 1, others=2) == [(0, 10)]


def test_every_part_is_worked_on_once(threads: int):
    seen = []
    at_once(lambda first, end: seen.append((first, end)), [(0, 3), (3, 6), (6, 7), (7, 9)])
    assert sorted(seen) == [(0, 3), (3, 6), (6, 7), (7, 9)]
    at_once(seen.append, [])
    assert len(seen) == 4


def test_what_fails_in_a_part_is_told(threads: int):
    with pytest.raises(ZeroDivisionError):
        at_once(lambda one: 1 // one, [(1,), (0,)])


def test_a_forked_process_has_threads_of_its_own(threads: int):
    at_once(lambda one: None, [(1,), (2,)])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=at_once, args=(queue.put, [(1,), (2,)]))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0 and sorted([queue.get(), queue.get()]) == [1, 2]
