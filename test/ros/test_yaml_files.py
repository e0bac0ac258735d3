"""YAML files of strangers: calibrations, rules, parameters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occ_perception_ros.calibration import load_calibration
from occ_perception_ros.can.rules_file import load_rules
from occ_perception_ros.rviz_config import world_frame
from occ_perception_ros.transforms import TransformTree
from occ_perception_ros.yaml_files import MAX_BYTES, read_yaml

FUZZ = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 10))
"""Nine to the power of nine entries in half a kilobyte."""
READERS: dict[str, Callable[[Path], Any]] = {
    "plain": read_yaml,
    "calibration": lambda path: load_calibration(path, TransformTree()),
    "rules": load_rules,
    "parameters": lambda path: world_frame(None, path),
}
NODE_PARAMETERS = """
import sys
import rclpy
for path in sys.argv[1:]:
    context = rclpy.Context()
    try:
        rclpy.init(args=["--ros-args", "--params-file", path], context=context)
        rclpy.shutdown(context=context)
    except Exception as error:
        assert str(error).strip()
print("alive")
"""


def hostile(trace: Path) -> dict[str, str]:
    """Files that try to run code, to fill the memory or to hang, by name."""
    return {
        "call": f"!!python/object/apply:os.system ['touch {trace}']",
        "call_inside": f"frames:\n  a: !!python/object/apply:os.system ['touch {trace}']",
        "object": "!!python/object/new:subprocess.Popen [[touch, x]]",
        "name": "!!python/name:os.system",
        "laughs": LAUGHS + "frames: *a9\n",
        "loop": "frames: &a\n  b: *a\n",
        "merges": LAUGHS.replace("[ha]", "{x: 1}").replace("[*", "{<<: [*").replace("]\n", "]}\n"),
        "deep": "[" * 5000,
        "deep_map": "{a: " * 3000,
        "huge": "a: " + "x" * (MAX_BYTES + 1),
        "not_text": "a: \x00\x01",
        "bad_date": "frames: {a: 2001-99-99}",
    }


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", hostile(Path()))
def test_hostile_files_are_refused(reader: str, name: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "hostile.yaml"
    path.write_text(hostile(trace)[name])
    with pytest.raises(ValueError, match=r"hostile\.yaml") as caught:
        READERS[reader](path)
    assert not trace.exists() and len(str(caught.value)) < 3000


NUMBERS = st.one_of(st.floats(), st.integers(), st.sampled_from([10**400, -(10**400), True, None]))
LEAVES = st.one_of(NUMBERS, st.text(max_size=8), st.lists(NUMBERS, max_size=9))
ENTRIES = st.dictionaries(
    st.sampled_from(
        ["parent", "translation", "rotation_xyzw", "size", "intrinsics", "distortion", "x"]
        + ["distortion_model"]
    ),
    st.one_of(LEAVES, st.lists(st.floats(-2, 2), min_size=3, max_size=4), st.just("plumb_bob")),
)
CALIBRATIONS = st.one_of(
    st.fixed_dictionaries(
        {"frames": st.dictionaries(st.text(max_size=4), st.one_of(ENTRIES, LEAVES), max_size=3)},
        optional={"cameras": st.dictionaries(st.text(max_size=4), ENTRIES, max_size=2)},
    ),
    st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=4), inner), max_leaves=5),
)


def test_aliases_are_written_out(tmp_path: Path) -> None:
    """PyYAML writes them wherever one list is used twice."""
    path, shared = tmp_path / "a.yaml", [1.0, 2.0]
    path.write_text(yaml.safe_dump({"a": shared, "b": shared}))
    assert "*" in path.read_text() and read_yaml(path) == {"a": shared, "b": shared}
    path.write_text("base: &base {x: 1}\nmore: {<<: *base, y: 2}\n")
    assert read_yaml(path)["more"] == {"x": 1, "y": 2}
    path.write_text("")
    assert read_yaml(path) is None


@FUZZ
@given(content=CALIBRATIONS)
def test_any_calibration_is_read_or_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        models = load_calibration(path, TransformTree())
    except ValueError as error:
        assert "calibration.yaml" in str(error)
    else:
        assert set(models) <= {str(name) for name in content.get("cameras", {})}


@FUZZ
@given(content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_yaml_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    try:
        read_yaml(path)
    except ValueError as error:
        assert "any.yaml" in str(error)


def test_parameter_files_do_not_crash_the_node(tmp_path: Path) -> None:
    """They are read by ROS's own parser, in C: a crash would end the child by a signal."""
    trace = tmp_path / "trace"
    good = "occupancy_node:\n  ros__parameters:\n    sync: {timeout_s: 0.1}\n    cameras: [a, b]\n"
    texts = [*hostile(trace).values(), good, "", "a", good.replace("a, b", "a, 1, 2.0, [x]")]
    texts += [good[:length] for length in range(5, len(good), 7)]
    texts += [good.replace(": ", f": !!python/object/apply:os.system ['touch {trace}'] ", 1)]
    texts += [good + "    sync.timeout_s: " + "9" * 400 + "\n", good.replace("0.1", "&a *a")]
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(text)
    command = [sys.executable, "-c", NODE_PARAMETERS, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "alive" in done.stdout, done.stderr
    assert not trace.exists()
