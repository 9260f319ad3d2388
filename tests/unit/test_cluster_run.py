"""``parcs run --on swarm`` as its terminal sees it: Ctrl-C may come at any moment."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from parcs.cli import cluster_run


class ImpatientTerminal(io.StringIO):
    """Gets Ctrl-C in the middle of the answer, once."""

    def write(self, text: str) -> int:
        count = super().write(text)
        if " goes on" in text and self.getvalue().count(" goes on") == 1:
            raise KeyboardInterrupt
        return count


class Remote:
    def __init__(self) -> None:
        self.stopped: list[str] = []

    def lines(self, job: str, *, is_following: bool, after: int) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    def stop(self, job: str) -> None:
        self.stopped.append(job)

    def ps(self, job: str) -> dict[str, object]:
        return {"exit_code": 143, "result": None, "why": "was stopped", "description": ""}


def test_an_interrupt_in_the_answer_to_an_interrupt_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(cluster_run, "_wants_to_stop", lambda job: next(answers))
    terminal, remote = ImpatientTerminal(), Remote()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cluster_run.follow(remote, "job-1", as_json=False) == 143
    assert remote.stopped == ["job-1"]
    assert "stopping job-1" in terminal.getvalue()
