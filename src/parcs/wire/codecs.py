"""A value <-> the body of a frame.

`encode` gives a tag and the parts of a body, to be sent one after the other without joining them;
`decode` takes a whole body. The codec of a frame is in its tag, so a receiver is never configured.

    json     the default: what version 1 speaks. numpy scalars go as numbers.
    msgpack  like JSON, and bytes inside values
    raw      bytes-like objects, as they are; arrives as a bytearray
    pickle   any Python object, Python to Python within one job. Buffers of 4 KiB and more (numpy
             arrays) travel outside the pickle: they are sent from where they are and used where they
             arrive, with no copy on either side.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from parcs import errors
from parcs.wire import header

if TYPE_CHECKING:
    import pickle

CODECS: Final = {"json": header.JSON, "msgpack": header.MSGPACK, "raw": header.RAW, "pickle": header.PICKLE}

_OUT_OF_BAND: Final = 4096
_ALIGNMENT: Final = 64
_PICKLE_HEAD: Final = struct.Struct(">II")
_PICKLE_SIZE: Final = struct.Struct(">Q")
_PAD: Final = bytes(_ALIGNMENT)

Part = bytes | bytearray | memoryview


class Encoded(NamedTuple):
    """A frame ready to send, without its header."""

    tag: int
    size: int
    parts: list[Part]


def tag_of(codec: str) -> int:
    """The tag of a codec's name.

    Raises:
        SettingsError: no such codec.
    """
    try:
        return CODECS[codec]
    except KeyError:
        raise errors.SettingsError(f"no codec named {codec!r}; there are {', '.join(CODECS)}") from None


def choose(value: Any, codec: str, *, named: bool) -> int:
    """The tag for a value: the codec's, but bytes on their own go raw unless a codec was named."""
    if not named and isinstance(value, bytes | bytearray | memoryview):
        return header.RAW
    return tag_of(codec)


def is_array(value: Any) -> bool:
    """Whether the value is a numpy array, without importing numpy to ask."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def encode(value: Any, tag: int) -> Encoded:
    """Encode ``value`` as the body of a frame with this tag.

    Raises:
        EncodeError: this codec cannot; it names the type and where in the value it is.
    """
    return _ENCODERS[tag](value)


def decode(tag: int, body: bytearray) -> Any:
    """The value of a frame.

    Raises:
        DecodeError: the body is not what the tag says.
    """
    return _DECODERS[tag](body)


# --- json ---------------------------------------------------------------------------------------


def _json_default(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    raise TypeError


_json_encode: Final = json.JSONEncoder(default=_json_default).encode
_json_decode: Final = json.JSONDecoder().decode


def encode_json(value: Any) -> Encoded:
    try:
        body = _json_encode(value).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise _explain(value, "json", _json_accepts, error) from None
    return Encoded(header.JSON, len(body), [body])


def decode_json(body: bytes | bytearray) -> Any:
    try:
        return _json_decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise errors.DecodeError("json", str(error)) from None


def _json_accepts(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return (
        value is None
        or isinstance(value, str | int | float | bool)
        or (numpy is not None and isinstance(value, numpy.generic))
    )


# --- msgpack ------------------------------------------------------------------------------------


def encode_msgpack(value: Any) -> Encoded:
    import msgspec  # 40 ms to import: only those who use it pay

    try:
        body = msgspec.msgpack.encode(value, enc_hook=_msgpack_default)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _explain(value, "msgpack", _msgpack_accepts, error) from None
    return Encoded(header.MSGPACK, len(body), [body])


def _msgpack_default(value: Any) -> Any:
    try:
        return _json_default(value)
    except TypeError:
        raise NotImplementedError from None


def decode_msgpack(body: bytearray) -> Any:
    import msgspec

    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise errors.DecodeError("msgpack", str(error)) from None


def _msgpack_accepts(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return _json_accepts(value) or isinstance(value, bytes | bytearray | memoryview)


# --- raw ----------------------------------------------------------------------------------------


def encode_raw(value: Any) -> Encoded:
    try:
        view = memoryview(value).cast("B")
    except TypeError:
        raise errors.EncodeError(
            "raw", "$", _type_name(value), "raw takes contiguous bytes-like objects; name another codec"
        ) from None
    return Encoded(header.RAW, view.nbytes, [view])


def decode_raw(body: bytearray) -> bytearray:
    return body


# --- pickle -------------------------------------------------------------------------------------
#
#   offset  bytes    meaning
#   0       4        k: number of out-of-band buffers
#   4       4        zero
#   8       8        p: length of the pickle
#   16      8 x k    length of each buffer
#   ..      p        the pickle, protocol 5
#   then each buffer, at the next multiple of 64 counted from the start of the body


def encode_pickle(value: Any, *, by_value: bool = False) -> Encoded:
    """Pickle a value. With ``by_value``, functions and classes that the receiver cannot import (those of
    ``__main__``, lambdas) go along; without, they do only if pickle alone cannot name them.
    """

    views: list[memoryview] = []

    def keep_outside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _OUT_OF_BAND:
            return True
        views.append(view)
        return False

    try:
        pickled = None if by_value else _pickle_by_name(value, keep_outside)
        if pickled is None:
            import cloudpickle

            views.clear()
            pickled = cloudpickle.dumps(value, protocol=5, buffer_callback=keep_outside)
    except Exception as error:  # pickling runs the user's own code, which may raise anything
        raise errors.EncodeError("pickle", "$", _type_name(value), f"pickle says: {error}") from error
    head = [_PICKLE_HEAD.pack(len(views), 0), _PICKLE_SIZE.pack(len(pickled))]
    head += [_PICKLE_SIZE.pack(view.nbytes) for view in views]
    parts: list[Part] = [b"".join([*head, pickled])]
    size = len(parts[0])
    for view in views:
        padding = -size % _ALIGNMENT
        parts += [_PAD[:padding], view]
        size += padding + view.nbytes
    return Encoded(header.PICKLE, size, parts)


def _pickle_by_name(value: Any, keep_outside: Callable[[pickle.PickleBuffer], bool]) -> bytes | None:
    """A plain pickle, or None if something in the value has no name to pickle it by."""
    import pickle

    try:
        return pickle.dumps(value, protocol=5, buffer_callback=keep_outside)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def decode_pickle(body: bytearray) -> Any:
    import pickle

    pickled, buffers = _split_pickle(memoryview(body))
    try:
        return pickle.loads(pickled, buffers=buffers)
    except Exception as error:  # unpickling runs the classes' own code, which may raise anything
        raise errors.DecodeError("pickle", f"{type(error).__name__}: {error}") from error


def _split_pickle(view: memoryview) -> tuple[memoryview, list[memoryview]]:
    try:
        count, zero = _PICKLE_HEAD.unpack_from(view, 0)
        if zero or count > (len(view) - 16) // 8:
            raise errors.DecodeError("pickle", f"a head of {count} buffers in {len(view)} bytes")
        sizes = struct.unpack_from(f">{count + 1}Q", view, 8)
    except struct.error as error:
        raise errors.DecodeError("pickle", str(error)) from None
    at = 16 + 8 * count
    pickled = view[at : at + sizes[0]]
    at += sizes[0]
    buffers = []
    for size in sizes[1:]:
        at += -at % _ALIGNMENT
        buffers.append(view[at : at + size])
        at += size
    if at != len(view):
        raise errors.DecodeError("pickle", f"its parts make {at} bytes and the frame has {len(view)}")
    return pickled, buffers


_ENCODERS: Final[dict[int, Callable[[Any], Encoded]]] = {
    header.JSON: encode_json,
    header.MSGPACK: encode_msgpack,
    header.RAW: encode_raw,
    header.PICKLE: encode_pickle,
}
_DECODERS: Final[dict[int, Callable[[bytearray], Any]]] = {
    header.JSON: decode_json,
    header.MSGPACK: decode_msgpack,
    header.RAW: decode_raw,
    header.PICKLE: decode_pickle,
}


# --- why a value cannot be encoded ----------------------------------------------------------------


def _explain(
    value: Any, codec: str, accepts: Callable[[Any], bool], error: BaseException
) -> errors.EncodeError:
    """Find the first thing inside ``value`` that a JSON-like codec cannot carry."""
    path, culprit = next(_refused(value, "$", accepts, set()), ("$", value))
    if isinstance(error, RecursionError | ValueError) and accepts(culprit):
        hint = f"the encoder says: {error}"
    elif isinstance(culprit, dict | list | tuple):
        hint = "the value contains itself, or is nested too deeply"
    else:
        hint = f"send a plain value, or name codec='pickle' (Python to Python){_raw_hint(culprit)}"
    return errors.EncodeError(codec, path, _type_name(culprit), hint)


def _refused(
    value: Any, path: str, accepts: Callable[[Any], bool], above: set[int]
) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list | tuple):
        if not accepts(value):
            yield path, value
        return
    if id(value) in above or len(above) > 200:
        yield path, value
        return
    inside = above | {id(value)}
    if isinstance(value, dict):
        for key, item in value.items():
            if not (key is None or isinstance(key, str | int | float | bool)):
                yield f"{path} (a key)", key
            yield from _refused(item, f"{path}.{key}", accepts, inside)
    else:
        for index, item in enumerate(value):
            yield from _refused(item, f"{path}[{index}]", accepts, inside)


def _raw_hint(value: Any) -> str:
    return "; bytes on their own go as raw" if isinstance(value, bytes | bytearray | memoryview) else ""


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
