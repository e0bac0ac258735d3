"""Makes synthetic drives in the nuScenes v1.0 layout: ``python -m training.make_world OUT``.

A run that was interrupted continues where it stopped: a scene counts as complete once its records
are in ``OUT/.parts``. The same seed gives the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import cv2
import tyro
from tqdm import tqdm

from training.engines.tasks import Engine, map_tasks
from training.world.nuscenes import tables
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.writer import SceneWriter
from training.world.style import WorldName, world_style
from training.world.town import make_drive


@dataclass(frozen=True)
class WorldConfig:
    """A data set of generated drives."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder that becomes the nuScenes data root."""
    scenes: int
    """Number of towns, each with one drive."""
    seed: int
    """The same seed gives the same world."""
    keyframes: int = 40
    """Keyframes of a scene, two a second."""
    image_size: tuple[int, int] = (900, 1600)
    """Height and width in pixels; the intrinsics are scaled to them."""
    workers: int = 2
    """Number of processes of the engine ``local``, each of which makes one scene at a time."""
    engine: Engine = "local"
    """Where scenes are made: in processes of this machine, or on a Ray cluster, a scene on each
    core. All its machines must see ``out`` at the same path.
    """
    weathers: tuple[Literal["clear", "rain", "night", "rain at night"], ...] = ()
    """Every drive becomes a scene in each of these; by default in one random weather."""
    consecutive: bool = False
    """Whether the scenes of a drive follow one another, so that the weather changes on the way;
    otherwise the same drive is repeated in each weather.
    """
    region: str | None = None
    """``log.location`` of all drives; random by default."""
    version: str = "v1.0-town"
    """Folder of the tables."""
    world: WorldName = "town"
    """The plain, tidy town, or the harder world, which needs both cameras and LiDAR: woods, flush
    kerbs, look-alikes, materials of any colour and reflectivity, and sensors that vary; or a
    mixture of them, two hard towns to each plain one, with kerbs and weather as usual.
    """

    def __post_init__(self) -> None:
        for name in ("scenes", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"WorldConfig.{name} must be at least 1, got {getattr(self, name)}"
                )
        if len(set(self.weathers)) < len(self.weathers):
            raise ValueError(f"WorldConfig.weathers contains a weather twice: {self.weathers}")
        if self.consecutive and len(self.weathers) < 2:
            raise ValueError(
                f"WorldConfig.consecutive needs two weathers or more, got {self.weathers}"
            )
        if self.seed < 0:
            raise ValueError(f"WorldConfig.seed must not be negative, got {self.seed}")

    @property
    def scene_weathers(self) -> tuple[str | None, ...]:
        """Weather of each scene of a drive; None is random."""
        return self.weathers or (None,)

    @property
    def total_scenes(self) -> int:
        """Number of towns times weathers."""
        return self.scenes * len(self.scene_weathers)

    def duration_s(self, label_span_s: float) -> float:
        """Duration of a drive through all its weathers, and as far as its labels reach."""
        last = self.scene_options(len(self.scene_weathers) - 1)
        return max(last.end_s, last.begin_s + label_span_s + 0.1)

    def scene_options(self, number: int) -> SceneOptions:
        """Options of the scene in weather ``number``."""
        first = number * self.keyframes if self.consecutive else 0
        return SceneOptions(
            version=self.version, keyframes=self.keyframes, image_size=self.image_size, first=first
        )


def make_world(config: WorldConfig) -> None:
    """Writes all scenes that are still missing under ``config.out``, then the tables.

    Raises:
        ValueError: the folder holds a world that was made with other settings.
        RuntimeError: workers die again and again, or Ray is not installed.
    """
    config = dataclasses.replace(config, out=config.out.resolve())  # workers start elsewhere
    _check_settings(config)
    parts = [part_path(config.out, index) for index in range(config.total_scenes)]
    missing = {str(index): index for index, part in enumerate(parts) if not part.exists()}
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers already use all cores
    with tqdm(total=len(parts), initial=len(parts) - len(missing), unit="drive") as bar:
        make, preload = partial(make_scene, config), "training.make_world"
        for _ in map_tasks(config.engine, make, missing, config.workers, preload):
            bar.update()
    tables.assemble(config.out, config.version, parts)


def make_scene(config: WorldConfig, index: int) -> None:
    """Writes the files of scene ``index`` and finally its records."""
    cv2.setNumThreads(1)  # every core has a scene of its own
    town, number = divmod(index, len(config.scene_weathers))
    weather = config.scene_weathers[number]
    style = world_style(config.world, town)
    duration_s = config.duration_s(style.label_span_s)
    drive = make_drive(config.seed, town, weather, config.region, duration_s, style)
    if len(config.weathers) > 1:
        drive = dataclasses.replace(drive, name=f"{drive.name}-{drive.weather.replace(' ', '-')}")
    # Consecutive scenes of a drive share one time line.
    drive_index = index - number if config.consecutive else index
    options = dataclasses.replace(config.scene_options(number), rig=town)
    writer = SceneWriter(config.out, drive, config.seed, drive_index, options)
    tables.write_json(part_path(config.out, index), writer.write())


def part_path(out: Path, index: int) -> Path:
    """The file with the records of scene ``index``; it exists once the scene is complete."""
    return out / ".parts" / f"{index:05d}.json"


_HARD_GENERATION = 5
"""Counts the changes of the hard world after which the same seed gives other towns."""


def _check_settings(config: WorldConfig) -> None:
    """Saves the settings in the first run; a later run must have the same ones."""
    settings = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    for name in ("out", "scenes", "workers", "engine"):
        settings.pop(name)
    if config.world != "town":
        settings["generation"] = _HARD_GENERATION
    path = config.out / ".parts" / "settings.json"
    earlier = json.loads(path.read_text()) if path.exists() else settings
    # Worlds of older versions have no such fields: each drive had one weather, random if None.
    earlier.setdefault("consecutive", False)
    earlier.setdefault("world", "town")
    if earlier["world"] != "town":
        earlier.setdefault("generation", 1)
    if "weathers" not in earlier and earlier.pop("weather", "") is None:
        earlier["weathers"] = []
    if earlier != settings:
        differing = {
            name: (earlier.get(name), value)
            for name, value in settings.items()
            if earlier.get(name) != value
        }
        raise ValueError(
            f"{config.out} holds a world made with other settings (earlier, now): {differing}; "
            "choose another folder"
        )
    tables.write_json(path, settings)


def main() -> None:
    """Runs the command line."""
    try:
        make_world(tyro.cli(WorldConfig, prog="training.make_world", description=__doc__))
    except (RuntimeError, ValueError) as error:
        sys.exit(f"training.make_world: {error}")


if __name__ == "__main__":
    main()
