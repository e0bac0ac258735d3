"""``occ_export``: a checkpoint as a program that needs no Python code of the model.

It writes ``NAME.pt2``, ``NAME.json`` and ``NAME.inputs.pt``: the program, what its user has to
know, and the tensors of one frame for the C++ program ``run_package.cpp``. See docs/export.md.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from occ_core.checkpoint import SHIPPED, CheckpointError, checkpoint_id, load_checkpoint
from occ_core.config import OccupancyConfig
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine, checked_device
from occ_core.export.compare import MAX_DIFFERING, compare
from occ_core.export.engine import ExportedEngine, sensor_tensors
from occ_core.export.memory import first_memory
from occ_core.export.onnx_parts import export_onnx
from occ_core.export.package import Description, ExportedModel, Kind, check_path, save_package
from occ_core.export.program import example_sensors, export_step, tensor_names
from occ_core.export.step import ExportedStep, ExportError
from occ_core.types import Frame

SWEEPS = 9
"""Past LiDAR sweeps of a frame, as on the robot."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of ``occ_export``."""

    checkpoint: Path = SHIPPED
    """Model weights, a .safetensors file with a .json file of the same name."""
    out: Path = Path("out/exported/model.pt2")
    """The program to write."""
    kind: Kind = "compiled"
    """compiled: machine code for this processor, which C++ can load (needs a C++ compiler); graph:
    torch's own operators, which Python runs without the model's code."""
    cameras: int = 6
    """Number of cameras; missing ones are masked."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the model."""
    device: str = "cpu"
    """Device that the program is made for: cpu or cuda."""
    data: Path | None = None
    """nuScenes data root: the answers to its first keyframes are compared with the model's, and the
    first one's tensors are those that are saved."""
    frames: int = 3
    """How many keyframes are compared."""
    onnx: Path | None = None
    """Folder for the parts that ONNX can express (needs onnx and onnxscript)."""

    def __post_init__(self) -> None:
        if self.cameras < 1 or self.frames < 1:
            raise ValueError(
                f"ExportConfig needs cameras and frames of at least 1, got {self.cameras} and "
                f"{self.frames}"
            )


def export(config: ExportConfig) -> None:
    """Exports a checkpoint, and compares its answers where there are data.

    Raises:
        CheckpointError: the checkpoint is not usable.
        ExportError: the model cannot be exported, the data have other cameras, or its answers
            differ.
        ExportedModelError: ``config.out`` is no .pt2 file.
    """
    check_path(config.out)
    model, described = load_checkpoint(config.checkpoint)
    frames = [] if config.data is None else keyframes(config, model.config, config.data)
    model.image_encoder.fold()
    step = ExportedStep(model.to(checked_device(config.device)), config.precision)
    if config.onnx is not None:
        for file in export_onnx(step.model, config.cameras, config.onnx):
            print(f"wrote {file}")
    program = export_step(step, config.cameras)
    inputs, outputs = tensor_names(program)
    description = Description(
        kind=config.kind,
        device=config.device,
        precision=config.precision,
        cameras=config.cameras,
        frame_id=described["frame_id"],
        checkpoint=checkpoint_id(config.checkpoint),
        torch=torch.__version__,
        inputs=inputs,
        outputs=outputs,
        config=asdict(model.config),
    )
    save_package(config.out, program, description)
    print(f"wrote {config.out} ({config.out.stat().st_size / 2**20:.1f} MiB)")
    tensors = sensor_tensors(frames[0]) if frames else example_sensors(model.config, config.cameras)
    tensors |= first_memory(model.config)
    torch.save([tensors[name] for name in inputs], config.out.with_suffix(".inputs.pt"))
    if frames:
        check(config, OccupancyEngine(model, config.device, config.precision), frames)


def keyframes(config: ExportConfig, shape: OccupancyConfig, data: Path) -> list[Frame]:
    """The first keyframes of a nuScenes data root.

    Raises:
        ExportError: they have another number of cameras than the exported model.
        FileNotFoundError, ValueError: see ``NuScenesFrames``.
    """
    found = NuScenesFrames(data, None, None, shape.image_size, SWEEPS, shape.grid)
    frames = [found[number][0] for number in range(min(config.frames, len(found)))]
    for frame in frames:
        if (cameras := frame.images.shape[1]) != config.cameras:
            raise ExportError(
                f"the keyframes of '{data}' have {cameras} cameras, but the exported model is to "
                f"take {config.cameras}; use --cameras {cameras}, or leave out --data"
            )
    return frames


def check(config: ExportConfig, engine: OccupancyEngine, frames: list[Frame]) -> None:
    """Compares the exported model with the one that it was made of.

    Raises:
        ExportError: the answers differ by more than rounding explains.
    """
    found = compare(engine, ExportedEngine(ExportedModel(config.out)), frames)
    tolerated = MAX_DIFFERING[config.precision]
    text = f"{found.differing:.1e} of the voxels differ, of {tolerated:.0e} tolerated"
    if found.differing > tolerated:
        raise ExportError(f"in a frame {text}")
    print(f"{found.frames} frames compared: at most {text}")
    print(
        f"a frame takes {found.exported_ms:.0f} ms, the model itself {found.model_ms:.0f} ms "
        f"({found.exported_ms / found.model_ms:.2f}x; medians)"
    )


def main() -> None:
    """Command line."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses packages nobody needs
    try:
        export(tyro.cli(ExportConfig, prog="occ_export", description=__doc__))
    except (CheckpointError, FileNotFoundError, ValueError, RuntimeError) as err:
        sys.exit(f"occ_export: {err}")


if __name__ == "__main__":
    main()
