"""The dense parts of a model as ONNX files, for runtimes that know no torch.

The other parts have sizes that the data determine, and gather and scatter between them; they have
no counterpart in ONNX that would be worth its time.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from occ_core.export.step import ExportError
from occ_core.image_encoder import ImageEncoder
from occ_core.model import OccupancyModel

NEEDED = ("onnx", "onnxscript")
"""Packages that torch's exporter imports."""


def onnx_parts(model: OccupancyModel, cameras: int) -> dict[str, tuple[nn.Module, Tensor]]:
    """The parts by name, each with an example of its input:

    - ``image_encoder``: images [N, 3, H, W] in uint8 -> feature maps [N, C, h, w]
    - ``volume_encoder``: fused volume [1, C, X, Y, Z] -> encoded volume [1, C, X, Y, Z]
    - ``coarse_head``: volume [1, C, X, Y, Z] -> logits of the coarse voxels [1, class, X, Y, Z]
    """
    config = model.config
    volume = torch.zeros(1, config.channels, *config.coarse_grid.shape)
    parts: dict[str, tuple[nn.Module, Tensor]] = {
        "volume_encoder": (model.volume_encoder, volume),
        "coarse_head": (model.head.coarse, volume),
    }
    if isinstance(model.image_encoder, ImageEncoder):
        images = torch.zeros(cameras, 3, *config.image_size, dtype=torch.uint8)
        parts["image_encoder"] = (model.image_encoder, images)
    return parts


def export_onnx(model: OccupancyModel, cameras: int, folder: Path) -> list[Path]:
    """Writes ``<part>.onnx`` for every part, with the input ``input`` and the output ``output``.

    Args:
        model: in evaluation mode, on the CPU.

    Returns:
        The files.

    Raises:
        ExportError: a package that this needs is not installed.
    """
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise ExportError(f"ONNX needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, (part, example) in onnx_parts(model, cameras).items():
        files.append(onnx_file(part, example, folder / f"{name}.onnx"))
    return files


def onnx_file(part: nn.Module, example: Tensor, file: Path) -> Path:
    """Writes one part, see ``export_onnx``; returns the file."""
    torch.onnx.export(
        part.eval(),
        (example,),
        file,
        dynamo=True,
        external_data=False,
        input_names=["input"],
        output_names=["output"],
        verbose=False,
    )
    return file
