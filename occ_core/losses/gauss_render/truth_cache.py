"""Renders of truths on disk: a camera that does not move sees the same of a keyframe in every epoch
(GaussRender).
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
from occ_core.rendering.semantics import Rendered

FORMAT = 3
"""To be raised whenever a render of the same comes out otherwise: what is kept is not read any more
then.
"""


class TruthCache:
    """Finds a render by what it shows: the labels, how they become Gaussians, the camera. A
    mirrored keyframe is another one.

    Probabilities are kept in half precision, two bytes a class and pixel; nothing is ever deleted.
    Of a keyframe there are, with mirroring, four truths, each seen from above and by every camera
    that may be drawn.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(
        self,
        labels: UInt8[Tensor, "x y z"],
        view: Cameras,
        settings: tuple[object, ...],
        render: Callable[[], Rendered],
    ) -> Rendered:
        """The render of the labels from a camera; made by ``render`` where it is not there yet.

        Args:
            settings: of ``render``: whatever its result depends on besides.
        """
        path = self.folder / f"{self._key(labels, view, settings)}.safetensors"
        if path.exists():
            kept = load_file(path, device=str(labels.device))
            return Rendered(kept["semantics"].permute(2, 0, 1).float(), kept["depth_m"])
        made = render()
        semantics, depth_m = made.semantics.half(), made.depth_m.float()
        lying = semantics.permute(1, 2, 0).contiguous()  # [H, W, class], as renders lie in memory
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        unfinished.write_bytes(save({"semantics": lying, "depth_m": depth_m.contiguous()}))
        unfinished.replace(path)  # whole or not at all, whoever else writes it
        return Rendered(semantics.float(), depth_m)  # as it will be read: a run may stop and go on

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
