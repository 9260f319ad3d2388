"""What a person does with tasks: by Python, by the command line, by HTTP."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import httpx2
import pytest

from parcs import errors
from parcs.client import AsyncHub, Hub, TaskExecutor
from parcs.contract import tasks as contract
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess, ended, processes_with

MAIN = """#include <iostream>
int main() { char line[256]; std::cin.getline(line, 256); std::cout << "From Khala: " << line << std::endl; }
"""
COMPILE = "g++ -g -Wall -o main main.cpp"


def test_the_cpp_example_by_python(hub: Hub) -> None:
    task = hub.submit(
        ["./main"], {"main.cpp": MAIN}, compile=contract.Compile(COMPILE, 10), stdin="Hello World!", timeout_s=1,
        expected="From Khala: Hello World!",
    )  # fmt: skip
    detail = hub.wait(task.first, 30)
    assert (detail.task.state, detail.task.exit_code, detail.task.matched) == ("succeeded", 0, True)
    assert hub.output(task.first) == "From Khala: Hello World!\n"
    assert detail.attempts[0].compile_exit_code == 0


def test_the_cpp_example_by_the_command_line(shared: HubProcess, tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(MAIN)
    said = shared.parcs(
        "submit", "--compile", COMPILE, "--compile-timeout", "10", "--file", "main.cpp", "--stdin", "Hello World!",
        "--timeout", "1", "--wait", "--", "./main", cwd=tmp_path,
    )  # fmt: skip
    assert said == "From Khala: Hello World!\n"


def test_the_cpp_example_by_http(shared: HubProcess) -> None:
    headers = {"Authorization": f"Bearer {shared.token}"}
    body = {
        "command": ["./main"], "files": {"main.cpp": MAIN}, "stdin": "Hello World!", "timeout_s": 1,
        "compile": {"command": COMPILE, "timeout_s": 10},
    }  # fmt: skip
    api = f"{shared.url}{contract.API}"
    made = httpx2.post(f"{api}/tasks", json=body, headers=headers)
    assert made.status_code == 201, made.text
    number = made.json()["first"]
    found = httpx2.get(f"{api}/tasks/{number}", params={"wait_s": 30}, headers=headers, timeout=40).json()
    assert found["task"]["state"] == "succeeded"
    said = httpx2.get(f"{api}/tasks/{number}/output/stdout", headers=headers)
    assert said.text == "From Khala: Hello World!\n"


def test_one_call_runs_a_task(shared: HubProcess, hub: Hub) -> None:
    detail = hub.run("cat; exit 3", stdin="given")
    assert (detail.task.state, detail.task.exit_code) == ("failed", 3)
    assert detail.attempts[0].output["stdout"] == "given"

    async def main() -> str:
        async with AsyncHub(shared.url, shared.token) as other:
            return (await other.run(["true"])).task.state

    assert asyncio.run(main()) == "succeeded"


def test_what_does_not_compile_says_so(hub: Hub) -> None:
    detail = ended(hub, "./main", files={"main.cpp": "int main( {"}, compile=COMPILE)
    assert detail.task.state == "compile_failed"
    assert "expected" in detail.attempts[0].output["compile_stderr"]
    assert "exit status 1" in hub.explain(detail.task.id)
    assert "main.cpp" in hub.explain(detail.task.id)


@pytest.mark.parametrize(
    ("words", "more", "state", "why"),
    [
        (["sh", "-c", "echo oops >&2; exit 3"], {}, "failed", "exit status 3: oops"),
        (["sh", "-c", "echo one; exit 4"], {}, "failed", "exit status 4; the last that it wrote: one"),
        (["sh", "-c", "kill -SEGV $$"], {}, "failed", "signal 11 (SIGSEGV)"),
        (["sleep", "60"], {"timeout_s": 0.3}, "timed_out", "took longer than 0.3 s"),
        (
            ["sh", "-c", "while :; do :; done"],
            {"limits": {"cpu_s": 0.5}},
            "failed",
            "more than 0.5 s of CPU time",
        ),
        (
            ["python3", "-c", "x = bytearray(400 << 20)"],
            {"limits": {"memory": 64 << 20}},
            "failed",
            "out of memory",
        ),
        (["yes"], {}, "failed", "wrote more than 8.0 MiB of output"),
        (["no-such-program"], {}, "failed", "no such program"),
        (
            ["sh", "-c", "head -c 100000000 /dev/zero > big"],
            {"outputs": ["big"]},
            "failed",
            "output files have more",
        ),
        (
            ["true"],
            {"compile": contract.Compile("sleep 60", 0.3)},
            "timed_out",
            "compiling: it took longer than 0.3 s",
        ),
    ],
)
def test_every_end_has_its_reason(
    hub: Hub, words: list[str], more: dict[str, object], state: str, why: str
) -> None:
    detail = ended(hub, *words, **more)
    assert detail.task.state == state
    assert why in hub.explain(detail.task.id)


def test_nothing_outlives_a_task(hub: Hub) -> None:
    mark = f"3600.{time.time_ns() % 10**9}"
    script = f"(setsid sleep {mark} &) ; nohup sleep {mark} & trap '' TERM; sleep {mark} & echo started"
    assert ended(hub, "sh", "-c", script).task.state == "succeeded"
    assert processes_with(mark) == []


def test_a_fork_bomb_ends_and_others_go_on(hub: Hub) -> None:
    bomb = hub.submit(["bash", "-c", "b() { b | b & }; b; sleep 5"], limits={"processes": 40}, timeout_s=2)
    assert ended(hub, "echo", "well").task.state == "succeeded"
    assert hub.wait(bomb.first, 30).task.state in ("failed", "timed_out", "succeeded")
    assert ended(hub, "echo", "well").task.state == "succeeded"


def test_a_running_task_is_dead_within_two_seconds_of_its_cancel(hub: Hub) -> None:
    mark = f"3601.{time.time_ns() % 10**9}"
    number = hub.submit(["sh", "-c", f"trap '' TERM; setsid sleep {mark} & sleep {mark}; sleep {mark}"]).first
    wait_until(lambda: len(processes_with(mark)) == 2, "it runs")
    begin = time.monotonic()
    assert hub.cancel(number) == 1
    wait_until(lambda: not processes_with(mark), "it is dead", 3)
    assert time.monotonic() - begin < 2.0
    detail = hub.wait(number, 10)
    assert detail.task.state == "cancelled"
    assert hub.cancel(number) == 0


def test_a_queued_task_is_cancelled_at_once(hub: Hub) -> None:
    number = hub.submit("true", where={"no": "such"}).first
    assert "label no=such" in hub.explain(number)
    assert hub.cancel(number) == 1
    assert hub.task(number).task.state == "cancelled"


def test_isolation_shuts_the_network_and_the_system(hub: Hub) -> None:
    script = "touch /usr/x || echo read-only; ls /task; cat /etc/shadow || echo hidden; ps aux | wc -l; true"
    detail = ended(hub, "sh", "-c", script, files={"mine": "x"}, limits={"network": False})
    said = hub.output(detail.task.id)
    assert detail.task.state == "succeeded"
    assert said.splitlines()[:3] == ["read-only", "mine", "hidden"]
    look = (
        f"import socket; socket.create_connection(('127.0.0.1', {hub.place.urls[0].rpartition(':')[2]}), 2)"
    )
    assert ended(hub, "python3", "-c", look).task.state == "succeeded"
    assert ended(hub, "python3", "-c", look, isolation="bubblewrap").task.state == "failed"


def test_the_executors_environment_stays_outside(hub: Hub) -> None:
    detail = ended(hub, "env", environment={"MINE": "1"})
    names = {line.partition("=")[0] for line in hub.output(detail.task.id).splitlines()}
    assert "MINE" in names
    assert not {"PARCS_HOME", "PARCS_EXECUTOR_TOKEN"} & names


def test_files_come_back(shared: HubProcess, hub: Hub, tmp_path: Path) -> None:
    script = "mkdir -p out; printf 'a\\0b' > out/data.bin; echo hi; ln -s /etc/passwd out/link.bin"
    number = ended(hub, "sh", "-c", script, outputs=["out/*.bin"]).task.id
    assert hub.data(number, "file/out/data.bin") == b"a\0b"
    shared.parcs("get", str(number), "-o", str(tmp_path))
    assert (tmp_path / "out" / "data.bin").read_bytes() == b"a\0b"
    assert not (tmp_path / "out" / "link.bin").exists()
    assert (tmp_path / "stdout.txt").read_text() == "hi\n"
    headers = {"Authorization": f"Bearer {shared.token}"}
    zipped = httpx2.get(f"{shared.url}{contract.API}/tasks/{number}/output.zip", headers=headers).content
    assert sorted(zipfile.ZipFile(BytesIO(zipped)).namelist()) == ["out/data.bin", "stdout.txt"]


def test_output_that_is_no_text_is_kept_as_it_is(hub: Hub) -> None:
    number = ended(hub, "sh", "-c", "printf '\\377\\376\\000x'").task.id
    assert hub.data(number) == b"\xff\xfe\0x"
    assert hub.task(number).attempts[0].output["stdout"].endswith("x")


def test_an_array_has_a_task_for_each_line(shared: HubProcess, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "values.csv").write_text("who,n\nann,1\nben,2\nzoë,3\n")
    said = shared.parcs(
        "submit", "--array", str(tmp_path / "values.csv"), "--", "sh", "-c", "echo {who} $n $PARCS_TASK"
    )
    first = int(said.partition("..")[0])
    shared.parcs("wait", "--array", str(first))
    found = sorted(hub.tasks(array=first), key=lambda task: task.id)
    shown = shared.parcs("tasks", "--array", str(first))
    assert all(f"n={task.parameters['n']}" in shown for task in found)
    assert [task.parameters["who"] for task in found] == ["ann", "ben", "zoë"]
    assert [hub.output(task.id) for task in found] == [
        f"ann 1 {first}\n", f"ben 2 {first + 1}\n", f"zoë 3 {first + 2}\n"
    ]  # fmt: skip


def test_a_task_waits_for_those_that_it_needs(hub: Hub) -> None:
    first = hub.submit("sleep 0.5; exit 0").first
    second = hub.submit("true", after=[first]).first
    assert hub.explain(second) == f"it waits for task {first}"
    assert hub.wait(second, 20).task.state == "succeeded"
    bad = hub.submit("sleep 0.3; exit 1").first
    third = hub.submit("true", after=[bad]).first
    fourth = hub.submit("true", after=[third]).first
    assert hub.wait(fourth, 20).task.state == "cancelled"
    assert hub.task(third).task.why == f"it needs task {bad}, which ended as failed"
    late = hub.submit("true", after=[bad]).first
    assert hub.task(late).task.state == "cancelled"


def test_a_failing_task_is_tried_again(hub: Hub) -> None:
    detail = ended(hub, "sh", "-c", "test $PARCS_ATTEMPT = 3", retries=5)
    assert detail.task.state == "succeeded"
    assert [attempt.state for attempt in detail.attempts] == ["failed", "failed", "succeeded"]
    assert [a.state for a in ended(hub, "false", retries=1).attempts] == ["failed", "failed"]


def test_search_finds_and_pages(hub: Hub) -> None:
    label = {"set": f"s{time.time_ns()}"}
    submitted = hub.submit_all(
        [contract.TaskRequest(f"echo needle {i}", name=f"n{i}", labels=label) for i in range(25)]
    )
    numbers = list(range(submitted.first, submitted.first + 25))
    page = hub.page(contract.Query(labels=label), limit=10)
    assert [task.id for task in page.tasks] == numbers[:-11:-1]
    rest = hub.page(contract.Query(labels=label), limit=20, cursor=page.next)
    assert ([task.id for task in rest.tasks], rest.next) == (numbers[14::-1], None)
    assert [task.id for task in hub.tasks(labels=label, order="asc")] == numbers
    assert [task.id for task in hub.tasks(name="n7", labels=label)] == [numbers[7]]
    assert len(list(hub.tasks(text="NEEDLE 1", labels=label))) == 11
    assert list(hub.tasks(labels=label, created_from=time.time() + 60)) == []
    wait_until(lambda: hub.counts(labels=label)["succeeded"] == 25, "they end", 20)
    assert list(hub.tasks(labels=label, states=["failed"])) == []
    assert hub.delete(labels=label) == 25
    assert list(hub.tasks(labels=label)) == []


def test_what_is_asked_twice_with_one_key_is_done_once(
    make_hub: Callable[..., HubProcess], database: str
) -> None:
    hub = make_hub(database)
    url = f"{hub.url}{contract.API}"

    def post(path: str, key: str, body: object = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {hub.token}", "Idempotency-Key": key}
        return httpx2.post(f"{url}{path}", json=body, headers=headers, timeout=20)

    with (
        concurrent.futures.ThreadPoolExecutor() as pool
    ):  # at the same time, as after a connection that broke
        asked = list(pool.map(lambda _: post("/tasks", "a", {"command": "true"}).json()["first"], range(8)))
    assert len(set(asked)) == 1
    assert post("/tasks", "a", {"command": "false"}).status_code == 409
    again = {post(f"/tasks/{asked[0]}/rerun", "b").json()["first"] for _ in range(2)}
    assert len(again) == 1
    many = [post("/tasks/bulk", "c", [{"command": "true"}] * 3).json() for _ in range(2)]
    assert many[0] == many[1]
    with hub.client() as client:
        assert sum(client.counts().values()) == 5
    users = [post("/users", "d", {"name": "somebody"}) for _ in range(2)]
    assert [user.status_code for user in users] == [201, 201]
    assert post("/users", "e", {"name": "somebody"}).status_code == 409
    first, second = (post("/tokens", "f", {"name": "one"}).json() for _ in range(2))
    assert first["token"] == second["token"]
    codes = [
        httpx2.get(f"{url}/me", headers={"Authorization": f"Bearer {made['secret']}"}).status_code
        for made in (first, second)
    ]
    assert codes == [401, 200], "the secret that nobody may have read is good for nothing"


def test_output_is_live(shared: HubProcess, hub: Hub) -> None:
    number = hub.submit("for i in 1 2 3; do echo line $i; sleep 0.4; done").first
    seen: list[tuple[str, float]] = []
    for piece in hub.follow(number):
        if piece.stream == "stdout":
            seen += [(line, time.monotonic()) for line in piece.text.splitlines()]
    assert [line for line, _ in seen] == ["line 1", "line 2", "line 3"]
    assert seen[-1][1] - seen[0][1] > 0.5
    assert shared.parcs("logs", "-f", str(number)) == "line 1\nline 2\nline 3\n"


def test_rerun_and_explain_and_task_by_the_command_line(shared: HubProcess, hub: Hub) -> None:
    number = ended(hub, "sh", "-c", "echo $X", environment={"X": "again"}).task.id
    again = int(shared.parcs("rerun", str(number)))
    assert hub.wait(again, 20).task.state == "succeeded"
    assert hub.output(again) == "again\n"
    assert "exit status 0" in shared.parcs("explain", str(again))
    assert "attempt 1" in shared.parcs("task", str(again))
    assert json.loads(shared.parcs("tasks", "--json", "-n", "1"))[0]["id"] >= again
    assert "succeeded" in shared.parcs("tasks")
    shared.parcs("task", "999999", code=2)
    assert "there is no task 999999" in shared.stderr
    shared.parcs("submit", "--wait", "--", "sh", "-c", "exit 7", code=7)
    assert "exit status 7" in shared.stderr


def test_futures(shared: HubProcess) -> None:
    with shared.client() as client, TaskExecutor(client) as executor:
        futures = [executor.submit("echo", i) for i in range(20)]
        bad = executor.submit("exit 4")
        assert sorted(int(f.result(30)) for f in concurrent.futures.as_completed(futures, 30)) == list(
            range(20)
        )
        with pytest.raises(errors.TaskFailedError, match="exit status 4"):
            bad.result(20)


def test_asyncio(shared: HubProcess) -> None:
    async def main() -> str:
        async with AsyncHub(shared.url, shared.token) as hub:
            numbers = [(await hub.submit(f"echo {i}")).first for i in range(3)]
            await asyncio.gather(*(hub.wait(number) for number in numbers))
            return "".join([await hub.output(number) for number in numbers])

    assert asyncio.run(main()) == "0\n1\n2\n"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"command": ""}, "command"),
        ({"command": "x", "timeout_s": -1}, "timeout_s"),
        ({"command": "x", "limits": {"memory": 5}}, "limits.memory"),
        ({"command": "x", "files": {"../x": ""}}, "files"),
        ({"command": "x", "files": {"a": "", "a/b": ""}}, "files"),
        ({"command": "x", "outputs": ["/etc/*"]}, "outputs"),
        ({"command": "x", "after": [10**9]}, "after"),
        ({"command": "x", "isolation": "magic"}, "isolation"),
        ({"command": "x", "archive": "0" * 64}, "archive"),
        ({"command": "x", "nonsense": 1}, "nonsense"),
        ({"command": "x", "array": [{"a": "1"}, {"b": "1"}]}, "array"),
        ({"command": "x\0"}, "command"),
        ({"command": "x", "name": "\ud800"}, "name"),
    ],
)
def test_nonsense_is_refused_with_its_field(
    shared: HubProcess, request_: dict[str, object], field: str
) -> None:
    headers = {"Authorization": f"Bearer {shared.token}", "Content-Type": "application/json"}
    answer = httpx2.post(f"{shared.url}{contract.API}/tasks", content=json.dumps(request_), headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("field", "") == field


def test_the_programs_of_the_document_run(shared: HubProcess) -> None:
    text = (EXAMPLES.parent / "docs" / "tasks.md").read_text()
    said = []
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=shared.environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        said.append(done.stdout)
    assert said[0] == "succeeded From Khala: Hello World!\n\n"
    assert said[1].startswith("succeeded 0\nsucceeded 1\nsucceeded 4\n")


EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_module_runs_as_a_job_of_the_hub(shared: HubProcess, hub: Hub) -> None:
    words = ("run", "factor", "-e", "N=12345", "-e", "P=2", "--hub", "own")
    found = json.loads(shared.parcs(*words, "--json", cwd=EXAMPLES))
    assert found["state"] == "succeeded"
    assert found["result"] == [i for i in range(2, 12345) if 12345 % i == 0]
    assert shared.parcs(*words, cwd=EXAMPLES).startswith("result: [3, 5, 15")
    number = int(shared.parcs(*words, "--detach", cwd=EXAMPLES))
    assert hub.wait(number, 30).task.labels == {"job": "factor"}


SLEEPY = """
import time
from parcs.server import Service, serve


class Sleepy(Service):
    def run(self):
        time.sleep(600)


serve(Sleepy())
"""
STARTER = """
from parcs.server import Runner, serve


class Main(Runner):
    def run(self):
        point = self.engine.run("sleepy")
        print("up", flush=True)
        point.recv()


serve(Main())
"""


def test_a_cancelled_job_takes_its_points_along(shared: HubProcess, hub: Hub, tmp_path: Path) -> None:
    module = tmp_path / "sleepy"
    module.mkdir()
    # Names that no other test's programs have: those of the Swarm's tests run meanwhile, and are processes here.
    commands = 'command = "python sleepy_point.py"\nrunner = "python sleepy_runner.py"\n'
    (module / "parcs.toml").write_text(f'name = "sleepy"\n{commands}')
    (module / "sleepy_point.py").write_text(SLEEPY)
    (module / "sleepy_runner.py").write_text(STARTER)
    number = int(shared.parcs("run", "./sleepy", "--hub", "own", "--detach", cwd=tmp_path))
    wait_until(lambda: "up" in hub.output(number, "stderr"), "its point is up", 20)
    assert len(processes_with("sleepy_point.py")) == 1
    hub.cancel(number)
    theirs = ("sleepy_point.py", "sleepy_runner.py")
    wait_until(lambda: not any(map(processes_with, theirs)), "all of it is dead", 3)
