"""Pictures of the demo: every answered keyframe, an animation, and the sensor weights over time."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe
from occ_core.voxel_grid import VoxelGrid
from training.demo_parts.progress import say
from training.demo_parts.summary import Answer
from training.figures.keyframe import animation, keyframe_picture, write_picture
from training.figures.sensor_weights import Moment


class _Picture(NamedTuple):
    """Everything that a worker process needs to draw one picture."""

    path: Path
    keyframe: Keyframe
    prediction: np.ndarray
    truth: np.ndarray
    grid: VoxelGrid
    title: str


def draw_keyframes(
    folder: Path,
    keyframes: list[Keyframe],
    answers: dict[int, Answer],
    truths: dict[int, np.ndarray],
    grid: VoxelGrid,
) -> list[Path]:
    """Draws a PNG of every answered keyframe and an animation of all of them.

    Args:
        folder: receives ``keyframes/*.png`` and ``animation.webp``.
        keyframes: all keyframes of the drive, in time order.
        answers: by the stamp of the keyframe.
        truths: labels uint8 [X, Y, Z] by the stamp of the keyframe.
        grid: grid of both.

    Returns:
        The paths of all pictures.
    """
    pictures = []
    for number, keyframe in enumerate(keyframes):
        if (answer := answers.get(keyframe.stamp_ns)) is None:
            continue
        title = "   |   ".join(
            [keyframe.description, keyframe.location, f"keyframe {number + 1} of {len(keyframes)}"]
        )
        path = folder / "keyframes" / f"{number:03d}.png"
        truth = truths[keyframe.stamp_ns]
        pictures.append(_Picture(path, keyframe, answer.labels, truth, grid, title))
    # Fresh processes: forked ones would inherit thread pools in an undefined state.
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        paths = []
        for path in pool.imap(_draw, pictures):
            paths.append(path)
            say(f"  picture {len(paths)} of {len(pictures)}")
    film = folder / "animation.webp"
    animation([np.asarray(Image.open(path)) for path in paths], film)
    return [*paths, film]


def sensor_weights(keyframes: list[Keyframe], answers: dict[int, Answer]) -> list[Moment]:
    """The sensor weights of all answers that have them, in time order."""
    first_ns = keyframes[0].stamp_ns
    moments = []
    for keyframe in keyframes:
        answer = answers.get(keyframe.stamp_ns)
        if answer is not None and answer.weights is not None:
            time_s = (keyframe.stamp_ns - first_ns) * 1e-9
            moments.append(Moment(time_s, keyframe.context.weather, answer.weights))
    return moments


def _draw(picture: _Picture) -> Path:
    keyframe = picture.keyframe
    images = [keyframe.cameras[channel].read()[0] for channel in NUSCENES_CAMERAS]
    image = keyframe_picture(images, picture.prediction, picture.truth, picture.grid, picture.title)
    write_picture(image, picture.path)
    return picture.path
