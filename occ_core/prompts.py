"""The sentences that tell the model of the drive, and the table of their embeddings
(VLMFusionOcc3D, Figs. 4 and 6).

Classes, regions and weathers are few, so every prompt there can be is embedded once and kept with
the weights: the robot needs no text encoder, and a frame costs no run of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.taxonomy import EMPTY, NUM_CLASSES, REGIONS, WEATHERS
from occ_core.types import DriveContext, HeadOutput

BLOCK = 64
"""Voxels whose probabilities are compared at a time."""
SEEN_ABOVE = 0.5
"""A class is prompted from the frame on after one in which a voxel was given it with this
probability ...
"""
UNSEEN_BELOW = 0.4
"""... and until the frame after one in which no voxel was given it with this."""

CLASSES: tuple[str, ...] = (
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
"""What a prompt says of each class, in the order of ``taxonomy.CLASS_NAMES``; the first names none.
"""

PLACES: dict[str, str] = {
    "unknown": "in a city",
    "boston-seaport": "in Boston, USA, where traffic keeps to the right",
    "singapore-onenorth": "in the research quarter of Singapore, where traffic keeps to the left",
    "singapore-queenstown": "in a residential quarter of Singapore, where traffic keeps to the left",
    "singapore-hollandvillage": "among the small streets of a village in Singapore, where traffic keeps to the left",
}
"""What a prompt says of each of ``taxonomy.REGIONS``."""

WEATHER_PROMPTS: dict[str, str] = {
    "unknown": "A drive; nothing is known of the weather or the light.",
    "clear": "A drive on a clear dry day: cameras see far and sharp, and so does the LiDAR.",
    "rain": "A drive in rain: drops on the lenses, a wet mirroring road, and laser beams scattered by the rain.",
    "night": "A drive at night: cameras see little but lamps, the LiDAR sees as by day.",
    "rain at night": "A drive in rain at night: dark blurred images full of reflections, and laser beams scattered by the rain.",
}
"""What is said of each of ``taxonomy.WEATHERS``."""


def instance_prompt(class_id: int, region: str) -> str:
    """The sentence about a class in a region; of no class in particular for 0."""
    text = f"{CLASSES[class_id]}, {PLACES[region]}."
    return text[0].upper() + text[1:]


PROMPTS: tuple[str, ...] = (
    *(instance_prompt(class_id, region) for region in REGIONS for class_id in range(NUM_CLASSES)),
    *(WEATHER_PROMPTS[weather] for weather in WEATHERS),
)
"""Every prompt there is: classes of the first region, of the second, ..., then the weathers."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """What prompts are used for (VLMFusionOcc3D)."""

    instances: bool = True
    """InstVLM: voxels of either sensor attend to the prompts."""
    weather: bool = True
    """WeathFusion: the weather's prompt weighs the sensors."""
    width: int = 256
    """Of a prompt's embedding: 256 of the sentence encoder, 512 of CLIP's."""

    def __post_init__(self) -> None:
        if not (self.instances or self.weather):
            raise ValueError(
                "LanguageConfig: instances and weather are both off; prompts would change nothing"
            )
        if self.width < 1:
            raise ValueError(f"LanguageConfig.width must be at least 1, got {self.width}")


class Prompts(NamedTuple):
    """The embeddings that a batch is told of."""

    embeddings: Float[Tensor, "batch prompt width"]
    """One a class, the general one first; and the weather's."""
    said: Bool[Tensor, "batch prompt"]
    """Which of them are said."""
    weather: Float[Tensor, "batch width"]
    weathers: Float[Tensor, "weather width"]
    """All of them, in the order of ``taxonomy.WEATHERS``."""


class PromptTable(nn.Module):
    """The embeddings of all ``PROMPTS``, and which of them a frame is told.

    A table never filled is of zeros, and says nothing.
    """

    embeddings: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(len(PROMPTS), width))

    def fill(self, embeddings: Float[Tensor, "prompt width"]) -> None:
        """Takes over what a text encoder made of ``PROMPTS``; gradients pass, where that encoder
        learns.

        Raises:
            ValueError: they are not as many, or not as wide, as the table.
        """
        if embeddings.shape != self.embeddings.shape:
            raise ValueError(
                f"the text encoder's embeddings are {tuple(embeddings.shape)} [prompt, width], the "
                "model's table is "
                f"{tuple(self.embeddings.shape)}; set LanguageConfig.width to the encoder's"
            )
        self.embeddings = embeddings.to(self.embeddings)

    def forward(
        self, context: tuple[DriveContext, ...], classes: Bool[Tensor, "batch class"] | None
    ) -> Prompts:
        """
        Args:
            classes: those to be named; None names none: the general prompt alone (the first
                frame's).
        """
        device = self.embeddings.device
        regions = torch.tensor([REGIONS.index(one.region) for one in context], device=device)
        weathers = torch.tensor([WEATHERS.index(one.weather) for one in context], device=device)
        by_region = self.embeddings[: -len(WEATHERS)].view(len(REGIONS), NUM_CLASSES, -1)
        by_weather = self.embeddings[-len(WEATHERS) :]
        weather = by_weather[weathers]  # [B, W]
        said = torch.zeros(len(context), NUM_CLASSES + 1, dtype=torch.bool, device=device)
        if classes is not None:
            said[:, :-1] = classes
        said[:, EMPTY] = said[:, -1] = True
        told = torch.cat([by_region[regions], weather[:, None]], dim=1)
        return Prompts(told, said, weather, by_weather)


def classes_seen(
    head: HeadOutput, before: Bool[Tensor, "batch class"] | None
) -> Bool[Tensor, "batch class"]:
    """The classes that the next frame is told of: the recursive prompt, from what the head says of
    this one.

    A class enters where some voxel most likely is of it, and leaves when none is even probably so:
    neither comes and goes with every frame. That the model was told of a class is no reason to tell
    it again.
    """
    probability = head.fine.detach().float().softmax(dim=1)  # [child, class]
    batch, classes = head.coarse.shape[:2]
    highest = probability.new_zeros(batch, classes)
    for sample, children in enumerate(
        probability.split(torch.bincount(head.children[:, 0], minlength=batch).tolist())
    ):
        rows = F.pad(children, (0, 0, 0, -len(children) % BLOCK)).view(
            -1, BLOCK * classes
        )  # long rows: 20 times faster
        if len(rows):
            highest[sample] = rows.amax(dim=0).view(BLOCK, classes).amax(dim=0)
    seen = highest > SEEN_ABOVE
    return seen if before is None else seen | (before & (highest > UNSEEN_BELOW))
