import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.config import debug
from training import ablate as ablation
from training.ablate import AblateConfig, ablate, fingerprint, summary, text
from training.ablation_tables import TABLES, Row
from training.recipes import nano_town


def test_every_row_is_a_training_of_its_own():
    for rows in TABLES.values():
        first, *others = (ablation._recipe(row, 1, AblateConfig(table="tacocc")) for row in rows())
        off = (
            first.rendering,
            first.gauss_render,
            first.gauss_render_from,
            first.language,
            first.losses.daga,
            first.by_drive,
        )
        assert first.model == nano_town().model and not any(
            off
        )  # the others are compared to the base
        assert len({fingerprint(one) for one in (first, *others)}) == 1 + len(others)
        names = {row.name for row in rows()}
        assert len(names) == 1 + len(others) and {row.over for row in rows()} <= {None, *names}


def test_rows_of_one_name_are_one_training_in_every_table():
    config = AblateConfig(table="tacocc")
    made: dict[str, set[str]] = {}
    folders = {
        str(ablation._folder(row, 1, config)): row.name
        for rows in TABLES.values()
        for row in rows()
    }
    for row in (row for rows in TABLES.values() for row in rows()):
        made.setdefault(row.name, set()).add(fingerprint(ablation._recipe(row, 1, config)))
    assert {name: len(trainings) for name, trainings in made.items() if len(trainings) > 1} == {}
    assert len(set.union(*made.values())) == len(made) == len(folders)  # and of two names, two


def test_a_training_is_known_by_what_makes_it():
    nano = nano_town()
    known = fingerprint(nano)
    assert fingerprint(replace(nano, seed=nano.seed + 1, out=Path("elsewhere"))) == known
    assert fingerprint(replace(nano, steps=nano.steps + 1)) != known
    assert fingerprint(replace(nano, by_drive=True)) != known


def test_the_error_is_that_of_the_mean():
    # Values 1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, deviation sqrt(14 / 2), over sqrt(3): sqrt(7 /
    # 3)
    assert summary([1.0, 2.0, 6.0]) == {
        "mean": 3.0,
        "stderr": pytest.approx((7 / 3) ** 0.5),
        "values": [1.0, 2.0, 6.0],
    }
    assert summary([0.5])["stderr"] is None


@pytest.fixture
def config(box_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AblateConfig:
    """The base, a fuser and a memory, a step of the smallest model, the memory two."""
    small = replace(
        nano_town(),
        model=debug(),
        validation_scenes=1,
        validation_frames=1,
        warmup_steps=1,
        workers=0,
        augment=None,
        sweeps=0,
    )
    monkeypatch.setattr(ablation, "nano_town", lambda: small)
    rows = [
        Row("base"),
        Row("fuser", ("dyn_k",), {"adaptive_fusion": AdaptiveFusionConfig(strides=(1,))}),
        replace(
            next(row for row in TABLES["tacocc"]() if row.name == "base + memory"),
            over=None,
            longer=2,
        ),
    ]
    monkeypatch.setitem(TABLES, "tacocc", lambda: rows)
    return AblateConfig(
        table="tacocc",
        data=box_town,
        test=box_town,
        seeds=(1, 2),
        steps=1,
        out=tmp_path / "out",
        results=tmp_path / "results",
    )


def test_a_table_is_made_row_by_row_and_kept(
    config: AblateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = ablate(config)
    assert json.dumps(table, indent=2) + "\n" == (config.results / "tacocc.json").read_text()
    base, fuser, memory = table["rows"]
    assert fuser["switches"] == ["dyn_k"]
    assert base["metrics"]["miou_over_first"]["values"] == [0.0, 0.0]
    for row in (fuser, memory):
        paired = [
            mine - first
            for mine, first in zip(
                *(r["metrics"]["miou"]["values"] for r in (row, base)), strict=True
            )
        ]
        assert row["metrics"]["miou_over_first"]["values"] == pytest.approx(paired)
    assert list(table["latency"]["over_first"]) == ["base", "fuser", "base + memory"]
    assert table["latency"]["over_first"]["base"] == 1.0
    assert [row["steps"] for row in table["rows"]] == [1, 1, 2]
    base_line, fuser_line, memory_line = text(table).splitlines()[1:4]
    assert "fuser" in fuser_line and memory_line.endswith("2 steps")
    assert "steps" not in base_line + fuser_line

    def never(*_: object, **__: object) -> Path:
        raise AssertionError("trained again")

    monkeypatch.setattr(ablation, "train", never)
    again = ablate(config)
    assert json.dumps(again["rows"]) == json.dumps(table["rows"])
    with pytest.raises(ValueError, match="another configuration"):
        ablate(replace(config, steps=2, results=tmp_path / "others"))
    shutil.rmtree(config.out)  # on another machine, say: the table is all there is
    again = ablate(config)
    assert json.dumps(again["rows"]) == json.dumps(table["rows"])


def test_what_is_done_stays_when_other_rows_are_trained(config: AblateConfig):
    ablate(replace(config, seeds=(1,), rows=("fuser",)))
    shutil.rmtree(config.out)
    table = ablate(replace(config, seeds=(2,), rows=("base",)))
    assert {row["name"]: row["seeds"] for row in table["rows"]} == {"base": [1, 2], "fuser": [1]}
    base, fuser = (row["metrics"]["iou"]["values"] for row in table["rows"])
    assert table["rows"][1]["metrics"]["iou_over_first"]["values"] == [
        pytest.approx(fuser[0] - base[0])
    ]


def test_a_table_of_other_trainings_is_not_overwritten(config: AblateConfig):
    ablate(replace(config, seeds=(1,), rows=("base",)))
    shutil.rmtree(config.out)
    path = config.results / "tacocc.json"
    before = path.read_text()
    with pytest.raises(
        ValueError,
        match=r"holds 'base' of another training than this one's; give another --results",
    ):
        ablate(replace(config, seeds=(1,), rows=("base",), steps=2))
    assert path.read_text() == before


def test_a_whole_table_is_given_back_without_data(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    table = ablate(replace(config, seeds=(1,)))
    path = config.results / "tacocc.json"
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(ablation, "latency", lambda *_: pytest.fail("measured again"))
    assert json.dumps(ablate(replace(config, seeds=(1,)))) == json.dumps(table)
    assert path.stat().st_mtime_ns == before


def test_a_row_may_be_known_before_what_it_is_compared_to(config: AblateConfig):
    ablate(replace(config, seeds=(1,), rows=("fuser",)))
    shutil.rmtree(config.out / "base")
    (config.results / "tacocc.json").unlink()
    scores = ablation._done(replace(config, seeds=(1,)))
    assert {name: list(seeds) for name, seeds in scores.items()} == {
        "base": [],
        "fuser": [1],
        "base + memory": [],
    }
    table = ablation._save(replace(config, seeds=(1,)))
    assert (
        "iou" in table["rows"][0]["metrics"] and "iou_over_first" not in table["rows"][0]["metrics"]
    )
    assert "fuser" in text(table)


def test_a_score_beside_a_checkpoint_counts_before_the_table(config: AblateConfig):
    one = replace(config, seeds=(1,), rows=("base",))
    ablate(one)
    path = config.out / "base" / "seed_1" / f"scores_{config.test.name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"iou": 0.25}))
    assert ablate(one)["rows"][0]["metrics"]["iou"]["values"] == [0.25]
    path.write_text(
        json.dumps(
            json.loads(path.read_text()) | {"iou": 0.5, "test": f"elsewhere/{config.test.name}"}
        )
    )
    assert ablate(one)["rows"][0]["metrics"]["iou"]["values"] == [
        0.25
    ]  # that one is of other towns


def test_a_training_is_scored_anew_for_a_table_that_wants_more(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    rows = [Row("base"), next(row for row in TABLES["gaussrender"]() if row.name == "GaussRender")]
    monkeypatch.setitem(TABLES, "gaussrender", lambda: rows)
    ablate(replace(config, seeds=(1,), rows=("base",)))
    state = config.out / "base" / "seed_1" / "state.pt"  # written by steps alone
    before = state.stat().st_mtime_ns
    table = ablate(replace(config, table="gaussrender", seeds=(1,), rows=("base",)))
    assert "bev_iou" in table["rows"][0]["metrics"] and state.stat().st_mtime_ns == before


def test_a_table_is_of_one_test(config: AblateConfig):
    (config.results).mkdir()
    (config.results / "tacocc.json").write_text(json.dumps({"test": "data/elsewhere", "rows": []}))
    with pytest.raises(
        ValueError, match=r"scored on 'data/elsewhere', not on .* give another --results"
    ):
        ablate(config)
    assert json.loads((config.results / "tacocc.json").read_text()) == {
        "test": "data/elsewhere",
        "rows": [],
    }


def test_where_cameras_teach_they_score_too(config: AblateConfig, monkeypatch: pytest.MonkeyPatch):
    rows = [Row("base"), next(row for row in TABLES["gaussrender"]() if row.name == "GaussRender")]
    monkeypatch.setitem(TABLES, "gaussrender", lambda: rows)
    table = ablate(replace(config, table="gaussrender", seeds=(1,)))
    metrics = table["rows"][1]["metrics"]
    assert {"ray_iou_over_first", "bev_iou_over_first", "image_miou", "depth_l1_m"} <= set(metrics)
    assert "RayIoU" in text(table)


def test_a_row_may_be_compared_to_another_than_the_first(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    rows = [
        Row("base"),
        Row("add", ("add",), {"fusion": "add"}),
        Row("conv", ("conv",), {"fusion": "conv"}, over="add"),
    ]
    monkeypatch.setitem(TABLES, "tacocc", lambda: [*rows, Row("not asked for")])
    table = ablate(replace(config, seeds=(1,), rows=("conv",)))
    assert [row["name"] for row in table["rows"]] == ["base", "add", "conv"]
    _, add, conv = (row["metrics"] for row in table["rows"])
    assert conv["iou_over_first"]["mean"] == pytest.approx(conv["iou"]["mean"] - add["iou"]["mean"])


def test_where_the_weather_is_heard_each_is_scored(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wordllama", reason="the sentence encoder's weights come with wordllama")
    rows = [
        Row("base"),
        next(row for row in TABLES["vlmfusion"]() if row.name == "InstVLM + WeathFusion + DAGA"),
    ]
    monkeypatch.setitem(TABLES, "vlmfusion", lambda: rows)
    table = ablate(replace(config, table="vlmfusion", seeds=(1,)))
    base, full = (row["metrics"] for row in table["rows"])
    weather = next(name for name in full if name.startswith("miou_") and name.endswith("clear"))
    assert full[f"{weather}_over_first"]["mean"] == pytest.approx(
        full[weather]["mean"] - base[weather]["mean"]
    )
    assert "clear" in text(table)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no table 'tacoc'"):
        AblateConfig(table="tacoc")
    with pytest.raises(ValueError, match="has no row"):
        AblateConfig(table="tacocc", rows=("fuser",))
