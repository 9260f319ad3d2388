"""The checker of histories finds each thing that must not be, and nothing in a history that is well."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from chaos.checker import check
from chaos.history import Ended, Event, History, Operation, read


def well() -> History:
    """Two clients: one task that was lost once, and one that was cancelled."""
    return History(
        operations=[
            Operation(0, "submit", 0.0, 0.1, "ok", task=1, name="0-1"),
            Operation(0, "submit", 0.1, 5.0, "unknown", name="0-2"),
            Operation(1, "read", 0.5, 0.6, "ok", task=1, seen=[(1, 1, "running")]),
            Operation(0, "read", 0.7, 0.8, "ok", task=1, seen=[(1, 1, "queued")]),
            Operation(1, "list", 1.0, 2.0, "ok", seen=[(1, 1, "queued"), (2, 0, "queued")]),
            Operation(0, "read", 1.5, 1.6, "ok", task=1, seen=[(1, 2, "running")]),
            Operation(0, "cancel", 3.0, 3.1, "ok", task=2, count=1),
            Operation(1, "read", 4.0, 4.1, "ok", task=1, seen=[(1, 2, "succeeded")]),
        ],
        events=[Event(0.2, 0.4, "kill hub", "node1")],
        ends=[
            Ended(1, "0-1", "succeeded", 2, [(1, "lost"), (2, "succeeded")], "1 2\n"),
            Ended(2, "0-2", "cancelled", 0, [], ""),
        ],
        facts={"seed": 1},
    )


def test_a_history_that_is_well() -> None:
    assert check(well()) == []


def looked(client: int, begun: float, attempt: int, state: str) -> Operation:
    return Operation(client, "read", begun, begun + 0.1, "ok", task=1, seen=[(1, attempt, state)])


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        ("legal", looked(0, 2.0, 1, "running")),
        ("legal", looked(1, 4.5, 2, "running")),
        ("legal", looked(1, 4.5, 2, "failed")),
        ("legal", looked(1, 4.5, 3, "succeeded")),
        ("current", looked(2, 1.8, 1, "queued")),
        ("current", looked(2, 4.5, 2, "running")),
        ("present", Operation(0, "submit", 4.0, 4.5, "ok", task=3, name="0-3")),
    ],
)
def test_what_a_client_must_not_see(rule: str, operation: Operation) -> None:
    history = well()
    history.operations.append(operation)
    assert check(history)[0].rule == rule


@pytest.mark.parametrize(
    ("rule", "number", "change"),
    [
        ("present", 1, {"name": "0-1"}),
        ("present", 1, {"state": "queued"}),
        ("once", 0, {"attempts": [(1, "succeeded"), (2, "succeeded")]}),
        ("once", 0, {"output": "1 1\n"}),
        ("cancelled", 1, {"state": "failed"}),
        ("current", 0, {"state": "failed"}),
    ],
)
def test_what_must_not_be_in_the_end(rule: str, number: int, change: dict[str, object]) -> None:
    history = well()
    history.ends[number] = dataclasses.replace(history.ends[number], **change)  # type: ignore[arg-type]
    assert rule in {violation.rule for violation in check(history)}


def test_an_attempt_after_a_cancel() -> None:
    history = well()
    history.ends[1] = Ended(2, "0-2", "succeeded", 2, [(1, "lost"), (2, "succeeded")], "2 2\n")
    history.operations.append(Operation(0, "read", 3.5, 3.6, "ok", task=2, seen=[(2, 1, "running")]))
    assert "cancelled" in {violation.rule for violation in check(history)}


def test_a_history_is_kept_whole(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    well().write(file)
    found = read(file)
    assert (found.operations, found.events, found.facts) == (
        [dataclasses.replace(o, seen=list(o.seen)) for o in well().operations],
        well().events,
        well().facts,
    )
    assert found.ends == well().ends
    assert check(found) == []
