"""Reads rules from YAML; all problems of a file are reported at once."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import dacite

from occ_perception_ros.can.rules import Area, ContextRules, Evidence, FactRule, FixRule, RegionRule
from occ_perception_ros.yaml_files import read_yaml

RuleT = TypeVar("RuleT")


class RulesError(ValueError):
    """The rules cannot be used; the text lists every problem."""


def load_rules(path: Path) -> ContextRules:
    """Reads the rules of ``path``; the path of the DBC file is relative to its folder.

    Raises:
        RulesError: the file is missing, not YAML, or has wrong entries; the text names each of them
            by its place, such as ``rain.evidence[0]``.
    """
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RulesError(f"the rules {path} cannot be read: {reason}") from error
    reader = _Reader()
    rules = reader.rules(content, path.parent)
    if rules is None or reader.problems:
        raise RulesError(f"{path}: {'; '.join(reader.problems)}")
    return rules


class _Reader:
    """Builds the rules and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def rules(self, content: Any, folder: Path) -> ContextRules | None:
        entry = self._mapping(content, "the file", ContextRules)
        if entry is None:
            return None
        dbc = entry.get("dbc")
        if dbc is not None and not isinstance(dbc, str):
            self.problems.append(f"dbc must be a path, got {dbc!r}")
            dbc = None
        facts = {name: self._fact(entry[name], name) for name in ("rain", "night") if name in entry}
        region = self._region(entry["region"]) if "region" in entry else None
        if not facts and region is None and not self.problems:
            self.problems.append("the file needs at least one of rain, night and region")
        return ContextRules(dbc=folder / dbc if dbc else None, region=region, **facts)

    def _fact(self, content: Any, where: str) -> FactRule | None:
        entry = self._mapping(content, where, FactRule)
        if entry is None:
            return None
        evidence = self._entries(entry.pop("evidence"), f"{where}.evidence", Evidence)
        return None if evidence is None else self._build(FactRule, entry, where, evidence=evidence)

    def _region(self, content: Any) -> RegionRule | None:
        entry = self._mapping(content, "region", RegionRule)
        if entry is None:
            return None
        before = len(self.problems)
        parts: dict[str, Any] = {}
        if "areas" in entry:
            parts["areas"] = self._entries(entry.pop("areas"), "region.areas", Area)
        if "fix" in entry:
            fix = self._mapping(entry.pop("fix"), "region.fix", FixRule)
            parts["fix"] = None if fix is None else self._build(FixRule, fix, "region.fix")
        if len(self.problems) > before:
            return None
        return self._build(RegionRule, entry, "region", **parts)

    def _entries(self, content: Any, where: str, kind: type[RuleT]) -> tuple[RuleT, ...] | None:
        """The entries of a list; None: there are problems."""
        if not isinstance(content, list):
            self.problems.append(f"{where} must be a list, got {content!r}")
            return None
        built = []
        for index, each in enumerate(content):
            place = f"{where}[{index}]"
            entry = self._mapping(each, place, kind)
            built.append(None if entry is None else self._build(kind, entry, place))
        found = tuple(each for each in built if each is not None)
        return found if len(found) == len(built) else None

    def _mapping(self, content: Any, where: str, kind: type) -> dict[str, Any] | None:
        """A copy of a mapping that has all keys of the dataclass ``kind`` that it needs."""
        known = {spec.name: spec for spec in fields(kind)}
        if not isinstance(content, dict):
            self.problems.append(f"{where} must have some of {list(known)}, got {content!r}")
            return None
        unknown = [key for key in content if key not in known]
        if unknown:
            self.problems.append(f"{where} has unknown keys {unknown}; expected {list(known)}")
        missing = [
            name for name, spec in known.items() if name not in content and spec.default is MISSING
        ]
        if missing:
            self.problems.append(f"{where} lacks {missing}")
        return None if unknown or missing else dict(content)

    def _build(
        self, kind: type[RuleT], entry: dict[str, Any], where: str, **parts: Any
    ) -> RuleT | None:
        if booleans := [name for name, value in entry.items() if _has_boolean(value)]:
            self.problems.append(
                f"{where}: {booleans} has true or false; YAML reads On, Off, Yes and No as these, "
                "so write such words in quotes"
            )
            return None
        data = {name: _as_tuple(value) for name, value in entry.items()} | parts
        try:
            return dacite.from_dict(kind, data, dacite.Config(strict=True))
        except (dacite.DaciteError, ValueError, TypeError, OverflowError) as error:
            self.problems.append(f"{where}: {error}")
            return None


def _has_boolean(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_boolean, value))
    if isinstance(value, dict):
        return any(map(_has_boolean, (*value, *value.values())))
    return isinstance(value, bool)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
