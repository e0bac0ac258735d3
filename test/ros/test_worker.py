"""The mailbox and its worker."""

from __future__ import annotations

import threading
import time

from occ_perception_ros.worker import Mailbox, Worker

WAIT_S = 600.0
"""A limit for hangs; no test needs it."""


def test_the_newest_item_wins_and_the_loss_is_returned() -> None:
    mailbox: Mailbox[str] = Mailbox()
    assert [mailbox.put(item) for item in ("a", "b")] == [False, True]
    assert mailbox.take() == "b"
    assert mailbox.put("c") is False


def test_a_thread_that_waits_gets_the_first_of_two_items() -> None:
    """Both are put before the waiting thread can run: it is handed the first all the same."""
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.extend([mailbox.take(), mailbox.take()]))
    thread.start()
    while not mailbox._is_awaited:
        time.sleep(0.001)
    with mailbox._condition:  # as the lock can be taken twice, the thread stays asleep
        assert [mailbox.put("a"), mailbox.put("b")] == [False, False]
    thread.join(WAIT_S)
    assert taken == ["a", "b"]


def test_a_thread_that_waits_ends_with_the_mailbox() -> None:
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    while not mailbox._is_awaited:
        time.sleep(0.001)
    mailbox.close()
    thread.join(WAIT_S)
    assert taken == [None]


def test_a_merge_keeps_a_part_of_the_replaced_item() -> None:
    mailbox: Mailbox[set[str]] = Mailbox(merge=lambda old, new: old | new)
    mailbox.put({"reset"})
    mailbox.put({"frame"})
    assert mailbox.take() == {"reset", "frame"}


def test_the_item_after_a_failure_is_handled() -> None:
    mailbox: Mailbox[int] = Mailbox()
    handled, failures, done = [], [], threading.Semaphore(0)

    def handle(item: int) -> None:
        if item == 1:
            raise ValueError("item 1")
        handled.append(item)
        done.release()

    def on_failure(error: Exception) -> None:
        failures.append(str(error))
        done.release()

    worker = Worker(mailbox, handle, on_failure, max_failures=2)
    worker.start()
    for item in (0, 1, 2):
        mailbox.put(item)
        assert done.acquire(timeout=WAIT_S)
    assert worker.stop(WAIT_S) and not worker.given_up
    assert (handled, failures) == ([0, 2], ["item 1"])


def test_failures_in_a_row_end_the_worker() -> None:
    mailbox: Mailbox[int] = Mailbox()
    failed = threading.Semaphore(0)

    def handle(item: int) -> None:
        raise RuntimeError("always")

    worker = Worker(mailbox, handle, lambda error: failed.release(), max_failures=3)
    worker.start()
    for item in range(3):
        mailbox.put(item)
        assert failed.acquire(timeout=WAIT_S)
    assert worker.stop(WAIT_S) and worker.given_up


def test_stop_waits_for_the_current_item_up_to_its_timeout() -> None:
    mailbox: Mailbox[int] = Mailbox()
    started, release = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        started.set()
        release.wait(WAIT_S)

    worker = Worker(mailbox, handle, lambda error: None, max_failures=1)
    worker.start()
    mailbox.put(0)
    assert started.wait(WAIT_S)
    assert worker.stop(0.05) is False
    release.set()
    assert worker.stop(WAIT_S) is True
