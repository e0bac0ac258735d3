"""Training on the folder of every data set with occupancy labels, as its makers distribute it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from official_layouts import (
    KITTI_SHAPE,
    random_labels,
    write_kitti_360,
    write_kitti_scan,
    write_kitti_voxels,
    write_occ3d,
    write_openoccupancy,
)

from occ_core.checkpoint import load_checkpoint
from occ_core.datasets.keyframe_labels import KeyframeBenchmark, keyframe_label_path
from occ_core.datasets.nuscenes import NuScenes
from occ_core.datasets.samples import LabelledFrames
from occ_core.datasets.surroundocc import coarsen_labels
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.temporal import TemporalConfig
from training.learning.augment import AugmentConfig, other_sensors
from training.learning.config import TrainConfig
from training.learning.examples import TrainingExamples, drives
from training.learning.loader import load_clips, split_frames
from training.train import train

SCAN = np.array([[10.0, 2.0, -1.0, 0.5], [4.0, -3.0, 1.0, 1.0]], dtype=np.float32)
UNOCCLUDED = np.zeros(KITTI_SHAPE, dtype=bool)
RATIO = {"occ3d": 4, "openoccupancy": 8, "semantic_kitti": 8, "kitti360": 8}
"""Voxels of the benchmark per voxel of the model, which has 1.6 m ones."""


def labels_of(seed: int) -> np.ndarray:
    return random_labels(KITTI_SHAPE, 19, seed=seed)


def write_semantic_kitti(root: Path, _: Path) -> Path:
    """Sequences 00 and 08 of six scans, of which the first and the last have labels."""
    for seed, sequence in enumerate(("00", "08")):
        for number in range(6):
            folder = write_kitti_scan(root, number, SCAN, sequence)
        for number in (0, 5):
            write_kitti_voxels(folder, number, labels_of(2 * seed + number // 5), UNOCCLUDED, SCAN)
    return root


def write_sscbench(root: Path, _: Path) -> Path:
    """Drives 0 and 6 of two frames."""
    for drive in (0, 6):
        for number in (0, 5):
            name = f"2013_05_28_drive_{drive:04d}_sync"
            write_kitti_360(root, number, labels_of(number), drive=name)
    return root


def write_keyframes(root: Path, box_town: Path, name: KeyframeBenchmark) -> Path:
    """The town's three drives with another benchmark's labels."""
    shutil.copytree(box_town, root, dirs_exist_ok=True)
    benchmark = BENCHMARKS[name]
    shape, empty = benchmark.grid.shape, benchmark.labels.empty
    seen = np.ones(shape, dtype=bool)
    for keyframe in NuScenes(root).keyframes():
        path = keyframe_label_path(name, root, keyframe)
        labels = random_labels(shape, 17, empty, ignored=name != "occ3d")
        if name == "occ3d":
            write_occ3d(path, labels, seen, seen)
        else:
            write_openoccupancy(path, labels)
    return root


WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    "occ3d": lambda root, town: write_keyframes(root, town, "occ3d"),
    "openoccupancy": lambda root, town: write_keyframes(root, town, "openoccupancy"),
    "semantic_kitti": write_semantic_kitti,
    "kitti360": write_sscbench,
}


def training_on(name: str, config: TrainConfig, data: Path) -> TrainConfig:
    """The smallest training on a benchmark's labels, with the last drive for validation."""
    benchmark = BENCHMARKS[name]
    model = replace(
        config.model,
        grid=benchmark.grid.coarser(RATIO[name]),
        grid_frame=benchmark.grid_frame,
        labels=benchmark.labels,
        # 1.6 m voxels of 51.2 x 51.2 x 6.4 m: 32 x 32 x 4; OpenOccupancy's are 64 x 64 x 5
        cascade_ratio=1 if name == "openoccupancy" else 2,
    )
    return replace(config, model=model, data=data, validation_scenes=1, sweeps=9)


@pytest.fixture
def kitti(tmp_path: Path, smallest: TrainConfig) -> TrainConfig:
    return training_on("semantic_kitti", smallest, write_semantic_kitti(tmp_path / "data", Path()))


@pytest.mark.parametrize("name", WRITERS)
def test_every_data_set_trains(
    name: str, smallest: TrainConfig, box_town: Path, tmp_path: Path
) -> None:
    """Two steps with the default augmentation, mirrors included, and a validation."""
    data = WRITERS[name](tmp_path / "data", box_town)
    config = training_on(name, replace(smallest, augment=AugmentConfig()), data)
    model, description = load_checkpoint(train(config))
    assert model.config.labels == BENCHMARKS[name].labels
    assert description["frame_id"] == BENCHMARKS[name].grid_frame
    assert description["made_by"]["validation"]["frames"] == 1


def test_labels_lie_on_the_models_grid_and_drives_follow_the_sequences(kitti: TrainConfig) -> None:
    training, validation = split_frames(replace(kitti, validation_scenes=1))
    assert isinstance(training, LabelledFrames)
    assert drives(training) == [[0, 1]]
    assert [training.name(index) for index in (0, 1)] == ["00/000000", "00/000005"]
    assert [validation.name(index) for index in (0, 1)] == ["08/000000", "08/000005"]
    frame, labels = validation[1]
    assert labels is not None and labels.shape == (32, 32, 4)
    assert np.array_equal(labels.numpy(), coarsen_labels(labels_of(3), 8))
    assert frame.points[0].shape == (5 * 2, 5)  # 9 sweeps of 0.05 s: the four scans of 0.45 s


def test_the_official_split_of_sequences(kitti: TrainConfig) -> None:
    """00 trains and 08 validates, whatever their order by name."""
    training, validation = split_frames(replace(kitti, split="train"))
    assert {training.drive(0), training.drive(1)} == {"00"} and validation.drive(0) == "08"
    shutil.rmtree(kitti.data / "sequences" / "08")
    with pytest.raises(FileNotFoundError, match=r"of the split 'val', \['08'\]"):
        split_frames(replace(kitti, split="train"))


@pytest.mark.parametrize("split", ["val", "mine"])
def test_a_split_that_validates_on_itself_is_refused(
    split: str, box_town: Path, smallest: TrainConfig, kitti: TrainConfig, tmp_path: Path
) -> None:
    """SemanticKITTI's val, and a split of one's own in nuScenes whose name does not say train."""
    config = kitti
    if split == "mine":
        root = Path(shutil.copytree(box_town, tmp_path / "town"))
        (root / "v1.0-town" / "splits.json").write_text('{"mine": ["scene-box-0"]}')
        config = replace(smallest, data=root)
    with pytest.raises(ValueError, match=f"--split {split} validates on drives that it trains on"):
        split_frames(replace(config, split=split))


def test_a_memory_goes_through_the_labelled_scans_of_a_sequence(kitti: TrainConfig) -> None:
    """One clip is the whole sequence: 0.0 and 0.5 s, 10 m apart; a process of its own loads it."""
    model = replace(kitti.model, temporal=TemporalConfig())
    config = replace(kitti, model=model, workers=1, steps=1)
    training, _ = split_frames(config)
    (clip,) = load_clips(training, config, 0)
    assert [example.frame.stamp_ns for example in clip] == [(0,), (500_000_000,)]
    assert [example.drive for example in clip] == [(0, 0)] * 2
    assert [example.ends_drive for example in clip] == [False, True]
    train(config)


def test_a_damaged_scan_is_replaced_by_the_nearest_of_its_sequence(kitti: TrainConfig) -> None:
    path = kitti.data / "sequences" / "00" / "voxels" / "000005.invalid"
    path.unlink()
    stopping, _ = split_frames(kitti)
    with pytest.raises(FileNotFoundError, match=r"000005.invalid is missing"):
        TrainingExamples(stopping, 2, None, seed=0)[0, 1]
    going_on, _ = split_frames(replace(kitti, damaged="skip"))
    examples = TrainingExamples(going_on, 2, None, seed=0)
    with pytest.warns(UserWarning, match="1 keyframes so far"):
        instead = examples[0, 1]
    assert torch.equal(instead.labels, examples[0, 0].labels)


@pytest.mark.parametrize("part", ["voxels/{}.label", "velodyne/{}.bin", "image_2/{}.png"])
def test_a_damaged_scan_of_the_validation_is_left_out_and_counted(
    kitti: TrainConfig, part: str
) -> None:
    """Two scans validate, 000000 and 000005; the picture, which is of the second, shows the other
    one. The later of the two is damaged: the earlier is in nobody's history.
    """
    path = kitti.data / "sequences" / "08" / part.format("000005")
    path.write_bytes(path.read_bytes()[:-3])
    config = replace(kitti, validation_frames=2)
    with pytest.raises(ValueError, match=path.name):
        train(config)
    going_on = replace(config, damaged="skip", out=kitti.out.with_name("going_on"))
    with pytest.warns(UserWarning, match=r"sample 1 is left out: .*000005"):
        checkpoint = train(going_on)
    _, description = load_checkpoint(checkpoint)
    validation = description["made_by"]["validation"]
    assert (validation["frames"], validation["skipped"]) == (1, 1)
    assert len(list((going_on.out / "pictures").iterdir())) == 1


def test_training_images_that_are_all_damaged_end_the_training(kitti: TrainConfig) -> None:
    for path in (kitti.data / "sequences" / "00" / "image_2").iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"00/image_2/00000[05]\.png"):
        train(kitti)
    going_on = replace(kitti, damaged="skip", out=kitti.out.with_name("going_on"))
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no keyframe of 00 can be rea"):
        train(going_on)
    shutil.rmtree(kitti.data / "sequences" / "00" / "image_2")
    with pytest.raises(FileNotFoundError, match="00/image_2 holds no images"):
        split_frames(kitti)


def test_scans_were_measured_where_the_car_was(kitti: TrainConfig) -> None:
    """2 m in 0.1 s: the scan before was taken 2 m behind along the Velodyne's x."""
    training, _ = split_frames(kitti)
    sweeps = training.sweeps(1)
    assert [sweep.stamp_ns for sweep in sweeps] == [500_000_000 - 100_000_000 * n for n in range(5)]
    behind = np.linalg.inv(sweeps[0].world_from_sensor) @ sweeps[1].world_from_sensor
    np.testing.assert_allclose(behind[:3, 3], [-2, 0, 0], atol=1e-9)
    varied = replace(other_sensors(), quarter_turn=None)
    example = TrainingExamples(training, 2, varied, seed=0)[0, 1]
    assert example.labels.shape == (1, 32, 32, 4)


def test_a_model_in_another_frame_is_refused(kitti: TrainConfig) -> None:
    wrong = replace(kitti, model=replace(kitti.model, grid_frame="lidar"))
    with pytest.raises(ValueError, match=r"set --model.grid-frame velodyne"):
        split_frames(wrong)


def test_a_label_set_of_no_data_set_is_refused(kitti: TrainConfig) -> None:
    labels = replace(kitti.model.labels, name="mine")
    with pytest.raises(ValueError, match="no data set has labels of 'mine'"):
        split_frames(replace(kitti, model=replace(kitti.model, labels=labels)))
