"""What an executor keeps of a task's output, over connections that break."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parcs.contract import executor as contract
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


class Wire:
    """A connection that keeps what is sent on it."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    async def send(self, data: bytes) -> None:
        self.sent.append(contract.decode_to_hub(data))
        await asyncio.sleep(0)


def test_output_goes_before_the_result_that_follows_it(tmp_path: Path) -> None:
    """Also if both come while the hub is still taking other results: it adds nothing to a task that is over."""

    async def scenario() -> list[object]:
        agent = Agent(["http://x"], "t", 2, root=tmp_path)
        agent.machine.on_leases([Lease(1, 1, 0, {}), Lease(2, 1, 0, {})], 0.0)
        wire = Wire()
        sending = asyncio.create_task(agent._send(wire))  # type: ignore[arg-type]
        agent._is_acked.set()
        agent._on_said(0, Result(1, 1, "succeeded", ""))
        while not any(isinstance(message, contract.Results) for message in wire.sent):
            await asyncio.sleep(0.01)
        agent._on_said(1, Output(2, 1, "stdout", 0, b"all of it"))
        agent._on_said(1, Result(2, 1, "succeeded", ""))
        await asyncio.sleep(0.05)
        agent._on_said(1, Output(2, 1, "stderr", 0, b"and more"))
        agent.machine.on_ack([(1, 1)])
        agent._is_acked.set()
        await asyncio.sleep(0.05)
        sending.cancel()
        return wire.sent

    about = [
        type(message).__name__
        for message in asyncio.run(scenario())
        if isinstance(message, Output)
        or (isinstance(message, contract.Results) and any(r.task == 2 for r in message.results))
    ]
    assert about == ["Output", "Output", "Results"]
