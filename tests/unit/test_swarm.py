"""The Swarm engine's pure parts: what is asked of Swarm, where points fit, tokens, jobs, names."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest

from parcs import errors
from parcs.contract.engine import Traffic, parse_usage
from parcs.dockerapi import images, tasks
from parcs.dockerapi.nodes import Node
from parcs.dockerapi.tasks import Task
from parcs.engine.warm import WarmPool
from parcs.image import description
from parcs.image.context import Context
from parcs.lab import base_image
from parcs.model.resources import Needs, Placement, Resources, merge
from parcs.module import manifest
from parcs.program import _own_name
from parcs.swarm import keys, names, placement, spec
from parcs.swarm.flows import Flows
from parcs.swarm.job import Group, Job

ANYWHERE = Placement()


def node(name: str, **changes: object) -> Node:
    base = Node(
        id=f"id-{name}", name=name, role="worker", state="ready", availability="active", address="10.0.0.1",
        os="linux", architecture="amd64", cpus=4.0, memory=8 << 30, gpus=1, labels={}, engine_labels={},
        is_leader=False,
    )  # fmt: skip
    return base._replace(**changes)  # type: ignore[arg-type]


def task(on: str, cpus: float = 0.0, state: str = "running") -> Task:
    return Task(
        id="t", service="s", slot=1, node=f"id-{on}", state=state, desired="running", message="", error="",
        exit_code=0, created_at=0.0, changed_at=0.0, address="", labels={}, networks=1, cpus=cpus, memory=0,
        gpus=0, image="",
    )  # fmt: skip


def fits(
    nodes: list[Node],
    needs: Resources,
    where: Placement = ANYWHERE,
    count: int = 1,
    tasks_: tuple[Task, ...] = (),
) -> None:
    placement.check(placement.survey(nodes, tasks_, where, ["linux/amd64"]), needs, where, count, "m")


def test_points_fit_where_there_is_room() -> None:
    both = [node("a"), node("b")]
    fits(both, Resources(cpus=4), count=2)
    fits(both, Resources(gpus=1), count=2)
    fits(both, Resources(), Placement(per_node=3), count=6)
    with pytest.raises(
        errors.NoRoomError, match=r"3 points cannot be placed \(needs 4 CPUs each\).*room for 2"
    ):
        fits(both, Resources(cpus=4), count=3)
    with pytest.raises(errors.NoRoomError, match=r"a 1 CPUs, 8,192 MiB"):
        fits(both, Resources(cpus=4), count=2, tasks_=(task("a", cpus=3.0),))
    fits(both, Resources(cpus=4), count=2, tasks_=(task("a", cpus=3.0, state="complete"),))


def test_machines_that_cannot_be_used_say_why() -> None:
    machines = [
        node("down", state="down"),
        node("drained", availability="drain"),
        node("arm", architecture="arm64"),
        node("plain"),
    ]
    with pytest.raises(errors.NoRoomError) as caught:
        fits(machines, Resources(), Placement(("node.labels.disk==ssd",)))
    text = str(caught.value)
    for part in ("down down", "drained drain", "arm is linux/arm64, the image is for linux/amd64"):
        assert part in text
    assert "plain is not node.labels.disk==ssd" in text


def test_constraints_are_read_as_swarm_reads_them() -> None:
    machine = node("n1", labels={"disk": "ssd"}, engine_labels={"rack": "7"}, role="manager")
    for holds in (
        "node.hostname==n1",
        "node.role != worker",
        "node.labels.disk==SSD",
        "engine.labels.rack==7",
    ):
        assert placement.satisfies(machine, holds)
    assert not placement.satisfies(machine, "node.platform.arch==arm64")
    for wrong in ("fast", "node.color==red"):
        with pytest.raises(errors.SwarmError):
            placement.satisfies(machine, wrong)


def test_addresses_run_out_in_words() -> None:
    placement.check_addresses(13, 3, 10, "parcs")
    with pytest.raises(errors.NoRoomError, match="has 10 of its 13 addresses left, and 11"):
        placement.check_addresses(13, 3, 11, "parcs")


def test_a_service_is_never_restarted_and_has_no_virtual_address() -> None:
    launch = spec.Launch(
        "job-m-1", "r/m@sha256:x", ("python3", "s.py"), 5, {"A": "b"}, {names.JOB: "1"},
        Resources(cpus=1.5, memory=1 << 20, gpus=2), Placement(("node.role==worker",), 2),
    )  # fmt: skip
    body = spec.service(launch, "parcs")
    template = body["TaskTemplate"]
    assert template["RestartPolicy"] == {"Condition": "none"}
    assert body["EndpointSpec"] == {"Mode": "dnsrr"}
    assert body["Mode"] == {"Replicated": {"Replicas": 5}}
    assert template["ContainerSpec"]["Init"] is True
    assert template["Placement"] == {"Constraints": ["node.role==worker"], "MaxReplicas": 2}
    assert template["Resources"]["Limits"] == {"NanoCPUs": 1_500_000_000, "MemoryBytes": 1 << 20}
    assert template["Resources"]["Reservations"]["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}
    ]
    assert body["Labels"] == template["ContainerSpec"]["Labels"] == {names.JOB: "1"}


def test_a_points_name_follows_from_its_slot() -> None:
    environment = {**spec.group_environment("factor", 17, "tcp://h:1"), "PARCS_SLOT": "3"}
    assert _own_name(environment) == "factor-19"
    assert _own_name({"PARCS_POINT": "echo-4"}) == "echo-4"
    assert _own_name({}) == "runner"


def test_tokens_differ_by_job_and_key() -> None:
    tokens = {keys.job_token(key, space) for key in (b"a", b"b") for space in (b"1", b"2")}
    tokens |= {keys.operator_token("SWMTKN-1"), keys.operator_token("SWMTKN-2")}
    assert len(tokens) == 6
    assert keys.job_token(b"a", b"1") == keys.job_token(b"a", b"1")


def test_a_job_keeps_its_lines_and_finds_its_points() -> None:
    job = Job("factor-1", "factor", names.OWNER_OUTSIDE, "00" * 8)
    for i in range(5):
        job.add_line("factor-1", "n1", 1, f"line {i}")
    assert [line.text for line in job.lines_after(3)] == ["line 3", "line 4"]
    assert job.lines_after(5) == []
    assert job.last_lines("factor-1", 2) == ["line 3", "line 4"]
    group = Group("k", "service", "factor", "batch", "runner", ["factor-1", "factor-2"], 2)
    job.groups["k"] = group
    found = job.find("factor-2")
    assert found is not None
    assert found[1] is group.members[2]
    assert job.find("nobody") is None


def test_a_warm_pool_knows_what_is_missing() -> None:
    pool = WarmPool("m")
    pool.target = 2
    assert pool.missing == 2
    filled = pool.when_filled()
    pool.coming = 2
    assert pool.missing == 0
    pool.add("first")  # type: ignore[arg-type]
    assert not filled.done()
    pool.add("second")  # type: ignore[arg-type]
    assert filled.result() == {"waiting": 2}
    assert pool.take() == "first"
    assert not pool.discard("first")  # type: ignore[arg-type]
    waiting = pool.when_filled()
    pool.fail(errors.EngineError("no room"))
    with pytest.raises(errors.EngineError, match="no room"):
        waiting.result()


def test_what_a_program_asks_goes_over_what_the_module_says() -> None:
    module = Needs(Resources(cpus=1, memory=5), Placement(("a==b",), 2))
    asked = Needs(Resources(cpus=2), Placement((), 1))
    assert merge(module, asked) == Needs(Resources(2, 5, 0), Placement(("a==b",), 1))


def test_an_image_says_what_module_it_is(tmp_path: Path) -> None:
    (tmp_path / "parcs.toml").write_text(
        'name = "m"\ncommand = "python s.py"\nrunner = "python r.py"\n[resources]\ncpus = 2\n[parameters]\nN = 3\n'
    )
    about = description.read(description.labels_of(manifest.load(tmp_path)))
    assert (about.name, about.protocol, about.language) == ("m", 2, "python")
    assert about.command == ("python3", "s.py")
    assert about.needs.resources.cpus == 2
    assert about.parameters["N"]["default"] == "3"
    assert description.read({}).protocol == description.read({description.LABEL: "nonsense"}).protocol == 1


def test_a_context_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    for name in ("a.py", "b.txt", "secret.key", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# keys stay here\n*.key\n")

    def digest() -> tuple[str, str]:
        context = Context()
        context.add_folder("module", tmp_path)
        return context.digest(), hashlib.sha256(context.tar().read()).hexdigest()

    first = digest()
    (tmp_path / "secret.key").write_text("another")
    (tmp_path / "__pycache__" / "a.pyc").write_text("another")
    assert digest() == first
    (tmp_path / "a.py").write_text("changed")
    assert digest() != first


def test_references_are_taken_apart() -> None:
    assert images.repository("h:5000/a/b:tag") == images.repository("h:5000/a/b@sha256:1") == "h:5000/a/b"
    assert images.registry_of("h:5000/a") == "h:5000"
    assert images.registry_of("lionell/parcs") == images.registry_of("python") == ""
    assert images.Found("h/a:1", "sha256:2", []).pinned == "h/a@sha256:2"


def test_dockers_times_and_gpus_are_read() -> None:
    assert tasks.parse_time("2026-11-21T07:25:34.601012899Z") == pytest.approx(1795245934.601012)
    assert tasks.parse_time("0001-01-01T00:00:00Z") == tasks.parse_time("") == 0.0
    named = {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "uuid"}}
    assert tasks.generic_resources([named, {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]) == 3


def test_the_machines_own_archive_is_found() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sources.list").write_text(
            "# nothing\ndeb [signed-by=/x] http://mirror/debian trixie main\n"
        )
        assert base_image.archive(place) == ("http://mirror/debian", "trixie")
        (place / "sources.list").write_text("")
        (place / "sources.list.d").mkdir()
        (place / "sources.list.d" / "d.sources").write_text(
            "Types: deb\nURIs: http://m/d\nSuites: bookworm b-updates\n"
        )
        assert base_image.archive(place) == ("http://m/d", "bookworm")


def test_a_channel_is_put_together_of_what_its_two_ends_tell() -> None:
    flows = Flows()
    flows.take("runner", Traffic("t1", "factor-1", 5, 1, 500, 10, ""))
    flows.take("factor-1", Traffic("t1", "runner", 2, 4, 20, 400, "recv"))  # one is under way
    flows.take("runner", Traffic("t2", "factor-2", 1, 0, 9000, 0, "send"))  # an original: it tells nothing
    flows.take("factor-2", Traffic("t3", "factor-1", 0, 0, 0, 0, "recv"))
    rows = flows.rows(lambda name: name != "factor-2")
    assert [(row.channel, row.one, row.other) for row in rows] == [
        ("t2", "factor-2", "runner"), ("t1", "factor-1", "runner"), ("t3", "factor-1", "factor-2"),
    ]  # fmt: skip
    assert (rows[0].sent, rows[0].received, rows[0].bytes_received) == (0, 1, 9000)
    assert (rows[1].sent, rows[1].received, rows[1].bytes_sent, rows[1].bytes_received) == (2, 5, 20, 500)
    assert [row.waits for row in rows] == [{"runner": "send"}, {"factor-1": "recv"}, {}]  # that one has ended


def test_channels_are_forgotten_once_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parcs.swarm.flows._MOST", 3)
    flows = Flows()
    for i in range(5):
        flows.take("runner", Traffic(f"t{i}", "p", 1, 1, 1, 1, ""))
    assert sorted(row.channel for row in flows.rows(lambda _: True)) == ["t2", "t3", "t4"]


@pytest.mark.parametrize(
    "channels", [[["t", "p", 1]], ["text"], [["t", "p", "x", 1, 1, 1, ""]], 7, [[[], {}]]]
)
def test_usage_that_makes_no_sense_is_refused(channels: object) -> None:
    with pytest.raises(errors.EngineError, match="usage"):
        parse_usage({"cpu_s": 1.0, "memory": 1, "channels": channels})
    odd = parse_usage({"channels": [["t", "p", 1, 2, 3, 4, "sleep"]]})
    assert odd.channels == [Traffic("t", "p", 1, 2, 3, 4, "")]
