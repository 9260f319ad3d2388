"""Who may do what: every route by every role; tokens, logins, audit; and no answer is the hub's own fault."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import schemathesis

from parcs import errors
from parcs.client import Hub, calls
from parcs.contract import tasks as contract
from tests.conftest import wait_until
from tests.hub.conftest import HubProcess

ANYBODY = {"none", "viewer", "member", "admin", "executor"}
LOOK = {"viewer", "member", "admin"}
SUBMIT = {"member", "admin"}
KNOWN = LOOK | {"executor"}
ADMIN = {"admin"}

ROUTES: dict[tuple[str, str], set[str]] = {
    ("post", "/api/v1/tasks"): SUBMIT,
    ("post", "/api/v1/tasks/bulk"): SUBMIT,
    ("post", "/api/v1/tasks/run"): SUBMIT,
    ("get", "/api/v1/tasks"): LOOK,
    ("get", "/api/v1/tasks/counts"): LOOK,
    ("post", "/api/v1/tasks/wait"): LOOK,
    ("post", "/api/v1/tasks/cancel"): SUBMIT,
    ("post", "/api/v1/tasks/delete"): SUBMIT,
    ("get", "/api/v1/tasks/{number}"): LOOK,
    ("delete", "/api/v1/tasks/{number}"): SUBMIT,
    ("post", "/api/v1/tasks/{number}/cancel"): SUBMIT,
    ("post", "/api/v1/tasks/{number}/rerun"): SUBMIT,
    ("get", "/api/v1/tasks/{number}/explain"): LOOK,
    ("get", "/api/v1/tasks/{number}/output/{name}"): LOOK,
    ("get", "/api/v1/tasks/{number}/output.zip"): LOOK,
    ("get", "/api/v1/tasks/{number}/follow"): LOOK,
    ("post", "/api/v1/archives"): SUBMIT,
    ("get", "/api/v1/archives/{digest}"): KNOWN,
    ("get", "/api/v1/archives/{digest}/files"): KNOWN,
    ("get", "/api/v1/hubs"): LOOK,
    ("get", "/api/v1/executors"): LOOK,
    ("get", "/api/v1/executors/loads"): LOOK,
    ("post", "/api/v1/executors/{name}/{verb}"): ADMIN,
    ("get", "/api/v1/about"): LOOK,
    ("get", "/api/v1/history"): LOOK,
    ("get", "/api/v1/cluster"): LOOK,
    ("patch", "/api/v1/cluster/services/{name}"): ADMIN,
    ("delete", "/api/v1/cluster/services/{name}"): ADMIN,
    ("get", "/api/v1/cluster/services/{name}/logs"): ADMIN,
    ("delete", "/api/v1/cluster/stacks/{name}"): ADMIN,
    ("post", "/api/v1/cluster/stacks/{name}/redeploy"): ADMIN,
    ("patch", "/api/v1/cluster/nodes/{name}"): ADMIN,
    ("get", "/api/v1/modules"): LOOK,
    ("get", "/api/v1/jobs"): LOOK,
    ("post", "/api/v1/jobs"): SUBMIT,
    ("get", "/api/v1/jobs/{name}"): LOOK,
    ("get", "/api/v1/jobs/{name}/channels"): LOOK,
    ("get", "/api/v1/jobs/{name}/lines"): LOOK,
    ("post", "/api/v1/jobs/{name}/stop"): SUBMIT,
    ("delete", "/api/v1/jobs/{name}"): SUBMIT,
    ("get", "/api/v1/me"): KNOWN,
    ("post", "/api/v1/login"): ANYBODY,
    ("post", "/api/v1/logout"): KNOWN,
    ("get", "/api/v1/users"): ADMIN,
    ("post", "/api/v1/users"): ADMIN,
    ("patch", "/api/v1/users/{name}"): ADMIN,
    ("get", "/api/v1/tokens"): LOOK,
    ("post", "/api/v1/tokens"): LOOK,
    ("delete", "/api/v1/tokens/{number}"): LOOK,
    ("get", "/api/v1/audit"): ADMIN,
    ("get", "/metrics"): LOOK,
    ("get", "/healthz"): ANYBODY,
    ("get", "/readyz"): ANYBODY,
}
"""Who is let in. The streams of events have no end: they are tested by themselves."""

BODIES: dict[str, object] = {
    "/api/v1/tasks": {"command": "true", "where": {"no": "such"}},
    "/api/v1/tasks/bulk": [{"command": "true", "where": {"no": "such"}}],
    "/api/v1/tasks/run": {"command": "true", "where": {"no": "such"}, "after": [10**9]},
    "/api/v1/tasks/wait": {"ids": [1]},
    "/api/v1/tasks/cancel": {"ids": [10**6]},
    "/api/v1/tasks/delete": {"ids": [10**6]},
    "/api/v1/users": {"name": "new"},
    "/api/v1/users/{name}": {"role": "member"},
    "/api/v1/tokens": {"name": "t"},
    "/api/v1/jobs": {"module": "m"},
    "/api/v1/cluster/services/{name}": {"replicas": 1},
    "/api/v1/cluster/nodes/{name}": {"availability": "drain"},
    "/api/v1/login": {"name": "x", "password": "y"},
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubProcess, dict[str, str]]]:
    """A hub, and a token of each role."""
    hub = HubProcess(tmp_path_factory.mktemp("people"), PARCS_HUB_REQUESTS_PER_S="0")
    hub.start()
    secrets = {"none": "", "admin": hub.token, "executor": (hub.folder / "executor.token").read_text()}
    for role in ("viewer", "member"):
        hub.parcs("user", "add", role, "--role", role)
        secrets[role] = hub.parcs("token", "add", "--user", role, "first").strip()
    yield hub, secrets
    hub.stop()


def headers_of(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def test_every_route_by_every_role(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    schema = httpx2.get(f"{hub.url}/api/v1/openapi.json").json()
    real = {(method, path) for path, methods in schema["paths"].items() for method in methods}
    assert real - {("get", "/api/v1/events"), ("get", "/api/v1/live")} == ROUTES.keys()
    with hub.client() as client:
        own = dict.fromkeys(secrets, 0)
        for role in ("member", "admin"):
            with Hub(hub.url, secrets[role]) as theirs:
                own[role] = theirs.submit("true", where={"no": "such"}).first
        client.cancel(*(n for n in own.values() if n))
    for (method, path), allowed in ROUTES.items():
        for role, secret in secrets.items():
            number = 10**6 if "tokens" in path else own[role] or 1
            values = {"number": number, "name": "stdout", "digest": "0" * 64, "verb": "drain"}
            url = hub.url + re.sub(r"{(\w+)}", lambda m, v=values: str(v[m[1]]), path)  # type: ignore[misc]
            body = BODIES.get(path)
            answer = httpx2.request(
                method.upper(), url, headers=headers_of(secret), **({} if body is None else {"json": body})
            )
            if role in allowed:
                is_wrong_login = path == "/api/v1/login"
                assert answer.status_code == 401 if is_wrong_login else answer.status_code not in (401, 403), (
                    method, path, role, answer.status_code, answer.text
                )  # fmt: skip
            else:
                assert answer.status_code == (403 if secret else 401), (method, path, role, answer.text)
            assert answer.status_code < 500


def test_a_member_changes_only_own_tasks(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    with hub.client() as admin, Hub(hub.url, secrets["member"], budget_s=5) as member:
        number = admin.submit("true", where={"no": "such"}).first
        assert member.cancel(number) == 0
        with pytest.raises(errors.NotAllowedError):
            member.do(calls.Call("POST", f"/tasks/{number}/cancel", bytes))
        mine = member.submit("true", where={"no": "such"}).first
        assert admin.cancel(mine, number) == 2


def test_a_revoked_token_and_a_shut_out_user_are_refused(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, _ = people
    hub.parcs("user", "add", "gone")
    hub.parcs("user", "add", "gone", code=2)
    assert "already" in hub.stderr
    made = json.loads(hub.parcs("token", "ls", "--json"))
    secret = hub.parcs("token", "add", "--user", "gone", "one").strip()
    number = max(t["id"] for t in json.loads(hub.parcs("token", "ls", "--json")) if t not in made)
    with Hub(hub.url, secret, budget_s=2) as client:
        client.counts()
        hub.parcs("token", "revoke", str(number))
        with pytest.raises(errors.NotLoggedInError):
            client.counts()
    other = hub.parcs("token", "add", "--user", "gone", "two").strip()
    hub.parcs("user", "set", "gone", "--disable")
    with Hub(hub.url, other, budget_s=2) as client, pytest.raises(errors.NotLoggedInError):
        client.counts()
    hub.parcs("user", "set", "admin", "--role", "viewer", code=2)
    assert "somebody has to stay an admin" in hub.stderr


def test_a_page_logs_in_with_a_cookie_that_other_sites_cannot_use(
    people: tuple[HubProcess, dict[str, str]],
) -> None:
    hub, _ = people
    link = re.search(r"/login/(\S+)", hub.log.read_text())
    assert link is not None
    with httpx2.Client(base_url=hub.url) as page:
        answer = page.post("/api/v1/login", json={"link": link[1]})
        assert answer.json()["role"] == "admin"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert page.get("/api/v1/me").json()["kind"] == "session"
        assert page.post("/api/v1/tasks", json={"command": "true"}).status_code == 403
        assert page.post("/api/v1/logout", headers={"X-PARCS": "1"}).status_code == 200
        assert page.get("/api/v1/me").status_code == 401
        assert page.post("/api/v1/login", json={"link": link[1]}).status_code == 401
        page.patch("/api/v1/users/admin", json={"password": "long enough"}, headers=headers_of(hub.token))
        assert page.post("/api/v1/login", json={"name": "admin", "password": "long enough"}).is_success
        assert page.post("/api/v1/login", json={"name": "admin", "password": "wrong"}).status_code == 401
        assert page.post("/api/v1/login", json={"name": "nobody", "password": "wrong"}).status_code == 401


def test_the_page_is_served_by_the_hub_alone(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, _ = people
    page = httpx2.get(hub.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert wanted
    for name in (name for name in wanted if not name.startswith("data:")):
        file = httpx2.get(hub.url + name)
        assert file.is_success
        assert file.headers.get("content-encoding") in ("br", "gzip") or not name.startswith("/assets")
        same = httpx2.get(hub.url + name, headers={"If-None-Match": file.headers["etag"]})
        assert same.status_code == 304
    assert httpx2.get(f"{hub.url}/tasks/17").text == page.text  # the page itself knows its addresses
    assert httpx2.get(f"{hub.url}/api/v1/no-such").status_code == 404
    assert httpx2.get(f"{hub.url}/api/v1/no-such").headers["content-type"] == "application/problem+json"
    assert httpx2.get(f"{hub.url}/../hub.json").status_code == 404


def test_secrets_are_for_this_user_alone_and_in_no_log(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    for name in ("hub.json", "executor.token"):
        assert stat.S_IMODE((hub.folder / name).stat().st_mode) == 0o600
    said = b"".join(
        path.read_bytes()
        for path in hub.folder.rglob("*")
        if path.is_file() and path.suffix in (".log", ".db")
    )
    for role in ("viewer", "member"):
        assert secrets[role].encode() not in said


def test_what_was_done_is_written_down(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    entries = httpx2.get(f"{hub.url}/api/v1/audit", headers=headers_of(secrets["admin"])).json()["entries"]
    assert {"add user", "make token"} <= {entry["action"] for entry in entries}


def test_news_are_streamed(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    with (
        httpx2.stream("GET", f"{hub.url}/api/v1/events", headers=headers_of(secrets["viewer"])) as answer,
        hub.client() as c,
    ):
        lines = answer.iter_lines()
        assert next(lines) == ": watching"
        number = c.submit("true", where={"no": "such"}).first
        c.cancel(number)
        seen = []
        for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line[6:]))
            if {"id": number, "state": "cancelled"} in seen:
                break
        assert {"id": number, "state": "queued"} in seen


def test_a_page_is_told_what_changed_and_how_the_hub_is(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    headers = headers_of(secrets["viewer"])
    with httpx2.stream("GET", f"{hub.url}/api/v1/live", headers=headers) as answer, hub.client() as client:
        lines = answer.iter_lines()
        assert next(lines) == ": watching"
        number = client.submit("true", where={"no": "such"}).first
        client.cancel(number)
        changed: set[int] = set()
        samples: list[dict[str, Any]] = []
        kind = ""
        for line in lines:
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            if line.startswith("data: "):
                said = json.loads(line[6:])
                if kind == "sample":
                    samples.append(said)
                changed |= set(said.get("tasks", ()))
            if number in changed and any(sample["cancelled_per_s"] > 0 for sample in samples):
                break
    assert samples[-1]["counts"]["cancelled"] >= 1
    history = httpx2.get(f"{hub.url}/api/v1/history", headers=headers).json()
    assert samples[-1] in history["samples"]


def test_too_many_requests_are_refused(make_hub: Callable[..., HubProcess]) -> None:
    hub = make_hub(PARCS_HUB_REQUESTS_PER_S="2")
    with httpx2.Client(headers=headers_of(hub.token)) as client:
        answers = [client.get(f"{hub.url}/api/v1/me") for _ in range(15)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"]


def test_a_hub_is_not_opened_to_others_before_there_is_a_token(make_hub: Callable[..., HubProcess]) -> None:
    hub = make_hub()
    hub.stop()
    hub.parcs("hub", "--data", str(hub.folder), "--host", "0.0.0.0", "--port", "0", code=2)
    assert "nobody has a token of their own yet" in hub.stderr


def test_mistakes_are_said_in_words(make_hub: Callable[..., HubProcess]) -> None:
    hub = make_hub()
    for words, said in (
        (("hub", "--data", str(hub.folder), "--port", "0"), "runs already"),
        (("hub", "--data", str(hub.folder / "x"), "--port", str(hub.port)), "cannot listen"),
        (("hub", "--database", "postgresql://u@127.0.0.1:9/x", "--port", "0"), "connection"),
        (("hub", "--database", "mysql://x", "--port", "0"), "is no database"),
        (("submit",), "what is to be run"),
        (("submit", "--memory", "lots", "--", "x"), "--memory"),
        (("submit", "-f", "no-such-file", "--", "x"), "no-such-file"),
        (("submit", "--hub", "nonsense", "--", "x"), "is no hub's address"),
        (("executor", "--hub", hub.url), "needs a token"),
        (("wait", "99999"), "no such tasks"),
        (("cancel",), "which tasks"),
    ):
        hub.parcs(*words, code=2)
        assert said in hub.stderr, (words, hub.stderr)


def test_metrics_are_prometheus(people: tuple[HubProcess, dict[str, str]]) -> None:
    hub, secrets = people
    text = httpx2.get(f"{hub.url}/metrics", headers=headers_of(secrets["viewer"])).text
    assert 'parcs_tasks{state="cancelled"}' in text
    assert "parcs_hub_sessions 0.0" in text


def test_no_request_that_the_schema_allows_is_the_hubs_fault(
    people: tuple[HubProcess, dict[str, str]],
) -> None:
    """Schemathesis makes requests, sensible and not, from the OpenAPI document: none is answered with 5xx."""
    hub, secrets = people
    import hypothesis

    schema = schemathesis.openapi.from_url(f"{hub.url}/api/v1/openapi.json")
    begin = time.monotonic()
    for result in schema.get_all_operations():
        operation = result.ok()
        endless = ("/api/v1/events", "/api/v1/live")
        if operation.path in (*endless, "/api/v1/logout", "/api/v1/tokens/{number}"):
            continue

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=15, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        def check(case) -> None:  # type: ignore[no-untyped-def]
            if case.path.endswith(("/wait", "/run")):
                case.query = {**(case.query or {}), "timeout_s": 0, "wait_s": 0}
            elif case.query and "wait_s" in case.query:
                case.query["wait_s"] = 0
            response = case.call(headers=headers_of(secrets["admin"]), timeout=20)
            assert response.status_code < 500, (case.as_curl_command(), response.text)

        check()
    with hub.client() as client:
        assert client.counts()["queued"] >= 0
    assert time.monotonic() - begin < 300
    wait_until(lambda: "nobody foresaw" not in hub.log.read_text(), "no bug is in the log")
    assert contract.API
