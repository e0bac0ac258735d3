"""nuScenes reader: a made-up drive with known numbers, and a real keyframe labelled by eye."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NuScenes
from occ_core.datasets.nuscenes_tables import TableLookupError
from occ_core.datasets.splits import split_scenes
from occ_core.geometry.boxes import points_in_box
from occ_core.geometry.points import project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.types import DriveContext

# Rectangles (left, top, right, bottom) drawn by hand around vehicles in the real images, before
# anything was projected.
REAL_VEHICLES = [
    ("CAM_FRONT", "vehicle.truck", (130, 222, 583, 621)),  # the parked POKKA lorry
    ("CAM_FRONT", "vehicle.car", (718, 463, 785, 531)),  # the white van ahead
    ("CAM_FRONT", "vehicle.car", (897, 478, 956, 527)),  # the silver car
    ("CAM_FRONT", "vehicle.car", (1003, 475, 1077, 535)),  # the black van
    ("CAM_BACK", "vehicle.car", (336, 510, 504, 582)),  # the taxi behind the barriers
]


def edit(root: Path, table: str, change) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps(change(records)))


def test_keyframes_of_a_drive(tiny_nuscenes):
    first, second = NuScenes(tiny_nuscenes).keyframes()
    assert (first.sample_token, second.sample_token) == ("key0", "key3")
    assert (first.stamp_ns, second.stamp_ns) == (0, 500_000_000)
    assert first.context == DriveContext("rain at night", "boston-seaport")
    assert set(first.cameras) == set(NUSCENES_CAMERAS)
    assert first.cameras["CAM_FRONT"].stamp_ns == 100_000_000
    assert first.cameras["CAM_FRONT"].size == (36, 64)
    # The newest sweep comes first, and none comes from after the keyframe.
    assert first.sweeps == ()
    assert [sweep.stamp_ns for sweep in second.sweeps] == [400_000_000, 200_000_000, 0]
    assert [
        len(keyframe.sweeps)
        for keyframe in NuScenes(tiny_nuscenes).keyframes(["scene-0061"], sweeps=2)
    ] == [0, 2]
    # LiDAR at the start: ego (1000, 500, 0) + (1, 0, 1.8); its y axis is the world's x, its x axis
    # the world's -y.
    assert_allclose(first.lidar.world_from_lidar @ [2, 30, 1, 1], [1031, 498, 2.8, 1], atol=1e-9)


def test_recordings_between_keyframes(tiny_nuscenes):
    nuscenes = NuScenes(tiny_nuscenes)
    sweeps = nuscenes.lidar_sweeps("scene-0061")
    assert [sweep.stamp_ns // 1_000_000 for sweep in sweeps] == [0, 200, 400, 500, 600]
    assert [sweep.is_keyframe for sweep in sweeps] == [True, False, False, True, False]
    images = nuscenes.camera_images("scene-0061", "CAM_BACK")
    assert [image.stamp_ns // 1_000_000 for image in images] == [100, 600]


def test_points_images_and_classes(tiny_nuscenes):
    keyframe = NuScenes(tiny_nuscenes).keyframes()[0]
    points = keyframe.lidar.read()
    assert points.dtype == np.float32 and points.shape == (4, 5)
    assert_allclose(points[0], [0, 20, -1, 7, 3])
    assert keyframe.read_lidarseg().tolist() == [4, 11, 0, 0]  # car, driveable surface, noise
    image, intrinsics = keyframe.cameras["CAM_FRONT"].read()
    assert image.shape == (36, 64, 3)
    assert_allclose(image[18, 32], [200, 0, 0], atol=3)  # red, in RGB
    # Half the size: f = 50 / 2, c = (31.5 + 0.5) / 2 - 0.5 and (17.5 + 0.5) / 2 - 0.5.
    image, intrinsics = keyframe.cameras["CAM_FRONT"].read(min_width=32)
    assert image.shape == (18, 32, 3)
    assert_allclose(intrinsics, [[25, 0, 15.5], [0, 25, 8.5], [0, 0, 1]])


def test_boxes_are_in_the_lidar_frame(tiny_nuscenes):
    car, rack = NuScenes(tiny_nuscenes).keyframes()[0].boxes
    assert (car.category, car.class_id) == ("vehicle.car", 4)
    assert (car.num_lidar_pts, car.instance_token) == (1, "car")
    assert_allclose(car.center, [0, 20, -1], atol=1e-9)
    assert car.yaw_rad == pytest.approx(np.pi / 2)  # along the LiDAR's y axis
    # 2 m in 0.5 s eastward, which is the LiDAR's y.
    assert_allclose(car.velocity, [0, 4, 0], atol=1e-9)
    assert rack.category == "static_object.bicycle_rack" and rack.class_id is None
    assert np.isnan(rack.velocity).all()


def test_categories_are_resolved_by_name_not_by_order(tiny_nuscenes):
    def renumber(records):
        names = ("noise", "flat.driveable_surface", "vehicle.car", "static_object.bicycle_rack")
        return [record | {"index": names.index(record["name"])} for record in records]

    edit(tiny_nuscenes, "category", renumber)  # the points' raw indices are 1, 2, 0, 0
    assert NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg().tolist() == [11, 4, 0, 0]


def test_categories_without_index_count_in_file_order(tiny_nuscenes):
    edit(
        tiny_nuscenes,
        "category",
        lambda records: [{"token": r["token"], "name": r["name"]} for r in records],
    )
    assert NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg().tolist() == [4, 11, 0, 0]


TABLES = "scene sample sample_data calibrated_sensor ego_pose sensor log category sample_annotation"


@pytest.mark.parametrize("table", TABLES.split())
def test_a_missing_table_is_named(tiny_nuscenes, table):
    (tiny_nuscenes / "v1.0-mini" / f"{table}.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"v1.0-mini/{table}.json is missing.*Metadata"):
        NuScenes(tiny_nuscenes)


def test_a_missing_field_is_named(tiny_nuscenes):
    edit(
        tiny_nuscenes,
        "ego_pose",
        lambda records: [{"token": r["token"], "translation": r["translation"]} for r in records],
    )
    with pytest.raises(
        ValueError, match=r"ego_pose.json: record 0 lacks the fields \['rotation'\]"
    ):
        NuScenes(tiny_nuscenes)


def test_a_dangling_token_is_named(tiny_nuscenes):
    edit(tiny_nuscenes, "ego_pose", lambda records: records[1:])
    with pytest.raises(
        TableLookupError, match=r"ego_pose.json has no record with token 'key0 LIDAR_TOP'"
    ):
        NuScenes(tiny_nuscenes).keyframes()


def test_broken_json_is_named(tiny_nuscenes):
    (tiny_nuscenes / "v1.0-mini" / "log.json").write_text("[{")
    with pytest.raises(ValueError, match="log.json is not valid JSON"):
        NuScenes(tiny_nuscenes)


def test_a_keyframe_without_lidar_is_named(tiny_nuscenes):
    edit(
        tiny_nuscenes,
        "sample_data",
        lambda records: [r for r in records if r["token"] != "key3 LIDAR_TOP"],
    )
    with pytest.raises(ValueError, match=r"no LIDAR_TOP keyframe for the samples \['key3'\]"):
        NuScenes(tiny_nuscenes).keyframes()


def test_version_folders(tiny_nuscenes, tmp_path_factory):
    assert NuScenes(tiny_nuscenes, "v1.0-mini").folder.name == "v1.0-mini"
    with pytest.raises(FileNotFoundError, match=r"v1.0-trainval is missing.*\['v1.0-mini'\]"):
        NuScenes(tiny_nuscenes, "v1.0-trainval")
    (tiny_nuscenes / "v1.0-test").mkdir()
    with pytest.raises(ValueError, match="several versions"):
        NuScenes(tiny_nuscenes)
    with pytest.raises(FileNotFoundError, match=r"has no v1.0-\* folder"):
        NuScenes(tmp_path_factory.mktemp("empty"))


def test_the_data_root_near_a_wrong_folder_is_named(tiny_nuscenes, tmp_path_factory):
    root = tiny_nuscenes.rename(tmp_path_factory.mktemp("download") / "data")
    for wrong in (root / "v1.0-mini", root / "samples", root.parent):
        with pytest.raises(FileNotFoundError, match=f"Did you mean {root}\\?"):
            NuScenes(wrong)
    # A root whose own name looks like that of a folder of tables.
    renamed = root.rename(root.parent / "v1.0-download")
    with pytest.raises(FileNotFoundError, match=f"holds no tables. Did you mean {renamed}\\?"):
        NuScenes(renamed.parent)


def test_the_root_of_another_data_set_is_named(tmp_path):
    (tmp_path / "kitti" / "sequences" / "00" / "velodyne").mkdir(parents=True)
    for wrong in ("kitti/sequences", "kitti/sequences/00"):
        with pytest.raises(FileNotFoundError, match=f"Did you mean {tmp_path}/kitti\\?"):
            NuScenes(tmp_path / wrong)


def test_another_name_of_the_lidar_is_named(tiny_nuscenes):
    def rename(records):
        return [
            record | {"channel": record["channel"].replace("LIDAR_TOP", "LIDAR_CONCAT")}
            for record in records
        ]

    edit(tiny_nuscenes, "sensor", rename)
    with pytest.raises(ValueError, match=r"no channel LIDAR_TOP; it has .*'LIDAR_CONCAT'"):
        NuScenes(tiny_nuscenes).keyframes()


def test_an_unknown_scene_is_named(tiny_nuscenes):
    with pytest.raises(ValueError, match=r"no scenes \['scene-9999'\]"):
        NuScenes(tiny_nuscenes).keyframes(["scene-0061", "scene-9999"])
    with pytest.raises(ValueError, match="got the single string 'scene-0061'"):
        NuScenes(tiny_nuscenes).keyframes("scene-0061")


def test_a_truncated_sweep_is_refused(tiny_nuscenes):
    sweep = NuScenes(tiny_nuscenes).keyframes()[0].lidar
    sweep.path.write_bytes(sweep.path.read_bytes()[:-3])
    with pytest.raises(
        ValueError, match="key0.pcd.bin holds 77 bytes, expected a positive multiple of 20"
    ):
        sweep.read()
    sweep.path.unlink()
    with pytest.raises(FileNotFoundError, match="key0.pcd.bin is missing"):
        sweep.read()


@pytest.mark.parametrize("count", [40, 41])
@pytest.mark.parametrize("columns", [3, 4, 6])
def test_sweeps_of_other_columns_are_recognised(tiny_nuscenes, columns, count):
    """41 points of 16 bytes are no whole number of points of 20 bytes; 40 are 32 such points."""
    points = np.random.default_rng(0).uniform(-40, 40, (count, columns)).astype(np.float32)
    points[:, 3:5] = np.random.default_rng(1).integers(0, 256, (count, 2))[:, : columns - 3]
    sweep = NuScenes(tiny_nuscenes).keyframes()[0].lidar
    sweep.path.write_bytes(points.tobytes())
    with pytest.raises(ValueError, match=f"it looks like {columns} float32 per point: write x, y"):
        sweep.read()


def test_a_sweep_of_doubles_is_refused(tiny_nuscenes):
    points = np.random.default_rng(0).uniform(-40, 40, (40, 5))
    sweep = NuScenes(tiny_nuscenes).keyframes()[0].lidar
    sweep.path.write_bytes(points.tobytes())
    with pytest.raises(ValueError, match="fifth float32 of every point must be its ring"):
        sweep.read()


def test_an_image_size_that_the_table_lacks_is_that_of_the_file(tiny_nuscenes):
    for size in (0, None):
        edit(
            tiny_nuscenes,
            "sample_data",
            lambda records, size=size: [r | {"height": size, "width": size} for r in records],
        )
        view = NuScenes(tiny_nuscenes).keyframes()[0].cameras["CAM_FRONT"]
        assert view.size == (0, 0)
        # Half of 64x36 pixels, as in test_points_images_and_classes.
        image, intrinsics = view.read(min_width=32)
        assert image.shape == (18, 32, 3)
        assert_allclose(intrinsics, [[25, 0, 15.5], [0, 25, 8.5], [0, 0, 1]])


def test_a_truncated_image_is_refused(tiny_nuscenes):
    view = NuScenes(tiny_nuscenes).keyframes()[0].cameras["CAM_FRONT"]
    view.path.write_bytes(view.path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"CAM_FRONT/key0.jpg: the JPEG of \d+ bytes is truncated"):
        view.read()
    view.path.unlink()
    with pytest.raises(FileNotFoundError, match="CAM_FRONT/key0.jpg is missing"):
        view.read()


def test_lidarseg_of_the_wrong_length_is_refused(tiny_nuscenes):
    (tiny_nuscenes / "key0.bin").write_bytes(b"\0" * 3)
    with pytest.raises(ValueError, match="key0.bin labels 3 points, but key0.pcd.bin has 4"):
        NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg()


def test_lidarseg_with_an_unknown_index_is_refused(tiny_nuscenes):
    (tiny_nuscenes / "key0.bin").write_bytes(bytes([0, 1, 77, 2]))
    with pytest.raises(ValueError, match=r"key0.bin holds the indices \[77\]"):
        NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg()


def test_absent_lidarseg_is_named(tiny_nuscenes):
    keyframe = NuScenes(tiny_nuscenes).keyframes()[0]
    with pytest.raises(FileNotFoundError, match="does not list sweep2.pcd.bin"):
        keyframe.source.read_lidarseg(keyframe.source.lidar_sweeps("scene-0061")[2])
    (tiny_nuscenes / "key0.bin").unlink()
    with pytest.raises(FileNotFoundError, match="key0.bin is missing"):
        keyframe.read_lidarseg()
    (tiny_nuscenes / "v1.0-mini" / "lidarseg.json").unlink()
    with pytest.raises(FileNotFoundError, match="lidarseg.json is missing"):
        NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg()


def test_unknown_and_doubly_numbered_categories_are_refused(tiny_nuscenes):
    edit(tiny_nuscenes, "category", lambda records: [r | {"index": 0} for r in records])
    with pytest.raises(ValueError, match="gives the index 0 to two categories"):
        NuScenes(tiny_nuscenes).keyframes()[0].read_lidarseg()
    edit(
        tiny_nuscenes,
        "category",
        lambda records: [r | {"name": "vehicle.spaceship"} for r in records],
    )
    with pytest.raises(ValueError, match="'vehicle.spaceship'"):
        _ = NuScenes(tiny_nuscenes).keyframes()[0].boxes


def test_official_splits(tiny_nuscenes):
    names = [f"scene-{number:04d}" for number in (1, 3, 61, 77, 103, 1110)]
    edit(
        tiny_nuscenes,
        "scene",
        lambda records: [records[0] | {"token": name, "name": name} for name in names],
    )
    assert split_scenes(tiny_nuscenes, None, "train") == ["scene-0001", "scene-0061", "scene-1110"]
    assert split_scenes(tiny_nuscenes, None, "val") == ["scene-0003", "scene-0103"]
    assert split_scenes(tiny_nuscenes, None, "test") == ["scene-0077"]
    assert split_scenes(tiny_nuscenes, None, "mini_train") == ["scene-0061"]
    assert split_scenes(tiny_nuscenes, "v1.0-mini", "mini_val") == ["scene-0103"]
    with pytest.raises(ValueError, match=r"nuScenes: no split 'dev'; it has \['mini_train', 'min"):
        split_scenes(tiny_nuscenes, None, "dev")


def test_own_splits_come_first(tiny_nuscenes):
    (tiny_nuscenes / "v1.0-mini" / "splits.json").write_text(
        json.dumps({"val": ["scene-0061"], "train": ["town-1"]})
    )
    assert split_scenes(tiny_nuscenes, None, "val") == ["scene-0061"]
    with pytest.raises(ValueError, match="no scene of split 'train' is among the 1"):
        split_scenes(tiny_nuscenes, None, "train")
    with pytest.raises(ValueError, match="splits.json: no split 'test'"):
        split_scenes(tiny_nuscenes, None, "test")


@pytest.mark.parametrize(("channel", "category", "rectangle"), REAL_VEHICLES)
def test_real_vehicles_project_where_they_are_seen(real_data, channel, category, rectangle):
    (keyframe,) = NuScenes(real_data).keyframes()
    camera_from_lidar = (
        invert_pose(keyframe.cameras[channel].world_from_camera) @ keyframe.lidar.world_from_lidar
    )
    intrinsics = keyframe.cameras[channel].intrinsics
    candidates = []
    for box in keyframe.boxes:
        pixels, depth = project_points(
            intrinsics, transform_points(camera_from_lidar, box.corners())
        )
        if box.category == category and depth.min() > 0:
            candidates.append((overlap((*pixels.min(axis=0), *pixels.max(axis=0)), rectangle), box))
    best, box = max(candidates, key=lambda candidate: candidate[0])
    # A box is looser than the outline of a vehicle that is seen askew: 0.69 for the lorry. The best
    # wrong match is below 0.3.
    assert best > 0.65

    points = keyframe.lidar.read().astype(np.float64)
    points = points[points_in_box(points, box)]
    assert len(points) == pytest.approx(box.num_lidar_pts, abs=1, rel=0.05)
    pixels, _ = project_points(intrinsics, transform_points(camera_from_lidar, points)[:, :3])
    left, top, right, bottom = rectangle
    margin = 10  # pixels: the camera and the LiDAR see a moving vehicle up to 25 ms apart
    inside = (pixels > [left - margin, top - margin]) & (pixels < [right + margin, bottom + margin])
    assert inside.all()


def test_real_box_points_project_into_the_box(real_data):
    (keyframe,) = NuScenes(real_data).keyframes()
    points = keyframe.lidar.read().astype(np.float64)
    seen = 0
    for view in keyframe.cameras.values():
        camera_from_lidar = invert_pose(view.world_from_camera) @ keyframe.lidar.world_from_lidar
        for box in keyframe.boxes:
            corners = transform_points(camera_from_lidar, box.corners())
            pixels, depth = project_points(view.intrinsics, corners)
            low, high = pixels.min(axis=0), pixels.max(axis=0)
            if depth.min() > 0.5 and (low >= 0).all() and (high < view.size[::-1]).all():
                inside = transform_points(camera_from_lidar, points[points_in_box(points, box)])
                pixels, _ = project_points(view.intrinsics, inside)
                assert ((pixels > low - 1e-6) & (pixels < high + 1e-6)).all()  # px, for rounding
                seen += len(pixels) > 0
    assert seen > 20


def test_real_context(real_data):
    (keyframe,) = NuScenes(real_data).keyframes()
    assert keyframe.context == DriveContext("clear", "singapore-onenorth")
    assert len(keyframe.boxes) == 68
    assert keyframe.sweeps == ()


def overlap(first, second) -> float:
    """Intersection over union of two rectangles (left, top, right, bottom)."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (first, second)]
    return common / (sum(areas) - common)
