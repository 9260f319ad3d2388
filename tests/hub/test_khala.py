"""Khala's HTTP interface, call by call, as its clients use it: without a token."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import wait_until
from tests.hub.conftest import HubProcess

MAIN = (
    "#include <iostream>\r\nint main() { char l[99]; std::cin.getline(l, 99); "
    'std::cout << "From Khala: " << l << std::endl; }\r\n'
)
FORM = {
    "user": "7", "compile_source_name": "main.cpp", "compile_source_str": MAIN,
    "compile_command": "g++ -g -Wall -o main main.cpp", "compile_timeout": "10", "execute_input": "Hello World!",
    "execute_data_name": "d.txt", "execute_data_str": "data", "execute_command": "./main; cat data/d.txt",
    "execute_timeout": "1", "execute_standard": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def khala(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    hub = HubProcess(tmp_path_factory.mktemp("khala"), PARCS_HUB_KHALA_USER="admin")
    hub.start()
    hub.executor()
    with httpx2.Client(base_url=hub.url, timeout=20) as client:
        yield client
    hub.stop()


def add(khala: httpx2.Client, **other: str) -> str:
    answer = khala.post("/api/task", data={**FORM, **other}).json()
    assert answer["result"] == 0
    assert len(answer["id"]) == 24
    return str(answer["id"])


def done(khala: httpx2.Client, id_: str) -> dict[str, object]:
    def task() -> dict[str, object] | None:
        found: dict[str, object] = khala.get("/api/task", params={"id": id_}).json()["task"]
        return found if found["done"] else None

    found = wait_until(task, "it is done", 20)
    assert isinstance(found, dict)
    return found


def test_it_works(khala: httpx2.Client) -> None:
    assert khala.get("/api/test").text == "Khala gateway server is working."


def test_a_task_is_compiled_and_run(khala: httpx2.Client) -> None:
    id_ = add(khala)
    task = done(khala, id_)
    assert (task["status"], task["user"]) == (5, 7)
    assert task["result"]["execute_output"] == "From Khala: Hello World!\ndata"  # type: ignore[index]
    for name, text in (
        ("execute_output", "From Khala: Hello World!\ndata"),
        ("execute_input", "Hello World!"),
    ):
        answer = khala.get("/api/task", params={"id": id_, "file": name})
        assert answer.text == text
        assert f"{id_}_{name}.txt" in answer.headers["content-disposition"]
    source = khala.get("/api/task", params={"id": id_, "file": "compile_source"})
    assert f"{id_}_compile_source.zip" in source.headers["content-disposition"]
    assert zipfile.ZipFile(io.BytesIO(source.content)).read("main.cpp").decode() == MAIN.replace("\r\n", "\n")
    data = khala.get("/api/task", params={"id": id_, "file": "execute_data"}).content
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["d.txt"]
    assert khala.get("/api/task", params={"id": id_, "file": "execute_error"}).status_code == 404


@pytest.mark.parametrize(
    ("other", "status", "where", "text"),
    [
        ({"compile_source_str": "int main( {"}, 2, "compile_error", "error"),
        ({"compile_command": "sleep 9", "compile_timeout": "1"}, 2, "compile_error", "Compile time out."),
        ({"compile_command": "yes"}, 2, "compile_error", "Compile output limitation exceeded."),
        ({"execute_command": "echo x >&2; exit 3"}, 4, "execute_error", "x\n"),
        ({"execute_command": "sleep 9"}, 4, "execute_error", "Execution time out."),
        ({"execute_command": "yes"}, 4, "execute_error", "Execution output limitation exceeded."),
    ],
)
def test_every_end(khala: httpx2.Client, other: dict[str, str], status: int, where: str, text: str) -> None:
    task = done(khala, add(khala, **other))
    assert task["status"] == status
    assert text in task["result"][where]  # type: ignore[index]


def test_long_texts_are_cut_unless_asked_for(khala: httpx2.Client) -> None:
    id_ = add(khala, execute_command="head -c 3000 /dev/zero | tr '\\0' x")
    assert done(khala, id_)["result"]["execute_output"] == "x" * 1000 + "..."  # type: ignore[index]
    whole = khala.get("/api/task", params={"id": id_, "no_truncate": "1"}).json()["task"]
    assert whole["result"]["execute_output"] == "x" * 3000


def test_a_zip_is_taken_before_the_text(khala: httpx2.Client) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("main.cpp", 'int main() { __builtin_printf("zipped"); }')
    answer = khala.post(
        "/api/task",
        data={**FORM, "execute_command": "./main"},
        files={"compile_source": ("s.zip", made.getvalue())},
    )
    assert done(khala, answer.json()["id"])["result"]["execute_output"] == "zipped"  # type: ignore[index]


def test_cancel(khala: httpx2.Client) -> None:
    id_ = add(khala, execute_command="sleep 60", execute_timeout="0")
    wait_until(
        lambda: khala.get("/api/task", params={"id": id_}).json()["task"]["status"] == 3, "it runs", 20
    )
    assert khala.delete("/api/task", params={"id": id_}).json() == {"result": 0}
    task = done(khala, id_)
    assert (task["status"], task["executor"]) == (7, None)
    assert khala.delete("/api/task", params={"id": id_}).json() == {"result": 2}
    assert khala.delete("/api/task", params={"id": "f" * 24}).json() == {"result": 2}
    assert khala.delete("/api/task", params={"id": "nonsense"}).json() == {"result": 4}


def test_list(khala: httpx2.Client) -> None:
    ids = [add(khala, user="99", compile_command="", execute_command="true") for _ in range(5)]
    found = khala.get("/api/task/list", params={"user": 99}).json()
    assert (found["result"], found["pages"], [t["id"] for t in found["tasks"]]) == (0, 1, ids[::-1])
    found = khala.get("/api/task/list", params={"user": 99, "limit": 2, "page": 1, "old_to_new": "1"}).json()
    assert (found["pages"], [t["id"] for t in found["tasks"]]) == (3, ids[2:4])
    assert set(found["tasks"][0]) == {"id", "user", "add_time", "done", "status", "executor", "report_time"}
    assert khala.get("/api/task/list", params={"id": ids[0]}).json()["tasks"][0]["id"] == ids[0]
    assert khala.get("/api/task/list", params={"start_time": "Jan 1 2199"}).json()["tasks"] == []
    assert (
        len(khala.get("/api/task/list", params={"user": 99, "end_time": "2199-01-01 10:00"}).json()["tasks"])
        == 5
    )
    for bad in ({"id": "x"}, {"start_time": "no time"}, {"limit": "-1"}, {"user": "x"}):
        assert khala.get("/api/task/list", params=bad).json() == {"result": 4}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"user": "-1"}, 4),
        ({"user": "x"}, 4),
        ({"compile_timeout": "x"}, 4),
        ({"compile_source_name": "../x"}, 4),
        ({"execute_command": ""}, 4),
    ],
)
def test_nonsense_has_its_code(khala: httpx2.Client, other: dict[str, str], code: int) -> None:
    assert khala.post("/api/task", data={**FORM, **other}).json() == {"result": code}


def test_too_large(khala: httpx2.Client) -> None:
    assert khala.post("/api/task", data={**FORM, "execute_input": "x" * 17_000_000}).json() == {"result": 3}


def test_executors_and_judicators(khala: httpx2.Client) -> None:
    assert set(khala.get("/api/executors").json()[0]) == {"id", "hostname", "report_time"}
    assert set(khala.get("/api/judicators").json()[0]) == {"name", "address"}


def test_without_the_setting_a_token_is_wanted(shared: HubProcess) -> None:
    assert httpx2.get(f"{shared.url}/api/task/list").status_code == 401
    headers = {"Authorization": f"Bearer {shared.token}"}
    assert httpx2.get(f"{shared.url}/api/task/list", headers=headers).json()["result"] == 0
