"""Pictures of voxels and keyframes, with the expected pixels worked out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occ_core.labels.sets import OCC3D, SEMANTIC_KITTI
from occ_core.taxonomy import CLASS_ID, IGNORE, PALETTE
from occ_core.voxel_grid import VoxelGrid
from training.figures.keyframe import animation, keyframe_picture, write_picture
from training.figures.voxel_render import (
    BACKGROUND_RGB,
    EGO_CAR,
    Viewpoint,
    VoxelScene,
    ego_car,
    viewpoint_above,
    viewpoint_behind,
)

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 1.0)  # 8 x 8 x 2 voxels
BICYCLE = CLASS_ID["bicycle"]


def one_voxel(x: int, y: int, label: int = BICYCLE) -> np.ndarray:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[x, y, 0] = label
    return labels


def covered(picture: np.ndarray) -> np.ndarray:
    return (picture != np.asarray(BACKGROUND_RGB)).any(axis=-1)


def test_a_voxel_seen_from_above_lies_where_the_grid_puts_it() -> None:
    picture = VoxelScene(one_voxel(6, 1), GRID, ego=()).render(viewpoint_above(GRID), 80, 80)
    # 8 m on 80 pixels are 10 pixels per voxel: x = 6 is in columns 60..69; +y is up, so that y = 1
    # is in rows 80 - 20 = 60..69.
    expected = np.zeros((80, 80), dtype=bool)
    expected[60:70, 60:70] = True
    assert np.array_equal(covered(picture), expected)
    # Its top is free and in full sun, so that the colour keeps its hue: crimson is mostly red.
    r, g, b = (int(c) for c in picture[65, 65])
    assert r > 150 and r > 2 * b > 2 * g


def test_a_grid_ahead_in_the_colours_of_its_label_set() -> None:
    """KITTI's frame: x = 7 of 8 voxels is the farthest, and up in both pictures; y points left, so
    that y = 7 is in the first columns. From above 10 pixels are a voxel. Road (9) is magenta, red
    and blue alike without any green; what is empty in that set is not drawn.
    """
    ahead = VoxelGrid((0.0, -4.0, -1.0, 8.0, 4.0, 1.0), 1.0)
    labels = np.zeros(ahead.shape, dtype=np.uint8)
    labels[7, 7, 0], labels[0, 0, 0] = 9, 9
    scene = VoxelScene(labels, ahead, ego=(), label_set=SEMANTIC_KITTI)
    picture = scene.render(viewpoint_above(ahead, "velodyne"), 80, 80)
    expected = np.zeros((80, 80), dtype=bool)
    expected[:10, :10] = expected[70:, 70:] = True
    assert np.array_equal(covered(picture), expected)
    r, g, b = (int(c) for c in picture[5, 5])
    assert r == b > 150 and g == 0
    labels[0, 0, 0], labels[4, 2, 0] = 0, 9
    scene = VoxelScene(labels, ahead, ego=(), label_set=SEMANTIC_KITTI)
    behind = covered(scene.render(viewpoint_behind(ahead, "velodyne"), 60, 100))
    rows, columns = np.nonzero(behind)
    left = columns < 50
    assert rows[left].mean() < rows[~left].mean()  # far away to the left, near to the right
    with pytest.raises(ValueError, match=r"class id 20, but known are 0..19 and 255"):
        VoxelScene(np.full(ahead.shape, 20, dtype=np.uint8), ahead, label_set=SEMANTIC_KITTI)
    free = np.full(ahead.shape, 17, dtype=np.uint8)
    nothing = VoxelScene(free, ahead, ego=(), label_set=OCC3D)
    assert not covered(nothing.render(viewpoint_above(ahead, "ego"), 20, 20)).any()


def test_the_vehicle_turns_with_the_frame() -> None:
    """Its body is 4.1 m long and 1.74 m wide: along y in nuScenes' LiDAR frame, along x in those
    whose x points forward; in the vehicle's frame its lower side is 1.84 - 1.6 m above the road.
    """
    body = ego_car("ego")[0]
    size_m = [high - low for low, high in zip(body.low_m, body.high_m, strict=True)]
    assert size_m == pytest.approx([4.1, 1.74, 0.65])
    assert body.low_m[2] == pytest.approx(0.24)
    assert ego_car("lidar") is EGO_CAR


def test_a_voxel_ahead_is_seen_above_one_behind() -> None:
    def mean_row(y: int) -> float:
        picture = VoxelScene(one_voxel(4, y), GRID, ego=()).render(viewpoint_behind(GRID), 60, 100)
        return float(np.argwhere(covered(picture))[:, 0].mean())

    assert mean_row(6) < mean_row(3)


def test_the_perspective_view_puts_the_target_in_the_middle_and_right_to_the_right() -> None:
    grid = VoxelGrid((-1.5, -1.5, -1.5, 1.5, 1.5, 1.5), 1.0)
    labels = np.zeros((3, 3, 3), dtype=np.uint8)
    labels[2, 1, 1] = BICYCLE  # centre at x = 1, y = 0, z = 0
    view = Viewpoint(
        eye_m=(0.0, -10.0, 0.0),
        target_m=(0.0, 0.0, 0.0),
        field_of_view_deg=2 * np.degrees(np.arctan(0.3)),
    )
    picture = VoxelScene(labels, grid, ego=()).render(view, 60, 60, samples=4)
    rows, columns = np.nonzero(covered(picture))
    # The face at y = -0.5 is 9.5 m away and spans x 0.5..1.5, z -0.5..0.5. Half the picture spans
    # 0.3 * 9.5 = 2.85 m on 30 pixels: columns 30 + 0.5 / 2.85 * 30 = 35.3 to 30 + 1.5 / 2.85 * 30 =
    # 45.8, rows 30 -+ 5.3. The side at x = 0.5 is seen too: at 10.5 m it begins at 30 + 0.5 / 3.15
    # * 30 = 34.8.
    assert (columns.min(), columns.max()) == (34, 45)
    assert (rows.min(), rows.max()) == (24, 35)


def test_empty_and_ignored_voxels_are_not_drawn() -> None:
    picture = VoxelScene(one_voxel(3, 3, IGNORE), GRID, ego=()).render(
        viewpoint_above(GRID), 20, 20
    )
    assert not covered(picture).any()


def test_a_shadow_and_a_corner_darken_the_ground() -> None:
    ground = np.zeros(GRID.shape, dtype=np.uint8)
    ground[:, :, 0] = CLASS_ID["vegetation"]
    with_wall = ground.copy()
    with_wall[3, 3, 1] = CLASS_ID["manmade"]
    plain, walled = (
        VoxelScene(labels, GRID, ego=()).render(viewpoint_above(GRID), 80, 80)
        for labels in (ground, with_wall)
    )
    # The sun stands to the left (-x) and behind (-y): the shadow of (3, 3) falls on (4, 4), columns
    # 40..49 and rows 80 - 50 = 30..39.
    assert walled[36, 43, 1] < 0.8 * plain[36, 43, 1]
    # On the sunny side only the corner at the wall's foot is darker: row 45 just left of column 30,
    # but not column 15 (where a ray of another scene may be rounded differently).
    assert walled[45, 27, 1] < plain[45, 27, 1] - 5
    np.testing.assert_allclose(walled[45, 15], plain[45, 15], atol=1)


def test_a_wrong_shape_or_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\).*\(8, 8, 2\)"):
        VoxelScene(np.zeros((8, 8, 3), dtype=np.uint8), GRID)
    with pytest.raises(ValueError, match="class id 17"):
        VoxelScene(one_voxel(0, 0, 17), GRID)


def test_the_keyframe_picture_holds_every_part() -> None:
    colours = [(40 * i, 255 - 40 * i, 128) for i in range(6)]
    images: list[np.ndarray | None] = [
        np.full((90, 160, 3), colour, dtype=np.uint8) for colour in colours
    ]
    picture = keyframe_picture(images, one_voxel(2, 2), one_voxel(5, 5), GRID, title="a title")
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    where = [np.argwhere((picture == colour).all(axis=-1)) for colour in colours]
    # A view from above is 26 + 400 pixels high, so that an image has (426 - 8) // 2 - 26 = 183 rows
    # and 183 * 160 / 90 = 325 columns.
    assert all(len(pixels) >= 325 * 183 for pixels in where)
    centres = np.array([pixels.mean(axis=0) for pixels in where])  # [6, 2] row, column
    assert np.ptp(centres[:3, 0]) < 1 and np.ptp(centres[3:, 0]) < 1
    assert centres[0, 0] < centres[3, 0]
    assert (np.diff(centres[:3, 1]) > 325).all() and (np.diff(centres[3:, 1]) > 325).all()
    for colour in PALETTE[1:]:
        assert (picture == colour).all(axis=-1).sum() >= 10 * 10, f"no legend square of {colour}"

    without_truth = keyframe_picture([None, *images[1:]], one_voxel(2, 2), None, GRID)
    # One view from above and a gap less.
    assert without_truth.shape[1] == picture.shape[1] - 400 - 8
    with pytest.raises(ValueError, match="6 images .* got 5"):
        keyframe_picture(images[:5], one_voxel(2, 2), None, GRID)


def test_one_image_is_the_front_camera_s() -> None:
    """As of KITTI, whose frames have no other."""
    image = np.full((90, 160, 3), (200, 20, 128), dtype=np.uint8)
    alone = keyframe_picture([image], one_voxel(2, 2), None, GRID)
    in_its_place = keyframe_picture([None, image, *[None] * 4], one_voxel(2, 2), None, GRID)
    assert np.array_equal(alone, in_its_place)


def test_the_animation_plays_every_picture(tmp_path: Path) -> None:
    pictures = [np.full((40, 80, 3), value, dtype=np.uint8) for value in (20, 120, 220)]
    animation(pictures, tmp_path / "sub" / "a.webp", width=40)
    with Image.open(tmp_path / "sub" / "a.webp") as film:
        assert (film.size, film.n_frames) == ((40, 20), 3)
        film.seek(2)
        assert abs(int(np.asarray(film.convert("RGB")).mean()) - 220) <= 3
    with pytest.raises(ValueError, match="at least one"):
        animation([], tmp_path / "a.webp")
    with pytest.raises(ValueError, match="webp"):
        animation(pictures, tmp_path / "a.gif")


def test_a_written_picture_reads_back_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    write_picture(picture, tmp_path / "new" / "p.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "p.png")), picture)
