"""Result tables: differences and absolute values, units, and what a row is compared to."""

import json
from pathlib import Path

from training.results.result_tables import (
    Column,
    ablation_table,
    demo_table,
    markdown,
    plain,
    profile_table,
    signed,
)


def test_a_table_has_a_head_a_rule_and_its_rows() -> None:
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_numbers_are_rounded_and_have_true_signs() -> None:
    assert plain(-0.126, 2) == "−0.13"
    points, metres = Column("mIoU", "miou"), Column("depth, cm", "depth_l1_m", digits=1)
    # 0.0075 of 1 is 0.75 points, its error 0.0033 is 0.33
    assert signed({"mean": 0.0075, "stderr": 0.0033}, points) == "+0.75 ± 0.33"
    # 0.012 m less is 1.2 cm less; one seed has no error
    assert signed({"mean": -0.012, "stderr": None}, metres) == "−1.2"


def test_a_value_is_found_by_its_keys() -> None:
    assert Column("", "by_range.25.miou").value({"by_range": {"25": {"miou": 0.5}}}) == 50


def test_references_show_scores_and_the_others_differences(tmp_path: Path) -> None:
    def row(name: str, over: str, mean: float, difference: float) -> dict[str, object]:
        summaries = {
            "miou": {"mean": mean, "stderr": 0.01},
            "miou_over_first": {"mean": difference, "stderr": 0.002},
        }
        return {"name": name, "over": over, "seeds": [1, 2], "metrics": summaries}

    rows = [
        row("base", "base", 0.2, 0.0),
        row("ordered", "base", 0.25, 0.05),
        row("memory", "ordered", 0.26, 0.01),
        row("other", "base", 0.3, 0.1),
    ]
    latency = {"over_first": {"base": 1.0, "memory": 1.234}}
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows, "latency": latency}))
    columns = [Column("mIoU", "miou")]
    table = ablation_table("table", columns, tmp_path).splitlines()[2:]
    assert table == [
        "| base |  | 20.00 | 2 | 1.00 |",
        "| ordered |  | 25.00 | 2 |  |",
        "| memory | ordered | +1.00 ± 0.20 | 2 | 1.23 |",
        "| other | base | +10.00 ± 0.20 | 2 |  |",
    ]
    # a chosen row brings the one that it is compared to
    chosen = ablation_table("table", columns, tmp_path, chosen=["memory"]).splitlines()[2:]
    assert chosen == [table[1], table[2]]


def test_a_profile_shows_the_dearest_part_first_and_no_absent_one(tmp_path: Path) -> None:
    def times(cpu_ms: float, wall_ms: float) -> dict[str, float]:
        return {"cpu_ms": cpu_ms, "wall_ms": wall_ms}

    stages = {"prompts": times(0.26, 0.2), "head": times(50.04, 30), "lidar_attention": times(0, 0)}
    shipped = {"stages": stages, "step": times(50.3, 30.2)}
    (tmp_path / "profile.json").write_text(json.dumps({"models": {"shipped": shipped}}))
    assert profile_table(tmp_path).splitlines()[2:] == [
        "| `head` | 50.0 | 30.0 |",
        "| `prompts` | 0.3 | 0.2 |",
        "| `step` | 50.3 | 30.2 |",
    ]


def test_the_live_node_alone_and_beside_busy_loops(tmp_path: Path) -> None:
    """Latencies are stored in milliseconds and shown in seconds, scores in percent."""
    summary = {
        "frames_in": 20,
        "frames_out": 20,
        "latency_ms": {"p50": 300.0, "p99": 450.0},
        "miou": 0.3,
        "iou": 0.5,
        "offline_equal": True,
        "node_memory_mib": 801.4,
        "busy_loops": 0,
        "stage_ms": {"model": 250.4},
    }
    (tmp_path / "demo.json").write_text(json.dumps(summary))
    slower = {"frames_out": 19, "node_memory_mib": None, "busy_loops": 2}
    (tmp_path / "demo_busy.json").write_text(json.dumps(summary | slower))
    assert demo_table(tmp_path).splitlines() == [
        "|  | alone | beside busy loops |",
        "| --- | --- | --- |",
        "| keyframes played, answered | 20, 20 | 20, 19 |",
        "| latency p50, p99, s | 0.30, 0.45 | 0.30, 0.45 |",
        "| mIoU, IoU, % | 30.0, 50.0 | 30.0, 50.0 |",
        "| every voxel equal to `occ_offline`'s | yes | yes |",
        "| busy loops beside it | 0 | 2 |",
        "| peak memory of the node, MiB | 801 | – |",
        "| stage `model`, ms | 250 | 250 |",
    ]
