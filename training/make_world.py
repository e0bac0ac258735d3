"""Makes synthetic drives in the official nuScenes v1.0 layout: ``python -m training.make_world OUT
--scenes N --seed S``.

A killed run continues where it was: a drive counts once its records are in ``OUT/.parts``. The same
seed gives the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import tyro
from tqdm import tqdm

from training.world.nuscenes import tables
from training.world.nuscenes.writer import SceneOptions, SceneWriter
from training.world.town import make_drive


@dataclass(frozen=True)
class WorldConfig:
    """A world of generated drives."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder that becomes the nuScenes dataroot."""
    scenes: int
    """How many towns, each with a drive through it."""
    seed: int
    """Same seed, same world."""
    keyframes: int = 40
    """Of a scene, two a second."""
    image_size: tuple[int, int] = (900, 1600)
    """Height and width in pixels; the intrinsics follow."""
    workers: int = 2
    """Processes; one drive each at a time."""
    weathers: tuple[Literal["clear", "rain", "night", "rain at night"], ...] = ()
    """Every drive becomes a scene in each of these; without any, it has one weather, of its own."""
    consecutive: bool = False
    """A drive's scenes follow one another: it goes from one weather into the next. Otherwise it is
    driven anew in each.
    """
    region: str | None = None
    """``log.location`` of all drives; without it they differ."""
    version: str = "v1.0-town"
    """Folder of the tables."""

    def __post_init__(self) -> None:
        for name in ("scenes", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"WorldConfig.{name} must be at least 1, got {getattr(self, name)}"
                )
        if len(set(self.weathers)) < len(self.weathers):
            raise ValueError(f"WorldConfig.weathers names a weather twice: {self.weathers}")
        if self.consecutive and len(self.weathers) < 2:
            raise ValueError(
                f"WorldConfig.consecutive needs two weathers or more, got {self.weathers}"
            )
        if self.seed < 0:
            raise ValueError(f"WorldConfig.seed must not be negative, got {self.seed}")

    @property
    def weather_of_drives(self) -> tuple[str | None, ...]:
        """What each town is driven through in; None is a weather of its own."""
        return self.weathers or (None,)

    @property
    def drives(self) -> int:
        """Towns times weathers."""
        return self.scenes * len(self.weather_of_drives)

    def scene_options(self, number: int) -> SceneOptions:
        """Of the scenes in the weather of that number."""
        first = number * self.keyframes if self.consecutive else 0
        return SceneOptions(
            version=self.version, keyframes=self.keyframes, image_size=self.image_size, first=first
        )

    @property
    def duration_s(self) -> float:
        """Of a drive, through all its weathers."""
        return self.scene_options(len(self.weather_of_drives) - 1).end_s


def part_path(out: Path, index: int) -> Path:
    """The file whose existence says that drive ``index`` is complete; it holds its records."""
    return out / ".parts" / f"{index:05d}.json"


def make_scene(config: WorldConfig, index: int) -> None:
    """Writes drive ``index`` and, as the last thing, its records."""
    town, number = divmod(index, len(config.weather_of_drives))
    drive = make_drive(
        config.seed, town, config.weather_of_drives[number], config.region, config.duration_s
    )
    if len(config.weathers) > 1:
        drive = dataclasses.replace(drive, name=f"{drive.name}-{drive.weather.replace(' ', '-')}")
    when = (
        index - number if config.consecutive else index
    )  # scenes of one drive lie on one time line
    records = SceneWriter(config.out, drive, config.seed, when, config.scene_options(number)).write(
        _count_keyframe
    )
    tables.write_json(part_path(config.out, index), records)


def make_world(config: WorldConfig) -> None:
    """Writes all drives that are still missing under ``config.out``, then the tables.

    Raises:
        ValueError: the folder holds a world made with other settings.
    """
    _check_same_world(config)
    missing = [index for index in range(config.drives) if not part_path(config.out, index).exists()]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.make_world"])
    counter = context.Value("q", 0)
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers are the parallelism
    with (
        tqdm(total=config.drives * config.keyframes, unit="keyframe", desc="drives") as bar,
        context.Pool(min(config.workers, max(len(missing), 1)), _start_worker, (counter,)) as pool,
    ):
        bar.update((config.drives - len(missing)) * config.keyframes)
        running = [pool.apply_async(make_scene, (config, index)) for index in missing]
        done = 0
        while done < counter.value or not all(result.ready() for result in running):
            bar.update(counter.value - done)
            done += counter.value - done
            for result in running:
                if result.ready():
                    result.get()  # an error in a worker ends the run here
            time.sleep(0.2)
    tables.assemble(
        config.out, config.version, [part_path(config.out, index) for index in range(config.drives)]
    )


_counter: Synchronized[int] | None = None


def _start_worker(counter: Any) -> None:
    global _counter
    _counter = counter
    cv2.setNumThreads(1)


def _count_keyframe() -> None:
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += 1


def _check_same_world(config: WorldConfig) -> None:
    """Notes the settings on the first run; refuses others on the next."""
    settings = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    for free in ("out", "scenes", "workers"):
        settings.pop(free)
    path = config.out / ".parts" / "settings.json"
    earlier = json.loads(path.read_text()) if path.exists() else settings
    earlier.setdefault("consecutive", False)
    if (
        "weathers" not in earlier and earlier.pop("weather", "") is None
    ):  # made before a drive could be made in several
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
    make_world(tyro.cli(WorldConfig, description=__doc__))


if __name__ == "__main__":
    main()
