"""Values to bodies and back, and what is said of a value that cannot go."""

from __future__ import annotations

import math
import pickle
import struct
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcs import errors
from parcs.wire import codecs, header

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
MSGPACK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def through(value: Any, tag: int) -> Any:
    encoded = codecs.encode(value, tag)
    body = bytearray().join(encoded.parts)
    assert len(body) == encoded.size
    return codecs.decode(tag, body)


@given(VALUES)
def test_json_brings_values_back(value: Any) -> None:
    assert through(value, header.JSON) == value


@given(MSGPACK)
def test_msgpack_brings_values_back(value: Any) -> None:
    assert through(value, header.MSGPACK) == value


@given(VALUES | st.sets(st.integers()) | st.tuples(SCALARS, SCALARS))
def test_pickle_brings_values_back(value: Any) -> None:
    assert through(value, header.PICKLE) == value


@given(st.binary())
def test_raw_brings_bytes_back(value: bytes) -> None:
    assert through(value, header.RAW) == value
    assert through(memoryview(value), header.RAW) == value


def test_json_is_that_of_the_original() -> None:
    assert codecs.encode([1, "é", {"a": None}], 0).parts == [b'[1, "\\u00e9", {"a": null}]']
    assert math.isnan(through(math.nan, 0))
    assert through((1, 2), 0) == [1, 2]


def test_numpy_scalars_go_as_numbers() -> None:
    value = {"sum": numpy.int64(3), "mean": numpy.float32(0.5), "all": numpy.bool_(True)}
    for tag in (header.JSON, header.MSGPACK):
        assert through(value, tag) == {"sum": 3, "mean": 0.5, "all": True}


class Mine:
    pass


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        ({1, 2}, "$", "set"),
        ({"a": [0, {"b": Mine()}]}, "$.a[1].b", "test_codecs.Mine"),
        ([b"x"], "$[0]", "bytes"),
        ({("a", 1): 2}, "$ (a key)", "tuple"),
        (CYCLE, "$[0]", "list"),
        ([1, 2j], "$[1]", "complex"),
        ([numpy.arange(3)], "$[0]", "numpy.ndarray"),
    ],
)
def test_what_json_cannot_carry_is_named_with_its_place(value: Any, path: str, kind: str) -> None:
    with pytest.raises(errors.EncodeError) as caught:
        codecs.encode(value, header.JSON)
    assert caught.value.path == path
    assert caught.value.type_name.endswith(kind)
    assert caught.value.codec == "json"


def test_msgpack_names_an_integer_that_is_too_big() -> None:
    with pytest.raises(errors.EncodeError) as caught:
        codecs.encode({"n": [2**64]}, header.MSGPACK)
    assert caught.value.path == "$.n[0]"


def test_raw_takes_contiguous_bytes_only() -> None:
    for value in ("text", 3, memoryview(b"abcd")[::2]):
        with pytest.raises(errors.EncodeError):
            codecs.encode(value, header.RAW)


def test_an_object_that_refuses_to_be_pickled_is_an_encode_error() -> None:
    class Angry:
        def __reduce__(self) -> Any:
            raise RuntimeError("never")

    with pytest.raises(errors.EncodeError, match="never"):
        codecs.encode_pickle([Angry()])


def test_functions_that_have_no_name_travel() -> None:
    offset = 3
    assert through(lambda n: n + offset, header.PICKLE)(4) == 7


@given(st.binary(max_size=200), st.sampled_from([header.JSON, header.MSGPACK]))
def test_any_body_is_a_value_or_a_decode_error(body: bytes, tag: int) -> None:
    try:
        codecs.decode(tag, bytearray(body))
    except errors.DecodeError:
        return


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=64))
def test_a_pickle_head_with_senseless_counts_is_refused(count: int, size: int, rest: bytes) -> None:
    body = bytearray(struct.pack(">IIQ", count, 0, size) + rest)
    if count or size != len(rest):
        with pytest.raises(errors.DecodeError):
            codecs.decode(header.PICKLE, body)


def test_a_pickle_of_what_cannot_be_imported_is_a_decode_error() -> None:
    bad = pickle.dumps(Mine()).replace(b"Mine", b"Gone")
    with pytest.raises(errors.DecodeError, match="Gone"):
        codecs.decode(header.PICKLE, bytearray(struct.pack(">IIQ", 0, 0, len(bad)) + bad))


def test_every_error_can_be_pickled() -> None:
    made = [
        errors.EncodeError("json", "$", "set", "hint"),
        errors.FrameTooLargeError(2, 1, sending=True),
        errors.RemoteError("p", "KeyError", "x", "trace"),
        errors.PointDiedError("p", "gone", None, 9, ["x"]),
        errors.DeadlockError(["a", "b"]),
    ]
    for error in made:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
