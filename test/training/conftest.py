from pathlib import Path

import pytest

from training.world.box_world import box_drive
from training.world.nuscenes import tables
from training.world.nuscenes.writer import SceneOptions, SceneWriter


@pytest.fixture(scope="session")
def box_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nuScenes data root with labels: three drives of two keyframes past a car and a wall, at
    different speeds.
    """
    root = tmp_path_factory.mktemp("box_town")
    options = SceneOptions(version="v1.0-town", keyframes=2, image_size=(64, 192))
    parts = []
    for index in range(3):
        drive = box_drive(
            speed_mps=2.0 + 3.0 * index, name=f"scene-box-{index}", duration_s=options.end_s
        )
        parts.append(root / f"part{index}.json")
        tables.write_json(parts[-1], SceneWriter(root, drive, 0, index, options).write())
    tables.assemble(root, options.version, parts)
    return root
