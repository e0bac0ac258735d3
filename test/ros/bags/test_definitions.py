"""Message definitions in bags: usable ones, and those that only spoil their own topic."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat

from occ_perception_ros.bags.definitions import DefinitionError, typestore_for
from occ_perception_ros.bags.writer import TYPESTORE

MSG, IDL, NONE = (
    MessageDefinitionFormat.MSG,
    MessageDefinitionFormat.IDL,
    MessageDefinitionFormat.NONE,
)
IDL_FILE = "=" * 80 + "\nIDL: own_msgs/msg/Wheel\n"
WHEEL = "module own_msgs { module msg { struct Wheel { std_msgs::msg::Header header; }; }; };\n"
UNION = WHEEL.replace("struct", "union Side switch(long) { case 0: float x; }; struct")


def connection(name: str, form: MessageDefinitionFormat, text: str, digest: str = "") -> Connection:
    return Connection(1, "/wheel", name, MessageDefinition(form, text), digest, 0, None, None)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (MSG, "std_msgs/Header header\n"),
        (IDL, WHEEL),
        (IDL, IDL_FILE + WHEEL),
        (IDL, IDL_FILE + '#include "std_msgs/msg/Header.idl"\n\n' + WHEEL),
    ],
)
def test_definitions_that_lean_on_ros_2s_own(form: MessageDefinitionFormat, text: str) -> None:
    store = typestore_for(connection("own_msgs/msg/Wheel", form, text), is_ros2=True)
    header = store.types["std_msgs/msg/Header"](
        store.types["builtin_interfaces/msg/Time"](sec=7, nanosec=8), "wheel"
    )
    data = store.serialize_cdr(store.types["own_msgs/msg/Wheel"](header), "own_msgs/msg/Wheel")
    read = store.deserialize_cdr(bytes(data), "own_msgs/msg/Wheel")
    assert (read.header.stamp.sec, read.header.frame_id) == (7, "wheel")


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        (NONE, "", "the bag has none"),
        (MSG, "", "the bag has none"),
        (MSG, "float64 <<<\n", "usable"),
        (MSG, "own_msgs/Tyre tyre\n", "own_msgs/msg/Tyre is not defined"),
        (IDL, IDL_FILE + UNION, "usable"),
        (IDL, "struct", "usable"),
    ],
)
def test_definitions_that_are_not_usable(
    form: MessageDefinitionFormat, text: str, reason: str
) -> None:
    with pytest.raises(DefinitionError, match=f"own_msgs/msg/Wheel.*{reason}"):
        typestore_for(connection("own_msgs/msg/Wheel", form, text), is_ros2=True)


def test_a_type_of_ros_2_needs_no_definition() -> None:
    name = "std_msgs/msg/String"
    for form, text in ((NONE, ""), (IDL, "union"), (MSG, "<<<")):
        assert typestore_for(connection(name, form, text), is_ros2=True) is TYPESTORE
    same = TYPESTORE.hash_rihs01(name)
    assert typestore_for(connection(name, NONE, "", same), is_ros2=True) is TYPESTORE
    with pytest.raises(DefinitionError, match="differs from ROS 2's own"):
        typestore_for(connection(name, NONE, "", "RIHS01_00"), is_ros2=True)
    # ROS 1 has another std_msgs/Header of the same name.
    with pytest.raises(DefinitionError, match="std_msgs/msg/Header is not usable"):
        typestore_for(connection("std_msgs/msg/Header", NONE, ""), is_ros2=False)


def test_a_name_is_never_run_as_code(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"own_msgs/msg/A:\n    open({str(trace)!r}, 'w')\nclass B"
    for name, text in (
        (code, "float64 speed"),
        ("own_msgs/msg/Wheel", f"float64 speed\n{'=' * 80}\nMSG: {code}\nfloat64 speed"),
        ("own_msgs/msg/Wheel", f"{code} speed"),
    ):
        with pytest.raises(DefinitionError):
            typestore_for(connection(name, MSG, text), is_ros2=True)
    assert not trace.exists()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([MSG, IDL]),
    st.text(alphabet="abz_ \n/=#{}[]<>:;,()'\"\\0159@.-", max_size=80),
    st.sampled_from(["", "float64 speed\n", WHEEL, "string name 'x'\n"]),
)
def test_garbage_is_refused_by_one_error(
    form: MessageDefinitionFormat, garbage: str, start: str
) -> None:
    try:
        typestore_for(connection("own_msgs/msg/Wheel", form, start + garbage), is_ros2=True)
    except DefinitionError as error:
        assert "own_msgs/msg/Wheel" in str(error)
