"""The frame assembler as a message_filters filter, so that it can be combined with other filters.

message_filters is not on PyPI. Where it is not installed, minimal versions of the two classes that
are needed take its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.frame_parts import FrameParts

try:
    from message_filters import SimpleFilter, Subscriber
except ImportError:

    class SimpleFilter:  # type: ignore[no-redef]
        """Passes messages to the registered callbacks."""

        def __init__(self) -> None:
            self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

        def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:  # noqa: N802
            connection = len(self.callbacks)
            self.callbacks[connection] = (cb, args)
            return connection

        def signalMessage(self, *message: Any) -> None:  # noqa: N802
            for callback, args in list(self.callbacks.values()):
                callback(*message, *args)

    class Subscriber(SimpleFilter):  # type: ignore[no-redef]
        """A subscription as the source of a chain of filters."""

        def __init__(self, node: Any, msg_type: Any, topic: str, **kwargs: Any) -> None:
            super().__init__()
            self.node, self.topic = node, topic
            self.sub = node.create_subscription(msg_type, topic, self.signalMessage, **kwargs)


class FrameCollector(SimpleFilter):
    """Connects input filters to an assembler and signals ``FrameParts`` for every complete frame.

    Args:
        assembler: receives the messages.
        on_error: called with the exception that a malformed message raised; the message is ignored.
    """

    def __init__(self, assembler: FrameAssembler, on_error: Callable[[Exception], None]) -> None:
        super().__init__()
        self.assembler = assembler
        self._on_error = on_error

    def connect(self, source: SimpleFilter, add: Callable[[Any], list[FrameParts]]) -> None:
        """Passes messages of ``source`` to ``add``, one of the assembler's ``add_...`` methods."""
        source.registerCallback(self._feed, add)

    def signal(self, collected: list[FrameParts]) -> None:
        """Signals frames that were not completed by a message, but by a flush."""
        for parts in collected:
            self.signalMessage(parts)

    def _feed(self, message: Any, add: Callable[[Any], list[FrameParts]]) -> None:
        try:
            collected = add(message)
        except Exception as error:  # one malformed message must not end the executor
            self._on_error(error)
            return
        self.signal(collected)
