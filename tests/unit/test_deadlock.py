"""Who waits for whom: the graph, without a program."""

from __future__ import annotations

from parcs.contract.engine import WaitedFor, Waiting
from parcs.engine import deadlock


def waiting(*channels: tuple[str, str], sending: bool = False, **counts: tuple[int, int]) -> Waiting:
    return Waiting(1, [WaitedFor(channel, peer, sending) for channel, peer in channels], counts)


def test_two_that_receive_from_each_other_are_stuck() -> None:
    reports = {"a": waiting(("c", "b"), c=(0, 0)), "b": waiting(("c", "a"), c=(0, 0))}
    assert deadlock.find(reports) == {"a", "b"}
    assert deadlock.cycle(reports, {"a", "b"}) == ["a", "b"]


def test_a_message_under_way_wakes_its_receiver() -> None:
    reports = {"a": waiting(("c", "b"), c=(0, 0)), "b": waiting(("c", "a"), c=(1, 0))}
    assert deadlock.find(reports) == set()


def test_one_that_is_not_blocked_can_wake_everybody() -> None:
    reports = {
        "a": waiting(("ab", "b"), ab=(0, 0)),
        "b": waiting(("bc", "c"), ab=(0, 0), bc=(0, 0)),
        "c": waiting(),
    }
    assert deadlock.find(reports) == set()


def test_who_waits_for_any_of_several_is_stuck_only_if_all_are() -> None:
    a = waiting(("ab", "b"), ("ac", "c"), ab=(0, 0), ac=(0, 0))
    b = waiting(("ab", "a"), ab=(0, 0))
    assert deadlock.find({"a": a, "b": b}) == set()
    c = waiting(("ac", "a"), ac=(0, 0))
    assert deadlock.find({"a": a, "b": b, "c": c}) == {"a", "b", "c"}


def test_one_outside_the_ring_that_waits_for_it_is_stuck_and_not_in_the_cycle() -> None:
    ring = {
        f"p{i}": waiting((f"r{i}", f"p{(i + 1) % 3}"), **{f"r{i}": (0, 0), f"r{(i - 1) % 3}": (0, 0)})
        for i in range(3)
    }
    ring["p0"].counts["out"] = (0, 0)
    ring["a"] = waiting(("out", "p0"), out=(0, 0))
    assert deadlock.find(ring) == {"a", "p0", "p1", "p2"}
    assert deadlock.cycle(ring, deadlock.find(ring)) == ["p0", "p1", "p2"]


def test_two_that_send_to_each_other_and_do_not_read_are_stuck() -> None:
    a = waiting(("c", "b"), sending=True, c=(5, 0))
    b = waiting(("c", "a"), sending=True, c=(5, 0))
    assert deadlock.find({"a": a, "b": b}) == {"a", "b"}
    reader = waiting(("c", "a"), c=(0, 0))
    assert deadlock.find({"a": a, "b": reader}) == set()


def test_a_channel_on_its_way_to_another_program_is_no_deadlock() -> None:
    assert deadlock.find({"a": waiting(("c", "b"), c=(0, 0)), "b": waiting(("d", "a"), d=(0, 0))}) == set()
