"""The header of a frame.

    offset  bytes  meaning
    0       1      tag: what the body is
    1       7      length of the body in bytes, big-endian, unsigned

Version 1 has an eight-byte big-endian length and always JSON. No real length reaches 2**56, so its
first byte is always 0: a version 1 frame *is* a version 2 frame with tag JSON.
"""

from __future__ import annotations

import struct
from typing import Final

from parcs import errors

SIZE: Final = 8

JSON: Final = 0
MSGPACK: Final = 1
RAW: Final = 2
PICKLE: Final = 3
ERROR: Final = 4
KEEPALIVE: Final = 5
CONTROL: Final = 6

NAMES: Final = {
    JSON: "json",
    MSGPACK: "msgpack",
    RAW: "raw",
    PICKLE: "pickle",
    ERROR: "error",
    KEEPALIVE: "keepalive",
    CONTROL: "control",
}

TAGS_V1: Final = frozenset({JSON})
TAGS_V2: Final = frozenset(NAMES)
VALUE_TAGS: Final = frozenset({JSON, MSGPACK, RAW, PICKLE})

_WORD: Final = struct.Struct(">Q")
_LENGTH_MASK: Final = (1 << 56) - 1


def pack(tag: int, length: int) -> bytes:
    """The eight bytes that announce a body of ``length`` bytes."""
    return _WORD.pack(tag << 56 | length)


def unpack(buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """``(tag, length)`` of the header at ``offset``."""
    word: int = _WORD.unpack_from(buffer, offset)[0]
    return word >> 56, word & _LENGTH_MASK


def check(tag: int, length: int, allowed: frozenset[int], limit: int) -> None:
    """Refuse a header before anything is allocated for its body.

    Raises:
        UnknownTagError: the tag is not among ``allowed``.
        FrameTooLargeError: the announced length is over ``limit``.
    """
    if tag not in allowed:
        raise errors.UnknownTagError(tag, ", ".join(f"{t} ({NAMES[t]})" for t in sorted(allowed)))
    if length > limit:
        raise errors.FrameTooLargeError(length, limit, sending=False)
