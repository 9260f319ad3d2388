"""The handshake machines against each other, cut at every byte; and the tables in the protocol's text."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcs import errors
from parcs.wire import control, handshake, state
from parcs.wire.handshake import AcceptorV1, AcceptorV2, DialerV1, DialerV2, Handshake
from parcs.wire.state import Input, State

TOKEN = b"the job's token"
HELLO = control.Hello("point", "a-1", "a-1", "", 1 << 20, 1.0)
TABLES = {
    "dialer 1": state.DIALER_V1,
    "acceptor 1": state.ACCEPTOR_V1,
    "dialer 2": state.DIALER_V2,
    "acceptor 2": state.ACCEPTOR_V2,
}


def pair(token: bytes = TOKEN) -> tuple[DialerV2, AcceptorV2]:
    return DialerV2(token, HELLO), AcceptorV2(TOKEN, lambda hello: hello._replace(name="answer"))


def talk(dialer: Handshake, acceptor: Handshake, step: int = 1 << 20) -> None:
    """Carry bytes between the two, ``step`` at a time, until both are done."""
    to_acceptor, to_dialer = dialer.start(), acceptor.start()
    while to_acceptor or to_dialer:
        data, to_acceptor = to_acceptor[:step], to_acceptor[step:]
        to_dialer += acceptor.receive(data) if data else b""
        data, to_dialer = to_dialer[:step], to_dialer[step:]
        to_acceptor += dialer.receive(data) if data else b""


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 20])
def test_both_sides_greet_whatever_way_the_bytes_are_cut(step: int) -> None:
    dialer, acceptor = pair()
    talk(dialer, acceptor, step)
    assert acceptor.peer == HELLO
    assert dialer.peer is not None and dialer.peer.name == "answer"
    one, other = DialerV1(), AcceptorV1()
    talk(one, other, step)
    assert one.is_done and other.is_done


def test_bytes_after_the_handshake_belong_to_the_channel() -> None:
    dialer, acceptor = pair()
    to_acceptor = dialer.start()
    acceptor.start()
    answer = dialer.receive(acceptor.receive(to_acceptor))
    acceptor.receive(answer + b"first frame")
    assert acceptor.leftover == b"first frame"


def test_a_wrong_token_is_found_out_by_the_side_that_has_it() -> None:
    dialer, acceptor = pair(b"another")
    acceptor.start()
    challenge = acceptor.receive(dialer.start())
    with pytest.raises(errors.AuthenticationError, match="PARCS_TOKEN"):
        dialer.receive(challenge)
    with pytest.raises(errors.AuthenticationError):
        acceptor.receive(bytes(32))
    assert acceptor.refusal == b"", "a stranger is told nothing"
    assert {dialer.state, acceptor.state} == {State.FAILED}


def test_another_protocol_is_refused_in_words() -> None:
    dialer = DialerV2(TOKEN, HELLO._replace(protocol=3, parcs="9.9"))
    acceptor = AcceptorV2(TOKEN, lambda hello: hello)
    acceptor.start()
    answer = dialer.receive(acceptor.receive(dialer.start()))
    with pytest.raises(errors.VersionMismatchError, match=r"9\.9.*protocol 3"):
        acceptor.receive(answer)
    with pytest.raises(errors.VersionMismatchError, match=r"protocol 3"):
        dialer.receive(acceptor.refusal)


@pytest.mark.parametrize(
    "change", [{"name": 3}, {"frame_limit": 0}, {"frame_limit": True}, {"keepalive_s": -1}, {"listen": None}]
)
def test_a_senseless_hello_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(errors.HandshakeError):
        control.parse_hello({**HELLO.to_json(), **change})


def test_a_machine_that_failed_or_is_done_takes_no_more_moves() -> None:
    for table, (at, event) in product(TABLES.values(), product(State, Input)):
        if event not in table.get(at, {}):
            with pytest.raises(ValueError, match="not possible"):
                state.step(table, at, event)


@given(st.binary(min_size=1, max_size=100))
def test_garbage_is_refused_or_waited_out(data: bytes) -> None:
    for machine in (AcceptorV2(TOKEN, lambda h: h), DialerV2(TOKEN, HELLO), AcceptorV1(), DialerV1()):
        machine.start()
        try:
            machine.receive(data)
        except errors.HandshakeError:
            assert machine.state is State.FAILED
        else:
            expected = handshake.MAGIC if isinstance(machine, AcceptorV2 | DialerV2) else b""
            assert machine.is_done or expected.startswith(data) or data.startswith(expected)


def test_the_tables_in_the_text_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| dialer ", "| acceptor "))]
    expected = [
        f"| {side} | {at.value} | {event.value} | {then.value} |"
        for side, table in TABLES.items()
        for at, moves in table.items()
        for event, then in moves.items()
    ]
    assert rows == expected
