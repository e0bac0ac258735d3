"""What a check of a folder found: what the folder is, what it holds, and what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHOWN = 3
"""How many faults of a kind are printed; the rest are counted."""


class FolderReport:
    """The findings about one folder, collected check by check."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.title = "not a data set that this program knows"
        """What the folder is."""
        self.contents: list[str] = []
        """What it holds and what it lacks without being wrong, a sentence each."""
        self._faults: dict[str, list[str]] = defaultdict(list)

    @property
    def faults(self) -> list[str]:
        """What is wrong, each with its file and what to do."""
        return [text for texts in self._faults.values() for text in texts]

    def fault(self, kind: str, text: str) -> None:
        """Adds a fault.

        Args:
            kind: what such faults have in common; of many with one kind a few are printed.
            text: the file, what is wrong with it, and what to do.
        """
        self._faults[kind].append(text)

    @contextmanager
    def collecting(self, kind: str) -> Iterator[None]:
        """An error of a reader inside the block becomes a fault."""
        try:
            yield
        except (FileNotFoundError, ValueError) as error:
            self.fault(kind, str(error))

    def text(self) -> str:
        """The report in words, as it is printed."""
        lines = [f"{self.root}: {self.title}", *(f"  {each}" for each in self.contents)]
        for texts in self._faults.values():
            lines += [f"FAULT {text}" for text in texts[:_SHOWN]]
            if len(texts) > _SHOWN:
                lines.append(f"      ... and {len(texts) - _SHOWN} more like these")
        count = len(self.faults)
        lines.append(f"{count} faults" if count != 1 else "1 fault")
        return "\n".join(lines if count else [*lines[:-1], "no faults"])


def evenly(count: int, at_most: int) -> list[int]:
    """At most ``at_most`` indices below ``count``, evenly spread, the first and the last among
    them; 0 takes all.
    """
    if at_most == 0 or at_most >= count:
        return list(range(count))
    if at_most == 1:
        return [0]
    return sorted({round(step * (count - 1) / (at_most - 1)) for step in range(at_most)})
