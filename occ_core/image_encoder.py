"""Images -> one feature map per camera: backbone and FPN (TACOcc, section III: "image encoder")."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from occ_core.backbones.efficientnet_lite import ConvNorm, EfficientNetLite
from occ_core.backbones.image_context import ImageContext, ImageContextConfig

if TYPE_CHECKING:
    from occ_core.backbones.resnet import ResNet


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """Shape of the backbone and of the feature map that is passed on."""

    backbone: Literal["efficientnet_lite0"] | None = None
    """None: a ResNet, whose shape the next three fields describe."""
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    """Blocks per stage: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-50, (3, 4, 23, 3)
    ResNet-101.
    """
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels per stage."""
    block: Literal["basic", "bottleneck"] = "basic"
    """Kind of residual block: basic in ResNet-18, bottleneck in ResNet-50 and deeper."""
    out_channels: int = 64
    """Channels of the feature map."""
    stride: Literal[8, 16] = 16
    """Pixels of the image per cell of the feature map, along each axis."""
    context: ImageContextConfig | None = None
    """Residual blocks at the coarse levels, and a width of their own for all of the FPN; None: the
    FPN is as wide as the feature map and has no blocks.
    """


class ImageEncoder(nn.Module):
    """A backbone whose last stages are merged top-down into one map (FPN) at ``config.stride``.

    Images are uint8 RGB.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.backbone: EfficientNetLite | ResNet
        if config.backbone == "efficientnet_lite0":
            self.backbone = EfficientNetLite()
        else:
            # transformers takes seconds and 150 MB to import; the other backbone does without it
            from occ_core.backbones.resnet import ResNet

            self.backbone = ResNet(config.depths, config.widths, config.block)
        self.config = config
        channels = self.backbone.channels
        self.strides = tuple(stride for stride in channels if stride >= config.stride)
        width = config.out_channels if config.context is None else config.context.channels
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels[stride], width, 1) for stride in self.strides
        )
        self.context = nn.Identity() if config.context is None else ImageContext(config.context)
        self.out = nn.Sequential(
            nn.Conv2d(width, config.out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, config.out_channels),
            nn.ReLU(inplace=True),
        )

    def fold(self) -> None:
        """Folds the backbone's batch norms, and padding of features, into its convolutions; for
        inference only.

        The feature map stays the same and takes a sixth less time.
        """
        for layer in self.backbone.modules():
            convolution, norm = (
                getattr(layer, name, None) for name in ("convolution", "normalization")
            )
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layer.convolution = fuse_conv_bn_eval(convolution, norm)
                layer.normalization = nn.Identity()
                if isinstance(layer, ConvNorm):
                    layer.fold_padding()

    def forward(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> Float[Tensor, "image channel h w"]:
        """The feature map of each image."""
        if not len(images):
            return self.empty_map(images, self.config.stride)
        return self.feature_map(self.backbone.stages(images))

    def feature_map(
        self, stages: Mapping[int, Float[Tensor, "image _ _ _"]]
    ) -> Float[Tensor, "image channel h w"]:
        """The feature map of each image, given the backbone's maps by stride."""
        merged: Tensor = self.out(self.pyramid(stages)[0])
        return merged

    def pyramid(
        self, stages: Mapping[int, Float[Tensor, "image _ _ _"]]
    ) -> list[Float[Tensor, "image channel _ _"]]:
        """The levels of the FPN before its last convolution, finest first."""
        levels: list[Tensor] = []
        for lateral, stride in zip(reversed(self.lateral), reversed(self.strides), strict=True):
            level = lateral(stages[stride])
            if levels:
                level = level + F.interpolate(levels[0], size=level.shape[-2:], mode="nearest")
            else:
                level = self.context(level)
            levels.insert(0, level)
        return levels

    def empty_map(
        self, images: UInt8[Tensor, "image 3 height width"], stride: int
    ) -> Float[Tensor, "image channel h w"]:
        """The feature map of no images at all, which batch norm refuses in training."""
        height, width = (-(-side // stride) for side in images.shape[2:])
        weight = next(self.out.parameters())
        return weight.new_zeros(0, self.config.out_channels, height, width)


class ImagePyramid(ImageEncoder):
    """An image encoder that returns several levels, at strides 8, 16, ...

    Args:
        levels: how many; those beyond the backbone's last stage are made by pooling.

    Raises:
        ValueError: the stride is not 8, or ``levels`` is less than 1.
    """

    def __init__(self, config: ImageEncoderConfig, levels: int) -> None:
        super().__init__(config)
        if config.stride != 8 or levels < 1:
            raise ValueError(
                f"ImagePyramid needs stride 8 and at least one level, got {config.stride} and "
                f"{levels}"
            )
        self.count = levels
        self.outs = nn.ModuleList(copy.deepcopy(self.out) for _ in self.strides[1:levels])

    def levels(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> list[Float[Tensor, "image channel _ _"]]:
        """One feature map per level, finest first."""
        if not len(images):
            return [self.empty_map(images, 8 * 2**level) for level in range(self.count)]
        merged = self.pyramid(self.backbone.stages(images))
        maps = [out(level) for out, level in zip((self.out, *self.outs), merged, strict=False)]
        while len(maps) < self.count:
            maps.append(F.max_pool2d(maps[-1], 1, stride=2))
        return maps


class NoImageEncoder(nn.Module):
    """The image encoder of a model without cameras: feature maps without channels."""

    def fold(self) -> None:
        """Does nothing, as there is no batch norm."""

    def forward(
        self, images: UInt8[Tensor, "image 3 height width"]
    ) -> Float[Tensor, "image 0 1 1"]:
        return torch.zeros(len(images), 0, 1, 1, device=images.device)
