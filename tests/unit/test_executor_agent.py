"""What an executor keeps of a task's output, over connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from parcs.contract import executor as contract
from parcs.contract.executor import Lease, Output, Result, Spec, Step
from parcs.executor.agent import Agent
from parcs.executor.slots import SlotProcess


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


def test_a_slot_that_is_not_there_yet_loses_nothing_and_its_death_is_noticed(tmp_path: Path) -> None:
    """Also if something is written to it just when it dies."""
    spec = Spec(
        Step(["true"], 0.0),
        None,
        "",
        "",
        {},
        [],
        "process",
        "",
        0.0,
        0,
        64,
        1 << 20,
        1 << 20,
        None,
        None,
        is_array=False,
    )
    (tmp_path / "archive").mkdir()

    async def scenario() -> None:
        said: list[object] = []
        died = asyncio.Event()
        slot = SlotProcess(0, tmp_path, lambda _, each: said.append(each), lambda _: died.set())
        slot.run(Lease(1, 1, 0, {}), spec, "")
        await slot.start()
        while not any(isinstance(each, Result) for each in said):
            await asyncio.sleep(0.01)
        assert slot._process is not None
        slot._process.kill()
        slot._process.wait()
        for _ in range(3):  # before anybody has looked
            slot.cancel((1, 1))
        await asyncio.wait_for(died.wait(), 5)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_cancel_for_what_never_arrived_is_given_back(tmp_path: Path) -> None:
    async def scenario() -> list[object]:
        agent = Agent(["http://x"], "t", 1, root=tmp_path)
        agent.machine.on_leases([Lease(1, 1, 0, {}), Lease(2, 1, 0, {})], 0.0)
        wire = Hub([contract.Cancel([(2, 1), (7, 3)])])
        await agent._receive(wire)  # type: ignore[arg-type]
        return wire.sent

    assert asyncio.run(scenario()) == [contract.Returned([(7, 3)])]


class Hub(Wire):
    """A connection that says something, and ends."""

    def __init__(self, says: list[contract.FromHub]) -> None:
        super().__init__()
        self._says = says

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for each in self._says:
            yield contract.encode(each)
