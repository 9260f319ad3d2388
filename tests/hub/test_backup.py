"""A hub saved and brought back: on SQLite by its own commands, on PostgreSQL by PostgreSQL's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.hub.conftest import HubProcess, PostgreSQL, ended

Make = Callable[..., HubProcess]


def test_a_hub_on_sqlite(make_hub: Make, tmp_path: Path) -> None:
    hub = make_hub()
    hub.executor()
    file = tmp_path / "saved"
    with hub.client() as client:
        number = ended(client, "sh", "-c", "echo kept; echo kept > out", outputs=["out"]).task.id
        waiting = client.submit("true", where={"no": "such"}).first
        assert "2 tasks" in hub.parcs("backup", str(file))
        later = client.submit("true").first
    hub.parcs("backup", str(file), code=2)
    assert "is there already" in hub.stderr
    hub.parcs("restore", str(file), code=2)
    assert "runs already" in hub.stderr
    hub.stop()
    hub.parcs("restore", str(file), code=2)
    assert "there is a database already" in hub.stderr

    other = HubProcess(tmp_path / "elsewhere")
    other.folder.mkdir()
    try:
        (tmp_path / "broken").write_bytes(file.read_bytes()[:5000])
        other.parcs("restore", str(tmp_path / "broken"), code=2)
        assert "no hub's database" in other.stderr or "damaged" in other.stderr
        assert "2 tasks are back" in other.parcs("restore", str(file))
        other.start()
        with other.client() as client:
            assert client.output(number) == "kept\n"
            assert client.data(number, "file/out") == b"kept\n"
            assert client.task(waiting).task.state == "queued"
            assert [task.id for task in client.tasks()] == [waiting, number]
            other.executor("--label", "no=such")
            assert client.wait(waiting, 20).task.state == "succeeded"
            assert client.submit("true").first == later
    finally:
        other.stop()


def test_a_hub_on_postgresql(make_hub: Make, postgresql: PostgreSQL, tmp_path: Path) -> None:
    hub = make_hub(postgresql.database())
    hub.executor()
    with hub.client() as client:
        number = ended(client, "echo", "kept").task.id
    hub.stop()
    empty = postgresql.database()
    tool = str(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1])
    file = str(tmp_path / "saved")
    subprocess.run([f"{tool}/pg_dump", "-Fc", "-f", file, hub.database], check=True)
    subprocess.run([f"{tool}/pg_restore", "--no-owner", "-d", empty, file], check=True)
    other = make_hub(empty)
    other.executor()
    with other.client() as client:
        assert client.output(number) == "kept\n"
        assert ended(client, "true").task.id > number
