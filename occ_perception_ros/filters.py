"""The collector as a message_filters filter, so that it composes with other filters.

Where message_filters is not installed (the ROS wheels of PyPI have none), twins of its two classes
that are needed stand in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from occ_perception_ros.frames import FrameAssembler, FrameParts

try:
    from message_filters import SimpleFilter, Subscriber
except ImportError:

    class SimpleFilter:  # type: ignore[no-redef]
        """Hands messages to whoever registered."""

        def __init__(self) -> None:
            self.callbacks: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}

        def registerCallback(self, cb: Callable[..., None], *args: Any) -> int:  # noqa: N802  (message_filters' name)
            connection = len(self.callbacks)
            self.callbacks[connection] = (cb, args)
            return connection

        def signalMessage(self, *message: Any) -> None:  # noqa: N802
            for callback, args in list(self.callbacks.values()):
                callback(*message, *args)

    class Subscriber(SimpleFilter):  # type: ignore[no-redef]
        """A subscription as the first of a chain of filters; arguments as of
        message_filters.Subscriber.
        """

        def __init__(self, node: Any, msg_type: Any, topic: str, **kwargs: Any) -> None:
            super().__init__()
            self.node, self.topic = node, topic
            self.sub = node.create_subscription(msg_type, topic, self.signalMessage, **kwargs)


class FrameCollector(SimpleFilter):
    """Connects input filters to an assembler and signals a ``FrameParts`` for every frame that is
    complete.

    Args:
        on_error: called with exceptions of malformed messages, which are then left out.
    """

    def __init__(self, assembler: FrameAssembler, on_error: Callable[[Exception], None]) -> None:
        super().__init__()
        self.assembler = assembler
        self._on_error = on_error

    def connect(self, source: SimpleFilter, add: Callable[[Any], list[FrameParts]]) -> None:
        """Feeds what ``source`` signals to ``add``, one of the assembler's ``add_...`` methods."""
        source.registerCallback(self._feed, add)

    def signal(self, collected: list[FrameParts]) -> None:
        """Hands on frames that came about without a message (a flush)."""
        for parts in collected:
            self.signalMessage(parts)

    def _feed(self, message: Any, add: Callable[[Any], list[FrameParts]]) -> None:
        try:
            collected = add(message)
        except Exception as error:  # one malformed message must not end the spinning
            self._on_error(error)
            return
        self.signal(collected)
