"""Text prompts about classes, region and weather, and the table of their embeddings
(VLMFusionOcc3D, Figs. 4 and 6).

Classes, regions and weathers are few, so every possible prompt is embedded once and stored with the
weights. The robot needs no text encoder, and no frame has to wait for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.taxonomy import REGIONS, WEATHERS
from occ_core.types import DriveContext, HeadOutput

BLOCK = 64
"""Voxels per row of the matrix whose maximum is taken."""
SEEN_ABOVE = 0.5
"""A class enters the prompts of the next frame when a voxel has it with more than this probability.
"""
UNSEEN_BELOW = 0.4
"""A class leaves them when no voxel has it with more than this probability."""

CLASS_PHRASES: tuple[str, ...] = (
    "streets, buildings and whatever moves between them",  # no class in particular
    "traffic barriers in a row, low and made of concrete or plastic",
    "a bicycle, thin, with or without its rider",
    "a bus, long and high, with windows along its side",
    "a car, parked or driving",
    "a construction vehicle such as an excavator or a crane",
    "a motorcycle, narrow, with or without its rider",
    "a pedestrian, upright and slender, walking or standing",
    "a traffic cone, small and orange, on the road",
    "a trailer, a large box on wheels without an engine",
    "a truck, large, with a cabin and a cargo bed",
    "the driveable surface of the road, flat asphalt with lane markings",
    "flat ground beside the road, such as a traffic island",
    "a sidewalk, flat, a kerb higher than the road",
    "terrain: grass, soil or sand",
    "manmade structures: buildings, walls, poles and signs",
    "vegetation: trees, bushes and hedges",
)
"""How a prompt describes each class of nuScenes, in the order of ``taxonomy.CLASS_NAMES``; the
first describes the scene in general.
"""

REGION_PHRASES: dict[str, str] = {
    "unknown": "in a city",
    "boston-seaport": "in Boston, USA, where traffic keeps to the right",
    "singapore-onenorth": "in the research quarter of Singapore, where traffic keeps to the left",
    "singapore-queenstown": (
        "in a residential quarter of Singapore, where traffic keeps to the left"
    ),
    "singapore-hollandvillage": (
        "among the small streets of a village in Singapore, where traffic keeps to the left"
    ),
}
"""How a prompt describes each of ``taxonomy.REGIONS``."""

WEATHER_PROMPTS: dict[str, str] = {
    "unknown": "A drive; nothing is known of the weather or the light.",
    "clear": "A drive on a clear dry day: cameras see far and sharp, and so does the LiDAR.",
    "rain": (
        "A drive in rain: drops on the lenses, a wet mirroring road, and laser beams scattered by "
        "the rain."
    ),
    "night": "A drive at night: cameras see little but lamps, the LiDAR sees as by day.",
    "rain at night": (
        "A drive in rain at night: dark blurred images full of reflections, and laser beams "
        "scattered by the rain."
    ),
}
"""The prompt about each of ``taxonomy.WEATHERS``."""


def class_phrase(class_id: int, labels: LabelSet = NUSCENES) -> str:
    """How a prompt describes a class: as that of nuScenes where one has the same name, else by the
    name itself; the empty class stands for the scene in general.
    """
    name = labels.names[class_id]
    if class_id == labels.empty:
        return CLASS_PHRASES[NUSCENES.empty]
    if name in NUSCENES.names:
        return CLASS_PHRASES[NUSCENES.names.index(name)]
    return name.replace("_", " ").replace("-", " ")


def instance_prompt(class_id: int, region: str, labels: LabelSet = NUSCENES) -> str:
    """The prompt about a class in a region; for the empty class the general prompt about the scene.

    Args:
        class_id: an id of ``labels``.
        region: one of ``taxonomy.REGIONS``.
        labels: meaning of the class ids.
    """
    text = f"{class_phrase(class_id, labels)}, {REGION_PHRASES[region]}."
    return text[0].upper() + text[1:]


def all_prompts(labels: LabelSet = NUSCENES) -> tuple[str, ...]:
    """Every prompt: all classes in the first region, in the second, ..., then all weathers."""
    classes = range(len(labels.names))
    return (
        *(instance_prompt(label, region, labels) for region in REGIONS for label in classes),
        *(WEATHER_PROMPTS[weather] for weather in WEATHERS),
    )


PROMPTS = all_prompts()
"""Every prompt about the classes of nuScenes."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """Use of prompts (VLMFusionOcc3D).

    Raises:
        ValueError: a field is out of range; the text names it and its value.
    """

    instances: bool = True
    """InstVLM: the voxels of both sensors attend to the prompts about region and classes."""
    weather: bool = True
    """WeathFusion: the prompt about the weather weights the sensors against each other."""
    width: int = 256
    """Width of an embedding: 256 for the sentence encoder, 512 for CLIP."""

    def __post_init__(self) -> None:
        if not (self.instances or self.weather):
            raise ValueError(
                "LanguageConfig: instances and weather are both off; prompts would change nothing"
            )
        if self.width < 1:
            raise ValueError(f"LanguageConfig.width must be at least 1, got {self.width}")


class Prompts(NamedTuple):
    """Embeddings of the prompts for a batch of frames."""

    embeddings: Float[Tensor, "batch prompt width"]
    """The general prompt, one per class in the frame's region, and the one about the weather."""
    mask: Bool[Tensor, "batch prompt"]
    """Prompts that the model may attend to."""
    weather: Float[Tensor, "batch width"]
    """The prompt about the frame's weather."""
    all_weathers: Float[Tensor, "weather width"]
    """The prompts about all weathers, in the order of ``taxonomy.WEATHERS``."""


class PromptTable(nn.Module):
    """Embeddings of ``all_prompts``, from which those of a frame are selected.

    Until it is filled the table is zero, and the prompts have no influence.

    Args:
        width: width of an embedding.
        labels: the classes that prompts are about.
    """

    embeddings: Tensor

    def __init__(self, width: int, labels: LabelSet = NUSCENES) -> None:
        super().__init__()
        self.labels = labels
        self.register_buffer("embeddings", torch.zeros(len(all_prompts(labels)), width))

    def fill(self, embeddings: Float[Tensor, "prompt width"]) -> None:
        """Stores a text encoder's embeddings of ``all_prompts``; gradients flow back to an encoder
        that is being trained.

        Raises:
            ValueError: number or width of the embeddings differ from the table's.
        """
        if embeddings.shape != self.embeddings.shape:
            raise ValueError(
                f"the text encoder's embeddings are {tuple(embeddings.shape)} [prompt, width], the "
                f"model's table is {tuple(self.embeddings.shape)}; set LanguageConfig.width to the "
                "encoder's"
            )
        self.embeddings = embeddings.to(self.embeddings)

    def forward(
        self, context: tuple[DriveContext, ...], classes: Bool[Tensor, "batch class"] | None
    ) -> Prompts:
        """Selects the prompts of each frame of a batch.

        Args:
            classes: classes whose prompts are used; None, as in a first frame, leaves the general
                prompt and the one about the weather.
        """
        device = self.embeddings.device
        regions = torch.tensor([REGIONS.index(drive.region) for drive in context], device=device)
        weathers = torch.tensor([WEATHERS.index(drive.weather) for drive in context], device=device)
        return self.select(regions, weathers, classes)

    def select(
        self,
        regions: Int[Tensor, " batch"],
        weathers: Int[Tensor, " batch"],
        classes: Bool[Tensor, "batch class"] | None,
    ) -> Prompts:
        """As ``forward``, for positions in ``taxonomy.REGIONS`` and ``taxonomy.WEATHERS``."""
        device, count = self.embeddings.device, len(self.labels.names)
        by_region = self.embeddings[: -len(WEATHERS)].view(len(REGIONS), count, -1)
        by_weather = self.embeddings[-len(WEATHERS) :]
        weather = by_weather[weathers]  # [B, W]
        mask = torch.zeros(len(regions), count + 1, dtype=torch.bool, device=device)
        if classes is not None:
            mask[:, :-1] = classes
        mask[:, self.labels.empty] = True  # the general prompt has the place of the empty class
        mask[:, -1] = True
        embeddings = torch.cat([by_region[regions], weather[:, None]], dim=1)
        return Prompts(embeddings, mask, weather, by_weather)


class NoPrompts(nn.Module):
    """The prompt table of a model without prompts: it holds none."""

    def fill(self, embeddings: Float[Tensor, "prompt width"]) -> None:
        """Does nothing, as no prompt is used."""

    def forward(
        self, context: tuple[DriveContext, ...], classes: Bool[Tensor, "batch class"] | None
    ) -> Prompts:
        batch_size = len(context)
        nothing = torch.zeros(batch_size, 0)
        return Prompts(nothing[..., None], nothing.bool(), nothing, nothing[:0])


def classes_seen(
    head: HeadOutput, before: Bool[Tensor, "batch class"] | None
) -> Bool[Tensor, "batch class"]:
    """The classes that the prompts of the next frame name: the recursive prompt.

    A class enters when some voxel has it with more than ``SEEN_ABOVE``, and leaves when none has it
    with more than ``UNSEEN_BELOW``, so that it does not come and go with every frame. Only the
    head's output counts: a class is not prompted again because it was prompted before.

    Args:
        head: output for this frame.
        before: the classes that this frame's prompts named; None in a first frame.
    """
    probability = head.fine.detach().float().softmax(dim=1)  # [child, class]
    batch, classes = head.coarse.shape[:2]
    highest = probability.new_zeros(batch, classes)
    children_per_sample = torch.bincount(head.children[:, 0], minlength=batch).tolist()
    for sample, children in enumerate(probability.split(children_per_sample)):
        # the maximum over long rows is 20 times faster than over rows of 17 classes
        rows = F.pad(children, (0, 0, 0, -len(children) % BLOCK)).view(-1, BLOCK * classes)
        if len(rows):
            highest[sample] = rows.amax(dim=0).view(BLOCK, classes).amax(dim=0)
    seen = highest > SEEN_ABOVE
    return seen if before is None else seen | (before & (highest > UNSEEN_BELOW))
