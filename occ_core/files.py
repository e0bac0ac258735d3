"""Atomic writing of files: a reader finds either the old contents or the new, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal


def check_target(path: Path, kind: Literal["file", "folder"]) -> None:
    """Refuses a path at which no file or folder can be made, before work on its contents begins.

    Raises:
        ValueError: the path is of the other kind, or lies under a file.
    """
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    if nearest.is_dir() == (nearest != path or kind == "folder"):
        return
    is_one = "is a folder" if nearest.is_dir() else "is a file"
    raise ValueError(f"cannot write the {kind} {path}: {nearest} {is_one}; choose another path")


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader finds either the old contents or the new, never a part.

    Folders on the way to ``path`` are created.
    """
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the place of ``path`` when the block ends without error.

    After an error nothing is left behind, and an old file stays as it was. Folders on the way to
    ``path`` are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
