"""A slice of the fuzz run, the same in every CI run."""

from __future__ import annotations

from tests.fuzz import mutate


def test_every_mutated_stream_ends_in_a_documented_way() -> None:
    endings = mutate.run(20_000, seed=20261121)
    assert sum(endings.values()) == 40_000
    assert {"fine", "UnknownTagError", "FrameTooLargeError", "TruncatedFrameError", "HandshakeError"} <= set(
        endings
    )
