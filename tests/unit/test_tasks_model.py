"""The pure parts of tasks: states, demands, archives, and what an executor decides."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parcs import archive, errors
from parcs.contract.executor import Lease, Result
from parcs.executor.machine import MOST_AHEAD, Machine
from parcs.hub.services import access, rates
from parcs.hub.services.access import RIGHTS, Action
from parcs.hub.store.people import Bearer
from parcs.model import task as model
from parcs.model.demand import Demand, Offer, objection, why_none
from parcs.model.task import TRANSITIONS, TaskState


def test_every_state_can_be_reached_and_only_ends_have_no_way_out() -> None:
    reached = {TaskState.QUEUED} | {target for targets in TRANSITIONS.values() for target in targets}
    assert reached == set(TaskState)
    assert set(model.FINAL) == set(TaskState) - {TaskState.QUEUED, TaskState.COMPILING, TaskState.RUNNING}


def test_retries_and_losses_are_counted() -> None:
    assert model.after_attempt(TaskState.FAILED, 1, 0) is TaskState.FAILED
    assert model.after_attempt(TaskState.FAILED, 1, 1) is TaskState.QUEUED
    assert model.after_attempt(TaskState.FAILED, 2, 1) is TaskState.FAILED
    assert model.after_attempt(TaskState.COMPILE_FAILED, 1, 9) is TaskState.COMPILE_FAILED
    assert [model.after_loss(i, 0) for i in (1, 2, 3)] == [TaskState.QUEUED, TaskState.QUEUED, TaskState.LOST]
    assert model.after_loss(4, 4) is TaskState.QUEUED


@pytest.mark.parametrize(
    ("demand", "word"),
    [
        (Demand(isolation="docker"), "docker"),
        (Demand(network=False), "no network"),
        (Demand(memory=8 << 30), "8.0 GiB of memory (it has 4.0 GiB)"),
        (Demand(where={"gpu": "yes"}), "it has no label gpu"),
        (Demand(where={"disk": "ssd"}), "it has disk=hdd"),
        (Demand(memory=1 << 30, where={"disk": "hdd"}), ""),
    ],
)
def test_an_objection_names_the_limit(demand: Demand, word: str) -> None:
    offer = Offer(("process",), {"disk": "hdd"}, 4 << 30)
    said = objection(demand, offer)
    assert word in said
    assert bool(word) == bool(said)
    assert bool(why_none(demand, {"e": offer})) == bool(word)


def _zip(*entries: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries:
            made.writestr(name, data)
    return target.getvalue()


def _tar(kind: bytes, name: str = "x", target: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tarred:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        tarred.addfile(entry)
    return made.getvalue()


def _zip_link() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        made.writestr(entry, "/etc/passwd")
    return target.getvalue()


def _claims_much() -> bytes:
    """A tar that says of a file that it has 10 GB."""
    entry = tarfile.TarInfo("big")
    entry.size = 10 << 30
    return entry.tobuf() + bytes(1024)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: _zip(("../x", b"")), "no path inside"),
        (lambda: _zip(("/etc/x", b"")), "no path inside"),
        (lambda: _zip(("a/../../x", b"")), "no path inside"),
        (lambda: _zip(("c:\\x", b"")), "no path inside"),
        (lambda: _zip(("x", bytes(300 << 20))), "unpacks to more"),
        (lambda: _zip(*((f"f{i}", b"") for i in range(10_001))), "more than 10000 files"),
        (lambda: _zip(("a", b""), ("a/b", b"")), "a file and a folder"),
        (_zip_link, "a link or a device"),
        (lambda: _tar(tarfile.SYMTYPE, target="/etc/passwd"), "a link or a device"),
        (lambda: _tar(tarfile.LNKTYPE, target="/etc/passwd"), "a link or a device"),
        (lambda: _tar(tarfile.CHRTYPE), "a link or a device"),
        (lambda: _tar(tarfile.FIFOTYPE), "a link or a device"),
        (_claims_much, "damaged"),
        (lambda: gzip.compress(b"x" * (1 << 20)), "damaged"),
        (lambda: b"no archive", "damaged"),
        (lambda: b"", "damaged"),
        (lambda: _zip(("x", b"data" * 1000))[:-40], "damaged"),
    ],
)
def test_a_bad_archive_is_refused(make: Callable[[], bytes], why: str) -> None:
    with pytest.raises(errors.ArchiveError, match=why):
        archive.read(make())


@hypothesis.given(st.binary(max_size=300))
def test_no_bytes_are_more_than_a_bad_archive(data: bytes) -> None:
    for whole in (data, _zip(("x", b"x"))[:20] + data):
        try:
            archive.read(whole)
        except errors.ArchiveError:
            continue


def test_archives_of_all_kinds_become_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a.txt").write_text("a")
    (tmp_path / "in" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "in" / "run.sh").chmod(0o755)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:xz") as tarred:
        tarred.add(tmp_path / "in" / "sub" / "a.txt", "./sub/a.txt")
        tarred.add(tmp_path / "in" / "run.sh", "run.sh")
    files = archive.read(made.getvalue())
    assert files == archive.of_folder(tmp_path / "in")
    assert files == archive.of_texts({"sub/a.txt": "a", "run.sh": "#!/bin/sh\n"})
    packed = archive.pack(files)
    assert archive.read(packed) == files
    archive.unpack(packed, tmp_path)
    assert (tmp_path / "run.sh").stat().st_mode & 0o111


def test_an_executors_token_is_good_for_running_tasks_alone() -> None:
    bearer = Bearer(1, "admin", "admin", "executor")
    assert [action for action in Action if access.allows(bearer, action)] == [Action.EXECUTE]
    assert RIGHTS["viewer"] < RIGHTS["member"] < RIGHTS["admin"]


def test_rates_are_kept() -> None:
    bucket = rates.Rates(2.0)
    assert [bucket.take("a") for _ in range(11)] == [True] * 10 + [False]
    assert bucket.take("b")


class ExecutorMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, an attempt is in one place, and slots are never overfull."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(3)
        self.now = 0.0
        self.next = 0
        self.running: dict[tuple[int, int], int] = {}
        self.acked: set[tuple[int, int]] = set()

    def assign(self, assigned) -> None:  # type: ignore[no-untyped-def]
        for slot, lease in assigned:
            assert (lease.task, lease.attempt) not in self.running
            self.running[lease.task, lease.attempt] = slot

    @rule(count=st.integers(1, 9))
    def lease(self, count: int) -> None:
        leases = [Lease(self.next + i, 1, 0, {}) for i in range(count)]
        self.next += count
        self.assign(self.machine.on_leases(leases, self.now))
        self.assign(self.machine.on_leases(leases, self.now))  # told twice

    @precondition(lambda self: self.running)
    @rule(data=st.data(), took=st.sampled_from([0.001, 0.05, 2.0]))
    def end(self, data: st.DataObject, took: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        slot = self.running.pop(key)
        self.assign(self.machine.on_result(slot, Result(*key, TaskState.SUCCEEDED, "", took_s=took)))

    @rule()
    def ack(self) -> None:
        keys = [(r.task, r.attempt) for r in self.machine.results()]
        self.machine.on_ack(keys)
        self.acked |= set(keys)
        assert not self.acked & set(self.machine.held())

    @rule(slot=st.integers(0, 2))
    def lose_slot(self, slot: int) -> None:
        for key in self.machine.on_slot_lost(slot):
            del self.running[key]
            self.machine.finish(Result(*key, TaskState.FAILED, "lost"))
        self.assign(self.machine.on_leases([], self.now))

    @rule(wait=st.floats(0, 1))
    def give_back(self, wait: float) -> None:
        self.now += wait
        assert not set(self.machine.stale(self.now)) & set(self.running)

    @rule(is_draining=st.booleans())
    def drain(self, is_draining: bool) -> None:
        self.machine.is_draining = is_draining

    @invariant()
    def holds(self) -> None:
        self.machine.check_invariants()
        assert 0 <= self.machine.more() <= self.machine.slots * (1 + MOST_AHEAD)
        assert not (self.machine.is_draining and self.machine.more())
        assert self.machine.busy == len(set(self.running.values()))


TestExecutorMachine = ExecutorMachine.TestCase
