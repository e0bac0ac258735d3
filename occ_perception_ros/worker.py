"""A thread for the heavy work, with a mailbox of one slot in which the newest item wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Mailbox(Generic[ItemT]):
    """One slot between two threads.

    A thread that waits gets the next item for certain, however soon another one follows: two frames
    that become complete together, after a stall or at the start, do not cost the first of them.

    Args:
        merge: called with the item in the slot and the new one, returns the item to keep.
    """

    def __init__(self, merge: Callable[[ItemT, ItemT], ItemT] = lambda old, new: new) -> None:
        self._merge = merge
        self._condition = threading.Condition()
        self._item: ItemT | None = None
        self._handed_over: ItemT | None = None
        """The item of the thread that waits, which is about to take it."""
        self._is_awaited = False
        self._closed = False

    def put(self, item: ItemT) -> bool:
        """Hands an item to the thread that waits, or else puts it into the slot; returns whether it
        replaced another there.
        """
        with self._condition:
            if self._is_awaited:
                self._handed_over, self._is_awaited = item, False
                self._condition.notify()
                return False
            replaced = self._item is not None
            self._item = item if self._item is None else self._merge(self._item, item)
        return replaced

    def take(self) -> ItemT | None:
        """Takes out the item or waits for one; returns None once the mailbox is closed."""
        with self._condition:
            if self._item is None:
                self._is_awaited = True
                self._condition.wait_for(lambda: not self._is_awaited or self._closed)
                item, self._handed_over = self._handed_over, None
            else:
                item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Wakes the waiting thread and drops the item in the slot."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[ItemT]):
    """Handles the mailbox's items one after another until it is stopped.

    An item whose handling raises an exception is skipped; ``max_failures`` such items in a row end
    the worker.

    Args:
        mailbox: source of the items.
        handle: does the work on one item.
        on_failure: called with an exception of ``handle``, in the worker's thread.
        max_failures: number of failures in a row after which the worker gives up.
    """

    def __init__(
        self,
        mailbox: Mailbox[ItemT],
        handle: Callable[[ItemT], None],
        on_failure: Callable[[Exception], None],
        max_failures: int,
    ) -> None:
        self._mailbox = mailbox
        self._handle = handle
        self._on_failure = on_failure
        self._max_failures = max_failures
        self._stopping = False
        self.given_up = False
        """Whether ``max_failures`` in a row ended the worker."""
        # A daemon: an inference that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="occupancy worker", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after its current item; returns whether it ended within the timeout."""
        self._stopping = True
        self._mailbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping and (item := self._mailbox.take()) is not None:
            try:
                self._handle(item)
                failures = 0
            except Exception as error:  # whatever is wrong with this item, the next may be fine
                if self._stopping:
                    return  # the publishers may already be destroyed
                failures += 1
                self._on_failure(error)
                if failures >= self._max_failures:
                    self.given_up = True
                    return
