"""A reader of one message, which refuses a long one, and builds of properties those alone that are wanted.

Source: D-Bus Specification, "Marshaling (Wire Format)".
"""

from io import BufferedIOBase
from struct import Struct
from typing import Any

from dbus_next import Variant
from dbus_next._private.constants import LITTLE_ENDIAN
from dbus_next._private.unmarshaller import Unmarshaller
from dbus_next.errors import InvalidMessageError
from dbus_next.signature import SignatureTree, SignatureType

_MESSAGE_MAX = 4 * 1024 * 1024
"""Bytes of a message that is read; the largest that a peer rightly sends is below 2 MiB."""
_PROPERTIES = "a{sv}"
_SIZES = {"y": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "h": 4, "x": 8, "t": 8, "d": 8}
"""Bytes of the types of fixed size, each aligned to its own size."""
_LENGTHS = {True: Struct("<I"), False: Struct(">I")}
"""Lengths, by whether the least byte comes first."""


class MessageReader(Unmarshaller):  # type: ignore[misc]
    """The library's reader, for a peer that is not believed.

    The library believes every length: that of the message, which may be 4 GiB, and that of an array, which may go on
    beyond its message. It also builds each of the 400 properties of a unit, of which some 30 are looked at.
    """

    def __init__(self, stream: BufferedIOBase, wanted: frozenset[bytes] | None = None) -> None:
        """`wanted`: the names of properties that are built, wherever a message has some; None for all."""
        super().__init__(stream)
        self._wanted = wanted

    def read(self, n: int, **options: bool) -> int:
        if self.offset + n > _MESSAGE_MAX:
            raise InvalidMessageError(f"a message of more than {_MESSAGE_MAX} bytes")
        return int(super().read(n, **options))

    def read_array(self, type_: SignatureType) -> Any:
        if self._wanted is None or type_.signature != _PROPERTIES:
            return super().read_array(type_)
        return self._read_properties(self._wanted)

    def _read_properties(self, wanted: frozenset[bytes]) -> dict[str, Variant]:
        size = self.read_uint32()
        self.align(8)
        begin = self.read(size)
        self.offset, end = begin, self.offset
        skipper = _Skipper(self.buf, is_little_endian=self.endian == LITTLE_ENDIAN)
        values: dict[str, Variant] = {}
        self._wanted = None  # of properties within these, all
        while self.offset < end:
            name, offset = skipper.read_name(self.offset)
            if name in wanted:
                self.offset = offset
                values[name.decode()] = self.read_variant()
            else:
                self.offset = skipper.after_variant(offset)
        if self.offset != end:
            raise InvalidMessageError("properties that go on beyond their array")
        self._wanted = wanted
        return values


class _Skipper:
    """A walk over values without building them. An offset is that of a byte in the message. Raises whatever comes of
    a message that ends too early."""

    def __init__(self, message: bytearray, *, is_little_endian: bool) -> None:
        self._message = message
        self._length_at = _LENGTHS[is_little_endian].unpack_from

    def read_name(self, offset: int) -> tuple[bytes, int]:
        """Return the key of an entry, and the offset of its value."""
        offset += -offset & 7
        begin = offset + 4
        end = begin + int(self._length_at(self._message, offset)[0])
        return bytes(self._message[begin:end]), end + 1

    def after_variant(self, offset: int) -> int:
        begin = offset + 1
        end = begin + self._message[offset]
        (type_,) = SignatureTree._get(self._message[begin:end].decode()).types
        return self._after(type_, end + 1)

    def _after(self, type_: SignatureType, offset: int) -> int:
        """Return the offset after a value of that type."""
        token = type_.token
        if size := _SIZES.get(token):
            return offset + (-offset & size - 1) + size
        match token:
            case "s" | "o":
                offset += -offset & 3
                return offset + 5 + int(self._length_at(self._message, offset)[0])
            case "g":
                return offset + 2 + self._message[offset]
            case "v":
                return self.after_variant(offset)
            case "a":
                offset += -offset & 3
                size = int(self._length_at(self._message, offset)[0])
                offset += 4
                return offset + (-offset & 7 if type_.children[0].token in "xtd{(" else 0) + size
        offset += -offset & 7
        for child in type_.children:
            offset = self._after(child, offset)
        return offset
