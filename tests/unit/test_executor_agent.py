"""What an executor keeps of a task's output, over connections that break."""

from __future__ import annotations

from pathlib import Path

from parcs.contract.executor import Lease, Output, Result
from parcs.executor.agent import Agent


def test_a_result_is_whole_again_when_a_hub_may_have_missed_its_beginning(tmp_path: Path) -> None:
    agent = Agent(["http://x"], "t", 1, root=tmp_path)
    agent.machine.on_leases([Lease(1, 1, 0, {})], 0.0)
    agent._on_said(0, Output(1, 1, "stdout", 0, b"first "))
    agent._on_said(0, Output(1, 1, "stderr", 0, b"all"))
    agent._on_said(0, Result(1, 1, "succeeded", "", streams={"stdout": (6, b"rest")}))
    assert agent.machine.results()[0].streams == {"stdout": (6, b"rest")}
    for _ in range(2):  # the connection broke, and again
        agent._on_break()
        assert agent.machine.results()[0].streams == {"stdout": (0, b"first rest"), "stderr": (0, b"all")}
    agent.machine.on_ack([(1, 1)])
    agent._forget([(1, 1)])
    assert agent.machine.held() == []


def test_a_task_that_runs_on_over_a_break_is_told_whole(tmp_path: Path) -> None:
    agent = Agent(["http://x"], "t", 1, root=tmp_path)
    agent.machine.on_leases([Lease(1, 1, 0, {})], 0.0)
    agent._on_said(0, Output(1, 1, "stdout", 0, b"a"))
    agent._on_break()
    agent._on_said(0, Output(1, 1, "stdout", 1, b"b"))
    agent._on_said(0, Result(1, 1, "succeeded", "", streams={"stdout": (2, b"c")}))
    assert agent.machine.results()[0].streams == {"stdout": (0, b"abc")}
