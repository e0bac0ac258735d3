"""An exported model on disk: ``NAME.pt2`` with the program, and ``NAME.json`` with what its user
has to know.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import dacite
import torch
from torch.export import ExportedProgram

from occ_core.checkpoint import config_from_dict
from occ_core.config import OccupancyConfig
from occ_core.export.memory import MemoryTensors
from occ_core.export.step import AnswerTensors, SensorTensors
from occ_core.types import Frame

Kind = Literal["compiled", "graph"]
"""``compiled``: machine code for the processor that it is made on, by AOTInductor; C++ can load it.
``graph``: torch's own operators, for Python and wherever torch runs.
"""


class ExportedModelError(ValueError):
    """The files of an exported model cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What stands in ``NAME.json``."""

    kind: Kind
    device: str
    precision: str
    cameras: int
    frame_id: str
    """Name of the grid frame."""
    checkpoint: str
    """Which weights the model has, see ``checkpoint_id``."""
    torch: str
    """The version that exported it, for which machine code is made."""
    inputs: tuple[str, ...]
    """Names of the tensors that the program takes, in order: sensors, then memory."""
    outputs: tuple[str, ...]
    """Names of the tensors that it gives: the answer, then as many of memory as it takes."""
    config: dict[str, Any]
    """The model's configuration, as in a checkpoint."""


def save_package(path: Path, program: ExportedProgram, description: Description) -> None:
    """Writes both files.

    Raises:
        ExportedModelError: see ``check_path``.
        RuntimeError: the compiler failed, or there is none.
    """
    check_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if description.kind == "compiled":
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    else:
        torch.export.save(program, path)
    path.with_suffix(".json").write_text(json.dumps(asdict(description), indent=2) + "\n")


def check_path(path: Path) -> None:
    """Checks the name of the file that is to hold a program.

    Raises:
        ExportedModelError: it does not end in ``.pt2``.
    """
    if path.suffix != ".pt2":
        raise ExportedModelError(f"an exported model is a .pt2 file, got '{path}'")


class ExportedModel:
    """A loaded program: a function from tensors to tensors.

    Args:
        path: the ``.pt2`` file.

    Raises:
        ExportedModelError: a file is missing or damaged, or was made by another version of torch.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        self.description = read_description(path)
        self.config: OccupancyConfig = config_from_dict(self.description.config)
        self.device = torch.device(self.description.device)
        try:
            if self.description.kind == "compiled":
                self._run: Callable[..., Any] = torch._inductor.aoti_load_package(str(path))
            else:
                self._run = torch.export.load(path).module()
        except (RuntimeError, OSError, ValueError, BadZipFile) as err:
            raise ExportedModelError(f"'{path}' cannot be loaded: {err}") from err

    def __call__(
        self, sensors: SensorTensors, memory: MemoryTensors
    ) -> tuple[AnswerTensors, MemoryTensors]:
        """As ``ExportedStep``."""
        # compiled code does not look at strides
        sensors = {name: tensor.contiguous() for name, tensor in sensors.items()}
        answer, memory = self._run(sensors, memory)
        return answer, memory

    def check(self, frame: Frame) -> None:
        """Checks that a frame is one that the program takes.

        Raises:
            ValueError: it is not a single sample, or has other cameras or images.
        """
        expected = (1, self.description.cameras, 3, *self.config.image_size)
        if tuple(frame.images.shape) != expected:
            raise ValueError(
                f"images are {list(frame.images.shape)} (batch, camera, 3, height, width), the "
                f"exported model takes {list(expected)}; export it with the number of cameras"
            )


def read_description(path: Path) -> Description:
    """What is said of an exported model.

    Raises:
        ExportedModelError: a file is missing or damaged, or was made by another version of torch.
    """
    described = path.with_suffix(".json")
    if path.suffix != ".pt2":
        raise ExportedModelError(f"an exported model is a .pt2 file, got '{path}'")
    for needed in (path, described):
        if not needed.is_file():
            raise ExportedModelError(
                f"'{needed}' does not exist; an exported model consists of a .pt2 file and a .json "
                "file of the same name, both made by occ_export"
            )
    try:
        values = json.loads(described.read_text())
        strict = dacite.Config(cast=[tuple], strict=True)
        description = dacite.from_dict(Description, values, strict)
        config_from_dict(description.config)
    except (ValueError, TypeError, dacite.DaciteError) as err:
        raise ExportedModelError(
            f"'{described}' does not describe an exported model of this version: {err}"
        ) from err
    if description.torch != torch.__version__:
        raise ExportedModelError(
            f"'{path}' was exported with torch {description.torch}, this is {torch.__version__}; "
            "export it again"
        )
    return description
