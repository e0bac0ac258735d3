"""Reads YAML files of strangers: plain data only, of limited size, without surprises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**20
"""Calibrations and rules have a few kilobytes; PyYAML reads about a megabyte in a second."""


MAX_ENTRIES = 100_000
"""Limit with every alias written out: nine lines of these can stand for a billion entries."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: mappings, lists, text and numbers.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not YAML, has tags of Python objects, is nested too deeply, or larger than
            ``MAX_BYTES`` or ``MAX_ENTRIES``; the text names it.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}")
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        if (entries := _entries(node, {})) > MAX_ENTRIES:
            raise ValueError(f"it stands for {entries:,} entries; the limit is {MAX_ENTRIES:,}")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a plain YAML file: {error}") from error


def _entries(node: Any, known: dict[int, int]) -> int:
    """Number of values below a node, itself included; those of an alias count each time.

    Args:
        node: of the file, before anything is made of it.
        known: numbers of other nodes by identity; zero while one is being counted.

    Raises:
        ValueError: the node contains itself.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an entry contains itself")
        return known[id(node)]
    known[id(node)] = 0
    inner = node.value
    if isinstance(node, yaml.MappingNode):
        inner = [each for pair in node.value for each in pair]
    known[id(node)] = 1 + sum(_entries(each, known) for each in inner)
    return known[id(node)]
