"""A cache on disk for renders of truths: a camera that does not move sees the same of a keyframe in
every epoch (GaussRender).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from jaxtyping import UInt8
from safetensors.torch import load_file, save
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import SemanticImage

FORMAT = 3
"""Raise it whenever renders of the same input change, so that older files are not read any more."""


class TruthCache:
    """Renders by their input: the labels, how they become Gaussians, and the camera.

    Probabilities are stored in half precision, two bytes a class and pixel, and nothing is ever
    deleted. With mirroring a keyframe has four truths, each seen from above and by every camera
    that may be drawn.

    Args:
        folder: created where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(
        self,
        labels: UInt8[Tensor, "x y z"],
        view: Cameras,
        settings: tuple[object, ...],
        render: Callable[[], SemanticImage],
    ) -> SemanticImage:
        """The render of the labels from a camera, by ``render`` where it is not stored yet.

        Args:
            settings: whatever else the result of ``render`` depends on.
        """
        path = self.folder / f"{self._key(labels, view, settings)}.safetensors"
        if path.exists():
            stored = load_file(path, device=str(labels.device))
            return SemanticImage(stored["semantics"].permute(2, 0, 1).float(), stored["depth_m"])
        image = render()
        semantics, depth_m = image.semantics.half(), image.depth_m.float()
        # [H, W, class], as renders lie in memory
        tensors = {"semantics": semantics.permute(1, 2, 0).contiguous(), "depth_m": depth_m}
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
        part.replace(path)  # complete or not at all, even if another process writes it too
        # rounded as it will be read, so that a resumed run computes the same
        return SemanticImage(semantics.float(), depth_m)

    @staticmethod
    def _key(labels: Tensor, view: Cameras, settings: tuple[object, ...]) -> str:
        digest = hashlib.sha256(labels.cpu().numpy().tobytes())
        for part in (view.intrinsics, view.camera_from_grid):
            digest.update(part.double().cpu().numpy().tobytes())
        digest.update(
            repr(
                (FORMAT, tuple(labels.shape), view.size, view.orthographic, view.near_m, settings)
            ).encode()
        )
        return digest.hexdigest()
