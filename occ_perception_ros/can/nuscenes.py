"""Signals of nuScenes' CAN bus expansion, which are decoded already.

Its messages have neither rain, wiper, light nor country (nuscenes-devkit, ``can_bus/README.md``).
What tells day from night are the solar sensors, ``zoe_veh_info.left_solar`` and ``right_solar``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from occ_perception_ros.can.frame import SignalValue

SignalSample = tuple[int, dict[str, SignalValue]]
"""Stamp in nanoseconds, and values by ``message.field``."""


def nuscenes_signals(root: Path, scene_name: str, signals: Collection[str]) -> list[SignalSample]:
    """The values of signals over a scene, in the order of their stamps.

    A signal is written ``message.field``, such as ``zoe_veh_info.left_solar``, or
    ``message.field.index`` where the field is a list: ``pose.pos.0``. A scene may lack any message;
    fields that are no numbers are left out.

    Args:
        root: data root; the messages are in ``can_bus/<scene>_<message>.json``.
        scene_name: such as ``scene-0061``.
        signals: names of the signals.

    Raises:
        ValueError: a file is malformed; the text names it.
    """
    samples: list[SignalSample] = []
    for message in sorted({name.partition(".")[0] for name in signals}):
        path = root / "can_bus" / f"{scene_name}_{message}.json"
        if not path.is_file():
            continue
        fields = [name.partition(".")[2] for name in signals if name.startswith(f"{message}.")]
        try:
            for record in json.loads(path.read_bytes()):
                values = {f"{message}.{field}": _value(record, field) for field in fields}
                known = {name: value for name, value in values.items() if value is not None}
                samples.append((int(record["utime"]) * 1000, known))
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise ValueError(
                f"{path} is not a file of the nuScenes CAN bus expansion ({error!r}); extract it "
                "again"
            ) from error
    return sorted(samples, key=lambda sample: sample[0])


def _value(record: dict[str, Any], field: str) -> SignalValue | None:
    name, _, index = field.partition(".")
    value = record.get(name)
    if index:
        position = int(index) if index.isdigit() else -1
        if not isinstance(value, list) or not 0 <= position < len(value):
            return None
        value = value[position]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return SignalValue(number) if math.isfinite(number) else None
