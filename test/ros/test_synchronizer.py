"""Sets of sweeps and images by their stamps.

Times are in milliseconds; the LiDAR has 20 Hz and, unless stated, the cameras have 2 Hz.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from occ_perception_ros.image_stream import IMAGES_KEPT
from occ_perception_ros.sync_config import NUSCENES_OFFSETS_S, SyncConfig
from occ_perception_ros.synchronizer import LidarAnchoredSynchronizer, SensorSet

CAMERAS = ("left", "front", "right")
OFFSETS_MS = (-40, -30, -20)
CONFIG = SyncConfig(camera_offsets_s=tuple(ms / 1000 for ms in OFFSETS_MS))
MS = 1_000_000
START = 1_000_000  # ms


def feed(sync: LidarAnchoredSynchronizer, events: list[tuple[int, str]]) -> list[SensorSet]:
    released = []
    for ms, name in events:
        stamp = (START + ms) * MS
        released += (
            sync.add_sweep(stamp, f"sweep {ms}")
            if name == "lidar"
            else sync.add_image(name, stamp, f"{name} {ms}")
        )
    return released


def anchors(sets: list[SensorSet]) -> list[int]:
    return [released.stamp_ns // MS - START for released in sets]


def drive(
    until_ms: int, image_period_ms: int = 500, without: dict[str, tuple[int, int]] | None = None
) -> list[tuple[int, str]]:
    """Events in order of their stamps; ``without``: period in which a camera is absent, by name."""
    events = [(ms, "lidar") for ms in range(0, until_ms, 50)]
    for camera, offset in zip(CAMERAS, OFFSETS_MS, strict=True):
        low, high = (without or {}).get(camera, (0, 0))
        events += [
            (ms + offset, camera)
            for ms in range(0, until_ms, image_period_ms)
            if not low <= ms < high
        ]
    return sorted(events)


def test_there_is_a_set_with_its_sweeps_for_each_keyframe() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    sets = feed(sync, drive(2600))
    assert anchors(sets) == [0, 500, 1000, 1500, 2000, 2500]
    assert all(not released.missing and released.reset_reason is None for released in sets)
    assert sets[1].images["left"] == ((START + 460) * MS, "left 460")
    assert [sweep for _, sweep in sets[1].sweeps] == [
        f"sweep {ms}" for ms in range(50, 501, 50)
    ]  # ten, the anchor last


def test_a_set_is_released_by_the_message_that_completes_it() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    assert feed(sync, [(-40, "left"), (-30, "front"), (0, "lidar")]) == []
    assert anchors(feed(sync, [(-20, "right")])) == [0]


def test_there_is_a_set_for_each_keyframe_that_is_a_sweep_early_or_late() -> None:
    # nuScenes' keyframes are 450 to 550 ms apart; due times advance by whole periods, a quarter of
    # one early is allowed.
    keyframes = [0, 500, 1050, 1500, 1950, 2500]
    events = [(ms, "lidar") for ms in range(0, 2550, 50)]
    events += [
        (ms + offset, camera)
        for ms in keyframes
        for camera, offset in zip(CAMERAS, OFFSETS_MS, strict=True)
    ]
    assert anchors(feed(LidarAnchoredSynchronizer(CAMERAS, CONFIG), sorted(events))) == keyframes


def test_sets_of_fast_cameras_follow_the_frame_period() -> None:
    sets = feed(LidarAnchoredSynchronizer(CAMERAS, CONFIG), drive(3000, image_period_ms=50))
    # The first due time is 500; 125 ms early is allowed once, then the mean rate holds.
    assert anchors(sets) == [0, 400, 900, 1400, 1900, 2400, 2900]


def test_period_zero_gives_a_set_for_every_sweep_with_images() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, frame_period_s=0.0))
    assert anchors(feed(sync, drive(400, image_period_ms=100))) == [0, 100, 200, 300]


def test_a_camera_that_is_known_to_send_nothing_is_not_waited_for() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    sync.leave_out(["right"])
    sets = feed(sync, drive(1100, without={"right": (0, 10_000)}))
    assert anchors(sets) == [0, 500, 1000] and sync.counts["starting"] == 0
    assert [each.missing for each in sets] == [{"right": "known to send no image"}] * 3
    back = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    back.leave_out(["right"])  # which was wrong: it sends images
    assert [each.missing for each in feed(back, drive(1100))] == [{}] * 3


def test_sweeps_before_the_first_images_do_not_delay_the_first_set() -> None:
    """Images come from 460 ms on. Once every camera has sent its first, the sweeps from 100 ms to
    450 ms, which are not a time-out (600 ms) old, can have none; the one at 500 ms is complete.
    """
    sync = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, timeout_s=0.6))
    events = [(ms, name) for ms, name in drive(501) if name == "lidar" or ms > 0]
    released_ms = None
    for ms, name in events:
        if feed(sync, [(ms, name)]):
            released_ms = ms
    assert released_ms == 500 and sync.counts["sets"] == 1
    # At 0 ms a set was due, which the first sweeps of a period may still become.
    assert sync.counts["starting"] + sync.counts["overtaken"] == 10


def test_a_camera_without_images_delays_sets_only_during_the_grace() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    sets = feed(sync, drive(4100, without={"right": (0, 10_000)}))
    assert anchors(sets) == [2000, 2500, 3000, 3500, 4000]  # grace: 2 s from the first sweep on
    assert sets[0].missing == {"right": "never received"}
    assert sync.counts["starting"] > 0


def test_a_camera_that_stops_is_waited_for_and_then_lost() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    events = drive(4100, without={"front": (2000, 10_000)})
    released_at = {}
    for event in events:
        for released in feed(sync, [event]):
            released_at[anchors([released])[0]] = event[0]
    assert list(released_at) == [
        0,
        500,
        1000,
        1500,
        2000,
        2500,
        3000,
        3500,
        4000,
    ]  # no keyframe is lost
    assert released_at[2000] == 2100  # alive 0.5 s ago: waited for until the timeout of 100 ms
    assert (
        released_at[3500] == 3500
    )  # its last image, at 1470, is more than 1.2 s old: not waited for


def test_a_camera_that_returns_is_used_again() -> None:
    sets = feed(
        LidarAnchoredSynchronizer(CAMERAS, CONFIG), drive(4600, without={"left": (1000, 3000)})
    )
    assert [len(released.images) for released in sets] == [3, 3, 2, 2, 2, 2, 3, 3, 3, 3]


def test_without_cameras_there_are_sets_only_if_lidar_alone_is_allowed() -> None:
    lost = dict.fromkeys(CAMERAS, (1000, 10_000))
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    assert anchors(feed(sync, drive(4000, without=lost))) == [0, 500]
    assert sync.counts["below_min_cameras"] > 0
    lidar_only = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, min_cameras=0))
    sets = feed(lidar_only, drive(4000, without=lost))
    # While cameras are active, a sweep without images is idle; they are lost 1.2 s after their last
    # image (left: 460).
    assert anchors(sets)[:2] == [0, 500]
    assert anchors(sets)[2] > 460 + 1200
    assert all(not released.images for released in sets[2:]) and len(sets) > 4


def test_min_cameras_is_a_bound() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, min_cameras=3))
    assert anchors(feed(sync, drive(3100, without={"front": (1000, 2000)}))) == [
        0,
        500,
        2000,
        2500,
        3000,
    ]


def test_a_late_image_joins_its_set_within_the_timeout_and_no_other_set_later() -> None:
    before = [
        (-40, "left"),
        (-30, "front"),
        (-20, "right"),
        (0, "lidar"),
        (460, "left"),
        (470, "front"),
        (500, "lidar"),
    ]
    within = feed(
        LidarAnchoredSynchronizer(CAMERAS, CONFIG), [*before, (550, "lidar"), (480, "right")]
    )
    assert anchors(within) == [0, 500] and not within[1].missing
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    after = feed(sync, [*before, (550, "lidar"), (600, "lidar"), (480, "right")])
    assert anchors(after) == [0, 500] and after[1].missing == {"right": "late"}
    following = feed(sync, [(960, "left"), (970, "front"), (1000, "lidar"), (1100, "lidar")])
    assert anchors(following) == [1000] and following[0].missing == {"right": "late"}


def test_the_tolerance_has_two_sides() -> None:
    for deviation, fused in ((45, True), (46, False), (-45, True), (-46, False)):
        sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
        feed(sync, drive(450))
        sets = feed(
            sync, [(460, "left"), (470, "front"), (480 + deviation, "right"), (500, "lidar")]
        )
        sets += feed(sync, [(600, "lidar")])
        if fused:
            assert anchors(sets) == [500] and "right" in sets[0].images
        else:
            assert all("right" not in released.images for released in sets)


def test_a_camera_in_another_phase_delays_sets_but_does_not_stop_them() -> None:
    # Images of "right" are at 5 + 100 n, its targets at -20 + 50 n: 25 ms away, more than 10 ms.
    config = replace(CONFIG, tolerance_s=0.01)
    events = [(ms, "lidar") for ms in range(0, 3000, 50)]
    for ms in range(0, 3000, 100):
        events += [(ms - 40, "left"), (ms - 30, "front"), (ms + 5, "right")]
    sync = LidarAnchoredSynchronizer(CAMERAS, config)
    sets = feed(sync, sorted(events))
    assert sync.counts["stood_back"] > 0
    assert len(sets) >= 3 and all(released.missing.keys() == {"right"} for released in sets[1:])


def test_out_of_order_and_duplicate_stamps() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    sets = feed(
        sync,
        [
            (-40, "left"),
            (-40, "left"),
            (-100, "left"),
            (-30, "front"),
            (0, "lidar"),
            (-50, "lidar"),
        ],
    )
    sets += feed(sync, [(-20, "right")])
    assert anchors(sets) == [0]
    assert sync.counts["duplicates"] == 1 and sync.counts["out_of_order"] == 2


def test_the_newer_of_two_images_of_one_stamp_wins() -> None:
    sync = LidarAnchoredSynchronizer(("front",), replace(CONFIG, camera_offsets_s=(0.0,)))
    sync.add_image("front", START * MS, "old")
    sync.add_image("front", START * MS, "new")
    assert sync.add_sweep(START * MS, "sweep")[0].images["front"][1] == "new"


def test_every_pass_of_a_loop_gives_the_sets_of_the_first() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    one_pass = drive(3600, without={"front": (1000, 2500)})
    passes = [feed(sync, one_pass) for _ in range(3)]
    contents = [
        [
            (released.stamp_ns, released.images, released.missing, released.sweeps)
            for released in sets
        ]
        for sets in passes
    ]
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) == 8
    assert [sets[0].reset_reason for sets in passes] == [
        None,
        *["LiDAR stamps went back by 3.550 s"] * 2,
    ]
    assert sync.counts["resets"] == 2


def test_a_loop_keeps_images_before_its_first_sweep_and_ignores_those_of_the_old_pass() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    feed(sync, drive(3100))
    # The new pass has images before the sweep; one of the old pass arrives after it.
    sets = feed(
        sync, [(-40, "left"), (-30, "front"), (0, "lidar"), (2980, "right"), (-20, "right")]
    )
    assert anchors(sets) == [0] and not sets[0].missing


def test_a_gap_resets() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    feed(sync, drive(600))
    later = [(ms + 60_000, name) for ms, name in drive(100)]
    sets = feed(sync, later)
    assert anchors(sets) == [60_000]
    assert sets[0].reset_reason == "no LiDAR sweep for 59.450 s"
    assert len(sets[0].sweeps) == 1  # nothing older is accumulated


def test_flush_releases_what_waits() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    feed(sync, [*drive(450), (460, "left"), (470, "front"), (500, "lidar")])
    sets = sync.flush()
    assert anchors(sets) == [500] and sets[0].missing == {"right": "late"}


def test_buffers_are_bounded() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG)
    feed(sync, [(ms, name) for ms in range(0, 10_000, 10) for name in ("left", "lidar")])
    assert all(len(stream.images) <= IMAGES_KEPT for stream in sync._streams.values())
    assert len(sync._sweeps) <= 10 + 128 and len(sync._pending) <= 128


def received(sync: LidarAnchoredSynchronizer, events: list[tuple[int, str]]) -> list[SensorSet]:
    """The sets of a live run after a stall: first all images, then all sweeps."""
    images = [event for event in events if event[1] != "lidar"]
    return feed(sync, images + [event for event in events if event[1] == "lidar"])


@pytest.mark.parametrize("period_ms", [50, 83, 500])
def test_images_that_are_received_before_their_sweeps_give_the_same_sets(period_ms: int) -> None:
    """Four seconds at up to 20 Hz fit into a stream; one camera fails for two of them."""
    events = drive(4000, image_period_ms=period_ms, without={"front": (1000, 3000)})
    sets = feed(LidarAnchoredSynchronizer(CAMERAS, CONFIG), events)
    assert len(sets) >= 6
    assert received(LidarAnchoredSynchronizer(CAMERAS, CONFIG), events) == sets


def test_live_a_time_out_lasts_in_wall_time_too() -> None:
    now_s = [0.0]
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG, lambda: now_s[0])
    feed(sync, drive(450))
    before = [(460, "left"), (470, "front"), (500, "lidar"), (550, "lidar"), (600, "lidar")]
    assert feed(sync, before) == []  # 100 ms have passed by stamps, but not a moment of wall time
    now_s[0] = 0.05
    (stamped,) = feed(sync, [(480, "right")])
    assert not stamped.missing
    feed(sync, [(960, "left"), (970, "front"), (1000, "lidar"), (1100, "lidar")])
    now_s[0] = 0.2  # more than 0.1 s later
    (released,) = sync.poll()
    assert released.missing == {"right": "late"}


def test_a_set_does_not_overtake_one_that_waits() -> None:
    """The front camera fails at 500 and counts as lost from 1671 on, 1.2 s after its last image."""
    events = drive(2600, without={"front": (500, 9000)})
    by_file = anchors(feed(LidarAnchoredSynchronizer(CAMERAS, CONFIG), events))
    now_s = [0.0]
    sync = LidarAnchoredSynchronizer(CAMERAS, CONFIG, lambda: now_s[0])
    burst = anchors(feed(sync, events))
    now_s[0] = 2.0  # more than 1.2 s without an image in running time, too
    assert burst + anchors(sync.poll()) == by_file == [0, 500, 1000, 1500, 2000, 2500]


def test_offsets_are_measured() -> None:
    sync = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, camera_offsets_s=(-0.025,)))
    feed(sync, drive(2600))
    assert sync.suggested_offsets_s() == pytest.approx(
        dict(zip(CAMERAS, (-0.04, -0.03, -0.02), strict=True))
    )


def test_offsets_are_measured_even_if_no_image_is_near_its_sweep() -> None:
    # LiDAR and cameras have 2 Hz, images are 200 ms before the sweeps, and 0 +- 45 ms is expected.
    sync = LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, camera_offsets_s=(0.0,)))
    events = [(ms - 200, camera) for ms in range(0, 10_000, 500) for camera in CAMERAS]
    events += [(ms, "lidar") for ms in range(0, 10_000, 500)]
    assert feed(sync, sorted(events)) == [] and sync.counts["idle"] > 15
    assert sync.suggested_offsets_s() == pytest.approx(dict.fromkeys(CAMERAS, -0.2))


def test_configurations_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="6 offsets, but there are 3 cameras"):
        LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, camera_offsets_s=NUSCENES_OFFSETS_S))
    with pytest.raises(ValueError, match="min_cameras is 4, but there are only 3"):
        LidarAnchoredSynchronizer(CAMERAS, replace(CONFIG, min_cameras=4))
    with pytest.raises(
        ValueError, match="tolerance_s must lie in .* got -1.0; timeout_s must lie in"
    ):
        SyncConfig(tolerance_s=-1.0, timeout_s=11.0)
