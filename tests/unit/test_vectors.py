"""This implementation against the wire's test vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parcs import errors
from parcs.testing import vectors

VECTORS = vectors.load(Path(__file__).parents[2] / "protocol" / "vectors.json")


def named(part: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[part], ids=lambda vector: vector["name"])


@named("frames")
def test_a_frame_is_read_and_written(vector: dict[str, Any]) -> None:
    vectors.check_frame(vector)


@named("bad_streams")
def test_a_bad_stream_ends_in_its_error(vector: dict[str, Any]) -> None:
    vectors.check_bad_stream(vector)


@named("handshakes")
def test_a_handshake_goes_as_written(vector: dict[str, Any]) -> None:
    vectors.check_handshake(vector)


@named("bad_handshakes")
def test_a_bad_handshake_ends_in_its_error(vector: dict[str, Any]) -> None:
    vectors.check_handshake(vector)


def test_every_protocol_error_has_a_vector() -> None:
    seen = {vector["error"] for vector in VECTORS["bad_streams"]}
    seen |= {step["error"] for v in VECTORS["bad_handshakes"] for step in v["steps"] if "error" in step}
    kinds: list[type] = [errors.ProtocolError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert seen == {kind.__name__ for kind in kinds[1:]}
