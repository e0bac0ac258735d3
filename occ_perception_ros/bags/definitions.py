"""Message definitions of a bag: the types that are needed for decoding one topic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from occ_perception_ros.bags.writer import TYPESTORE

_TYPE_NAME = re.compile(r"[A-Za-z]\w*(/msg)?/[A-Za-z]\w*", re.ASCII)
_IDL_FILE = re.compile(r"^=+\nIDL: .*\n", re.MULTILINE)
_IDL_DIRECTIVE = re.compile(r"^\s*#.*$", re.MULTILINE)


class DefinitionError(ValueError):
    """A message type has no usable definition."""


def typestore_for(connection: Connection, is_ros2: bool) -> Typestore:
    """The types that messages of one topic need.

    They come from the definition in the bag. Where it is missing, or is beyond the parser (IDL with
    a union, for example), the type of ROS 2 Jazzy with the same name serves, unless the bag's hash
    says that it is another.

    Raises:
        DefinitionError: neither is usable; the text gives the type and the reason.
    """
    name = connection.msgtype
    # rosbags makes Python classes of these names, so that a name must not be anything else.
    if not _TYPE_NAME.fullmatch(name):
        raise DefinitionError(f"{name!r} is not the name of a message type")
    try:
        return _store(name, _parsed(connection))
    except Exception as error:  # definitions of strangers raise many kinds of errors in the parser
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    if not is_ros2 or name not in TYPESTORE.fielddefs:
        raise DefinitionError(f"the definition of {name} is not usable: {reason}")
    if connection.digest and connection.digest != TYPESTORE.hash_rihs01(name):
        raise DefinitionError(
            f"the definition of {name} is not usable ({reason}), and it differs from ROS 2's own"
        )
    return TYPESTORE


def _parsed(connection: Connection) -> Typesdict:
    """The types in the bag's definition of a topic's type."""
    form, text = connection.msgdef.format, connection.msgdef.data
    if form is MessageDefinitionFormat.NONE or not text.strip():
        raise ValueError("the bag has none")
    if form is MessageDefinitionFormat.MSG:
        return get_types_from_msg(text, connection.msgtype)
    types: Typesdict = {}
    for file in _IDL_FILE.split(text):
        # The files that a file includes follow it in the same text, or are ROS 2's own.
        idl = _IDL_DIRECTIVE.sub("", file)
        if idl.strip():
            types.update(get_types_from_idl(idl))
    return types


def _store(name: str, types: Typesdict) -> Typestore:
    """A type store with a type and all those that it contains."""
    needed: Typesdict = {}
    wanted = [name]
    while wanted:
        each = wanted.pop()
        if each in needed:
            continue
        if each not in types and each not in TYPESTORE.fielddefs:
            raise ValueError(f"{each} is not defined")
        needed[each] = types[each] if each in types else TYPESTORE.fielddefs[each]
        wanted += [inner for _, field in needed[each][1] for inner in _named(field)]
    if unnamed := [each for each in needed if not _TYPE_NAME.fullmatch(each)]:
        raise ValueError(f"{unnamed[0]!r} is not the name of a message type")
    store = get_typestore(Stores.EMPTY)
    store.register(needed)
    return store


def _named(field: Any) -> Iterator[str]:
    """The message types in a field's description."""
    kind, rest = field
    if kind == Nodetype.NAME:
        yield rest
    elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _named(rest[0])
