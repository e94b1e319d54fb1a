"""Properties that are wanted are read as the library reads them, and no others are built."""

import io
from typing import Any

import pytest
from dbus_next import Message, Variant
from hypothesis import given
from hypothesis import strategies as st
from peer import STRINGS, variants
from tinyci.dbus.messagereader import MessageReader

NAMES = st.sampled_from(["ActiveState", "Job", "Result", "Type", "Id", "MemoryCurrent"]) | STRINGS
WANTED = frozenset((b"ActiveState", b"Job", b"Result"))


def message(signature: str, body: list[Any]) -> bytes:
    signal = Message.new_signal("/unit", "a.b", "Changed", signature, body)
    signal.serial = 1
    return bytes(signal._marshall())


def read(data: bytes, wanted: frozenset[bytes] | None) -> list[Any]:
    result = MessageReader(io.BytesIO(data), wanted).unmarshall()
    assert isinstance(result, Message)
    return list(result.body)


@given(st.dictionaries(NAMES, variants(), max_size=8))
def test_the_wanted_properties_are_those_that_the_library_reads(values: dict[str, Variant]) -> None:
    data = message("sa{sv}as", ["org.freedesktop.systemd1.Unit", values, ["Conditions"]])
    interface, everything, invalidated = read(data, None)
    some = {name: value for name, value in everything.items() if name.encode() in WANTED}
    assert repr(read(data, WANTED)) == repr([interface, some, invalidated])  # NaN does not equal itself


def test_no_property_is_built_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {f"Other{number}": Variant("a(sasb)", [["a", ["b"], True]]) for number in range(400)}
    data = message("a{sv}", [{"ActiveState": Variant("s", "active")} | values])
    count = 0
    build = MessageReader.read_argument

    def count_value(self: MessageReader, type_: object) -> Any:
        nonlocal count
        count += 1
        return build(self, type_)

    monkeypatch.setattr(MessageReader, "read_argument", count_value)
    assert read(data, WANTED) == [{"ActiveState": Variant("s", "active")}]
    assert count < 40, "values of the header among them"


@given(st.integers(0, 2**32 - 1))
def test_properties_of_a_wrong_length_end_the_connection_and_are_never_others(length: int) -> None:
    good = message("a{sv}", [{"Id": Variant("s", "x"), "Job": Variant("(uo)", [1, "/a"])}])
    begin = len(good) - int.from_bytes(good[4:8], "little")
    reader = MessageReader(io.BytesIO(good[:begin] + length.to_bytes(4, "little") + good[begin + 4 :]), WANTED)
    try:
        result = reader.unmarshall()
    except Exception:  # Connection ends with whatever it is
        return
    assert result is None or set(result.body[0]) <= {"Job"}
