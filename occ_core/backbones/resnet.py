"""ResNet (He et al., CVPR 2016), as Hugging Face's transformers builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import ResNetConfig, ResNetModel

# ImageNet statistics in 0..255, which every published ResNet expects
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
_STEM_CHANNELS = 64
"""Of the published ResNets with bottleneck blocks."""


class ResNet(ResNetModel):
    """Feature maps at strides 4, 8, 16 and 32.

    Args:
        depths: blocks per stage.
        widths: channels per stage.
        block: kind of residual block.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        widths: tuple[int, int, int, int],
        block: Literal["basic", "bottleneck"],
    ) -> None:
        super().__init__(
            ResNetConfig(
                embedding_size=widths[0] if block == "basic" else _STEM_CHANNELS,
                hidden_sizes=list(widths),
                depths=list(depths),
                layer_type=block,
            )
        )
        self.channels = dict(zip((4, 8, 16, 32), widths, strict=True))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def stages(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> dict[int, Float[Tensor, "image _ _ _"]]:
        """Stride -> feature map."""
        normalised = (images.float() - self.mean) / self.std
        # channels last: a fifth faster on a CPU
        normalised = normalised.contiguous(memory_format=torch.channels_last)
        states = self(normalised, output_hidden_states=True).hidden_states
        return dict(zip(self.channels, states[1:], strict=True))

    def load_pretrained(self, folder: Path) -> None:
        """Loads weights, of ImageNet for example, from a local folder; downloads nothing.

        Args:
            folder: a ResNetModel that Hugging Face's transformers saved.

        Raises:
            FileNotFoundError: the folder does not exist.
        """
        if not folder.is_dir():
            raise FileNotFoundError(
                f"backbone weights '{folder}' do not exist; give the folder of a saved "
                "transformers ResNetModel"
            )
        published = ResNetModel.from_pretrained(folder, local_files_only=True)
        self.load_state_dict(published.state_dict())
