"""Shape of the network: ``OccupancyConfig``, its presets, and the baselines' configurations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.baselines.mconet import MConetConfig
from occ_core.baselines.occmamba.encoder import OccMambaConfig
from occ_core.image_encoder import ImageEncoderConfig
from occ_core.labels.benchmarks import GridFrame, OccupancyBenchmark
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.prompts import LanguageConfig
from occ_core.temporal import TemporalConfig
from occ_core.view_transform import DepthBins
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid


@dataclass(frozen=True, kw_only=True)
class TPVFormerConfig:
    """TPVFormer (Huang et al., CVPR 2023) as GaussRender trains it; the defaults are its own.

    Raises:
        ValueError: fields do not fit together; the text names them and their values.
    """

    channels: int = 256
    heads: int = 8
    layers: int = 3
    ratio: int = 2
    """Voxels per cell of a plane, along each axis."""
    pillars: tuple[int, int, int] = (4, 32, 32)
    """Reference points of a query along the axis that its plane lacks: z for the plane xy, y for
    xz, x for yz.
    """
    samples: tuple[int, int, int] = (8, 64, 64)
    """Samples of a query in each image level, divided among its reference points."""
    levels: int = 4
    """Levels of the image pyramid, from stride 8 on."""

    def __post_init__(self) -> None:
        if any(
            samples % pillars for samples, pillars in zip(self.samples, self.pillars, strict=True)
        ):
            raise ValueError(
                f"TPVFormerConfig.samples {self.samples} must be multiples of pillars "
                f"{self.pillars}"
            )
        if self.channels % self.heads or self.channels % 2:
            raise ValueError(
                f"TPVFormerConfig.channels {self.channels} must be a multiple of heads "
                f"{self.heads}, and even"
            )


@dataclass(frozen=True, kw_only=True)
class SurroundOccConfig:
    """SurroundOcc (Wei et al., ICCV 2023); the defaults are its own. Level l reads the images at
    stride 8 * 2**l.

    Raises:
        ValueError: fields do not fit together; the text names them and their values.
    """

    channels: tuple[int, ...] = (128, 256, 512)
    """Channels of each level's volume, finest first; the finest has half the voxels of the grid
    along each axis.
    """
    layers: tuple[int, ...] = (1, 3, 6)
    """Attention layers of each level."""
    samples: tuple[int, ...] = (2, 4, 8)
    """Samples of a query of each level."""
    heads: int = 8

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.layers) == len(self.samples) >= 1:
            raise ValueError(
                "SurroundOccConfig needs channels, layers and samples for every level, got "
                f"{self.channels}, {self.layers}, {self.samples}"
            )
        if any(channels % self.heads or channels % 32 for channels in self.channels):
            raise ValueError(
                f"SurroundOccConfig.channels {self.channels} must be multiples of heads "
                f"{self.heads} and of 32"
            )


@dataclass(frozen=True, kw_only=True)
class SymphoniesConfig:
    """Symphonies (Jiang et al., CVPR 2024); the defaults are its own.

    Raises:
        ValueError: fields do not fit together; the text names them and their values.
    """

    channels: int = 128
    heads: int = 8
    layers: int = 3
    ratio: int = 2
    """Voxels of the grid per voxel of the scene, along each axis."""
    instances: int = 100
    """Instance queries of each camera."""
    samples: int = 4
    """Samples of a query in each image level; in the volume it has twice as many."""
    levels: int = 3
    """Levels of the image pyramid, from stride 8 on."""

    def __post_init__(self) -> None:
        if self.channels % self.heads or self.channels % 8:
            raise ValueError(
                f"SymphoniesConfig.channels {self.channels} must be a multiple of heads "
                f"{self.heads} and of 8"
            )
        for name in ("layers", "ratio", "instances", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"SymphoniesConfig.{name} must be at least 1, got {getattr(self, name)}"
                )


@dataclass(frozen=True, kw_only=True)
class OccupancyConfig:
    """Everything that decides the shape of the network; stored with its weights.

    Raises:
        ValueError: fields are out of range or do not fit together; the text names them and their
            values.
    """

    grid: VoxelGrid = SURROUNDOCC_GRID
    """The grid that is predicted."""
    grid_frame: GridFrame = "lidar"
    """The frame in which the grid is fixed."""
    labels: LabelSet = NUSCENES
    """The classes that are predicted; on a command line its name, such as ``occ3d``."""
    cascade_ratio: int = 2
    """Fine voxels per coarse voxel, along each axis."""
    image_size: tuple[int, int] = (128, 352)
    """(height, width) of the images in ``Frame``."""
    channels: int = 32
    """Channels of every volume."""
    masked_inputs: bool = False
    """Paint the sky in the images black and leave out noisy points before anything else, as TACOcc
    does; see ``mask_inputs``.
    """
    image_encoder: ImageEncoderConfig = ImageEncoderConfig()
    image_classes: bool = False
    """Classify every cell of the feature maps, so that training can supervise the images directly.
    """
    depth: DepthBins = DepthBins()
    normalised_lift: bool = False
    """Divide the image volume by the number of rays that pass a voxel; see ``ViewTransform``."""
    lidar_voxel_m: float = 0.5
    """Largest edge length of the voxels that points are gathered in before the sparse convolutions;
    see ``lidar_grid``.
    """
    intensity_ranks: bool = False
    """Tell the LiDAR encoder which points are brighter than which, not how bright they are: the
    same for every scale and response of a sensor; see ``with_intensity_ranks``.
    """
    ground_height: bool = False
    """Tell every voxel its height above the local ground."""
    fusion: Literal["add", "concat", "conv"] = "concat"
    """How image and LiDAR volume are joined without ``adaptive_fusion``."""
    adaptive_fusion: AdaptiveFusionConfig | None = None
    """TACOcc's adaptive fusion."""
    volume_blocks: tuple[int, ...] = (0, 1, 2)
    """Residual blocks per level of the 3D encoder."""
    factorised_convolutions: bool = True
    """Use 3x3x1 and then 1x1x3 in the 3D encoder, at less than half the work of 3x3x3. The temporal
    aggregator's convolutions are factorised further.
    """
    temporal: TemporalConfig | None = None
    """TACOcc's memory; without it each frame is predicted by itself."""
    language: LanguageConfig | None = None
    """VLMFusionOcc3D's prompts; without them weather and region have no influence."""
    refine_above: float = 0.3
    """Coarse voxels whose probability of being occupied exceeds this are refined."""
    max_refined: int = 16_000
    """Largest number of coarse voxels refined per batch."""
    camera: bool = True
    """Use the cameras."""
    lidar: bool = True
    """Use the LiDAR."""
    tpvformer: TPVFormerConfig | None = None
    """Build this baseline instead; it uses grid, image size and image encoder of this config."""
    surroundocc: SurroundOccConfig | None = None
    """Build this baseline instead; it uses grid, image size and image encoder of this config."""
    symphonies: SymphoniesConfig | None = None
    """Build this baseline instead; it uses grid, image size, image encoder and depth bins of this
    config.
    """
    occmamba: OccMambaConfig | None = None
    """Build OccMamba: the 3D encoder is its hierarchical Mamba, and the head reads the volume
    alone.
    """
    mconet: MConetConfig | None = None
    """Build M-CONet: fusion and 3D encoder are its own, and the head reads volume and images."""

    def __post_init__(self) -> None:
        self._check_sensors()
        self._check_baseline()
        self._check_sizes()

    def _check_sensors(self) -> None:
        """Fusion needs both sensors, everything else at least one."""
        if not (self.camera or self.lidar):
            raise ValueError(
                "OccupancyConfig: camera and lidar are both off; a model needs at least one sensor"
            )
        if self.camera and self.lidar:
            return
        if self.adaptive_fusion is not None:
            raise ValueError(
                "OccupancyConfig.adaptive_fusion joins camera and lidar, of which one is off"
            )
        if self.language is not None and self.language.weather:
            raise ValueError(
                "OccupancyConfig.language.weather weights camera and lidar, of which one is off"
            )

    def _check_baseline(self) -> None:
        """A camera baseline replaces the whole model, whose own parts must then be off; the hosts
        with both sensors replace some of them.
        """
        complete = [self.tpvformer, self.surroundocc, self.symphonies]
        partial = [self.occmamba, self.mconet]
        chosen = [each for each in (*complete, *partial) if each is not None]
        if not chosen:
            return
        if chosen[0] in partial:
            if len(chosen) > 1 or not (self.camera and self.lidar) or self.adaptive_fusion:
                raise ValueError(
                    "OccupancyConfig.occmamba and .mconet have both sensors and a fusion of their "
                    "own: set one of them, with camera, lidar, and without adaptive_fusion"
                )
            return
        own_parts = (self.adaptive_fusion, self.temporal, self.language)
        has_own_parts = any(part is not None for part in own_parts)
        camera_only = self.camera and not self.lidar
        if len(chosen) > 1 or has_own_parts or not camera_only or self.cascade_ratio != 1:
            raise ValueError(
                "OccupancyConfig.tpvformer, .surroundocc and .symphonies are complete models: set "
                "one of them, with lidar=False, cascade_ratio=1, and none of adaptive_fusion, "
                "temporal and language"
            )

    def _check_sizes(self) -> None:
        """Sizes have to be divisible by what halves or groups them."""
        if self.channels % 8:
            raise ValueError(
                "OccupancyConfig.channels must be a multiple of 8 (group norms), got "
                f"{self.channels}"
            )
        if self.lidar_voxel_m <= 0:
            raise ValueError(
                f"OccupancyConfig.lidar_voxel_m must be positive, got {self.lidar_voxel_m}"
            )
        if any(side % 32 for side in self.image_size):  # the backbone's last stride
            raise ValueError(
                f"OccupancyConfig.image_size must be multiples of 32, got {self.image_size}"
            )
        blocks = self.volume_blocks
        if not blocks or blocks[0] < 0 or any(count < 1 for count in blocks[1:]):
            raise ValueError(
                "OccupancyConfig.volume_blocks must be 0 or more, then at least 1 per level, got "
                f"{blocks}"
            )
        self.coarse_grid.coarser(2 ** (len(blocks) - 1))  # raises if the levels do not fit

    @property
    def coarse_grid(self) -> VoxelGrid:
        """The grid of the feature volumes."""
        return self.grid.coarser(self.cascade_ratio)

    @property
    def lidar_grid(self) -> VoxelGrid:
        """The grid in which points are gathered: the predicted one, halved until its voxels are no
        larger than ``lidar_voxel_m``.
        """
        grid = self.grid
        while grid.voxel_size_m > self.lidar_voxel_m * (1 + 1e-9):
            grid = grid.finer(2)
        return grid

    @property
    def volume_channels(self) -> int:
        """Channels of ``Prediction.volume``."""
        if self.surroundocc is not None:
            return self.surroundocc.channels[0] // 2
        for baseline in (self.tpvformer, self.symphonies):
            if baseline is not None:
                return baseline.channels
        return self.channels

    @property
    def memory_rules(self) -> TemporalConfig:
        """When the memory is discarded. A model without ``temporal`` may remember classes."""
        return TemporalConfig() if self.temporal is None else self.temporal

    @property
    def remembers_classes(self) -> bool:
        """Whether the classes seen in one frame make the prompts of the next."""
        return self.language is not None and self.language.instances


def for_benchmark(config: OccupancyConfig, benchmark: OccupancyBenchmark) -> OccupancyConfig:
    """The same network for a benchmark's classes and grid.

    Raises:
        ValueError: the benchmark's grid cannot be halved as often as the network does.
    """
    return replace(
        config, grid=benchmark.grid, grid_frame=benchmark.grid_frame, labels=benchmark.labels
    )


def debug() -> OccupancyConfig:
    """For tests: every part is present, and small."""
    return OccupancyConfig(
        grid=SURROUNDOCC_GRID.coarser(2),
        image_size=(64, 192),
        channels=8,
        # no stage of 8 channels: oneDNN (torch 2.13) writes past the gradient of its 1x1
        # convolution of stride 2, on AVX-512
        image_encoder=ImageEncoderConfig(
            depths=(1, 1, 1, 1), widths=(16, 16, 32, 64), out_channels=16
        ),
        depth=DepthBins(step_m=2.0),
        lidar_voxel_m=1.0,
        volume_blocks=(1, 1),
    )


def nano() -> OccupancyConfig:
    """For ablations: a training takes minutes on two cores."""
    return replace(
        debug(),
        channels=16,
        image_encoder=ImageEncoderConfig(
            depths=(1, 1, 1, 1), widths=(16, 32, 64, 128), out_channels=32
        ),
    )


def tiny() -> OccupancyConfig:
    """For a CPU at 2 Hz: ResNet-18 at half its width. The shipped checkpoint has this size, with
    another image backbone, a memory and the weather.
    """
    return OccupancyConfig(
        image_encoder=ImageEncoderConfig(widths=(32, 64, 128, 256), out_channels=32, stride=8),
        depth=DepthBins(step_m=1.0),
    )


def small() -> OccupancyConfig:
    """The papers' light setting: ResNet-50 at 256x704."""
    return OccupancyConfig(
        image_size=(256, 704),
        channels=80,
        image_encoder=ImageEncoderConfig(
            depths=(3, 4, 6, 3), widths=(256, 512, 1024, 2048), block="bottleneck", out_channels=256
        ),
        lidar_voxel_m=0.25,
        volume_blocks=(2, 2, 2),
        factorised_convolutions=False,
    )


def base() -> OccupancyConfig:
    """The papers' main setting: ResNet-101 at 896x1600, points gathered at 0.125 m (Co-Occ)."""
    return replace(
        small(),
        image_size=(896, 1600),
        channels=128,
        image_encoder=replace(small().image_encoder, depths=(3, 4, 23, 3), out_channels=512),
        lidar_voxel_m=0.125,
    )


PRESETS = {"debug": debug, "nano": nano, "tiny": tiny, "small": small, "base": base}
"""The presets by name, smallest first."""
