"""Who may do what when in a handshake. Everything that decides it is in these tables.

There are two greetings. In version 1 the point listens and its creator dials: ``SYN``, ``ACK``. In
version 2 the point dials its creator back, both sides prove the job's token without showing it, and
only then is anything the other side says parsed:

    dialer    OPENING   = magic, nonce D
    acceptor  CHALLENGE = magic, nonce A, proof that it knows the token
    dialer    PROOF     = proof that it knows the token, then its hello (a control frame)
    acceptor  WELCOME   = its hello, or a refusal in words

Each side's life is a row of states; an input that has no entry in the current state's row is an error
and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """Where one side of a handshake stands."""

    NEW = "new"
    AWAIT_SYN = "await-syn"
    AWAIT_ACK = "await-ack"
    AWAIT_OPENING = "await-opening"
    AWAIT_CHALLENGE = "await-challenge"
    AWAIT_PROOF = "await-proof"
    AWAIT_HELLO = "await-hello"
    AWAIT_WELCOME = "await-welcome"
    DONE = "done"
    FAILED = "failed"


class Input(Enum):
    """What can happen to one side of a handshake."""

    START = "start"
    SYN = "syn"
    ACK = "ack"
    OPENING = "opening"
    CHALLENGE = "challenge"
    PROOF = "proof"
    HELLO = "hello"
    WELCOME = "welcome"
    BAD = "bad"


Table = dict[State, dict[Input, State]]

DIALER_V1: Final[Table] = {
    State.NEW: {Input.START: State.AWAIT_ACK},
    State.AWAIT_ACK: {Input.ACK: State.DONE, Input.BAD: State.FAILED},
}

ACCEPTOR_V1: Final[Table] = {
    State.NEW: {Input.START: State.AWAIT_SYN},
    State.AWAIT_SYN: {Input.SYN: State.DONE, Input.BAD: State.FAILED},
}

DIALER_V2: Final[Table] = {
    State.NEW: {Input.START: State.AWAIT_CHALLENGE},
    State.AWAIT_CHALLENGE: {Input.CHALLENGE: State.AWAIT_WELCOME, Input.BAD: State.FAILED},
    State.AWAIT_WELCOME: {Input.WELCOME: State.DONE, Input.BAD: State.FAILED},
}

ACCEPTOR_V2: Final[Table] = {
    State.NEW: {Input.START: State.AWAIT_OPENING},
    State.AWAIT_OPENING: {Input.OPENING: State.AWAIT_PROOF, Input.BAD: State.FAILED},
    State.AWAIT_PROOF: {Input.PROOF: State.AWAIT_HELLO, Input.BAD: State.FAILED},
    State.AWAIT_HELLO: {Input.HELLO: State.DONE, Input.BAD: State.FAILED},
}


def step(table: Table, state: State, event: Input) -> State:
    """The state after ``event``.

    Raises:
        ValueError: the table has no such move.
    """
    try:
        return table[state][event]
    except KeyError:
        raise ValueError(f"{event.value} is not possible in state {state.value}") from None
