"""Label sets on a command line: by name, such as ``--model.labels occ3d``."""

from __future__ import annotations

from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import LABEL_SETS


def label_set_option() -> ConstructorRegistry:
    """What tyro needs to read a ``LabelSet`` from its name."""
    registry = ConstructorRegistry()
    registry.primitive_rule(_by_name)
    return registry


def _by_name(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type is not LabelSet:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(LABEL_SETS) + "}",
        instance_from_str=lambda words: LABEL_SETS[words[0]],
        is_instance=lambda value: isinstance(value, LabelSet),
        str_from_instance=lambda labels: [labels.name],
        choices=tuple(LABEL_SETS),
    )
