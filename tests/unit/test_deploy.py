"""What parcs deploy asks of Swarm, and how the servers of its database are set up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parcs.deploy import patroni, plan

SECRETS = [plan.Secret(f"id-of-{name}", f"{name}-1234") for name in plan.SECRETS]
PLAN = plan.Plan("image@sha256:1", "parcs", {"parcs.kind": "hub"}, SECRETS, 0, 0, 600)


def container(specification: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = specification["TaskTemplate"]["ContainerSpec"]
    return found


def test_hubs_are_on_managers_and_replaced_one_by_one() -> None:
    asked = plan.hub(PLAN)
    assert (asked["Mode"], asked["UpdateConfig"]["Parallelism"]) == ({"Global": {}}, 1)
    assert asked["TaskTemplate"]["Placement"]["Constraints"] == ["node.role==manager"]
    assert asked["EndpointSpec"]["Mode"] == "dnsrr"
    assert [port["PublishMode"] for port in asked["EndpointSpec"]["Ports"]] == ["host"]
    assert {secret["File"]["Name"] for secret in container(asked)["Secrets"]} == set(plan.SECRETS)
    assert {secret["File"]["Mode"] for secret in container(asked)["Secrets"]} == {0o400}


def test_hubs_have_a_managers_socket_only_where_that_was_asked_for() -> None:
    usual, managing = plan.hub(PLAN), plan.hub(PLAN._replace(manages=True, registry="registry:5000"))
    assert container(usual)["Mounts"] == []
    assert not any("DOCKER" in each for each in container(usual)["Env"])
    assert [mount["Source"] for mount in container(managing)["Mounts"]] == ["/var/run/docker.sock"]
    assert "PARCS_HUB_DOCKER=unix:///var/run/docker.sock" in container(managing)["Env"]
    assert "PARCS_HUB_REGISTRY=registry:5000" in container(managing)["Env"]


def test_executors_know_no_more_than_their_token_and_are_drained() -> None:
    asked = plan.executor(PLAN)
    assert [secret["File"]["Name"] for secret in container(asked)["Secrets"]] == [plan.SECRETS[2]]
    assert container(asked)["StopGracePeriod"] == 600 * 10**9
    assert asked["Mode"] == {"Global": {}}
    some = plan.executor(PLAN._replace(executors=3, slots=4))
    assert some["Mode"] == {"Replicated": {"Replicas": 3}}
    assert some["TaskTemplate"]["Placement"] == {"MaxReplicas": 1}
    command = container(some)["Command"]
    assert command[command.index("--slots") + 1] == "4"


def test_each_server_of_the_database_stays_with_its_data() -> None:
    wanted = plan.DatabasePlan("image", "parcs", {}, plan.Secret("s", "password"), ["n1", "n2", "n3"])
    asked = [plan.database(wanted, number) for number in (1, 2, 3)]
    constraints = [each["TaskTemplate"]["Placement"]["Constraints"] for each in asked]
    assert constraints == [["node.id==n1"], ["node.id==n2"], ["node.id==n3"]]
    assert {each["Type"] for one in asked for each in container(one)["Mounts"]} == {"volume"}
    # A health check would keep the servers' names from each other until they are well, which they need them for.
    assert all("Healthcheck" not in container(each) for each in asked)


@pytest.mark.parametrize("listen", ["0.0.0.0", "10.0.0.1"])
def test_the_servers_settings_keep_what_is_acknowledged(listen: str) -> None:
    server = patroni.Server("a", "a.example", listen, Path("/data"), Path("/bin"))
    made = patroni.patroni(
        server, ["a", "b", "c"], {"superuser": {"password": "x"}}, ["local all"], {"initdb": []}
    )
    dcs = made["bootstrap"]["dcs"]
    assert (dcs["synchronous_mode"], dcs["failsafe_mode"], dcs["primary_start_timeout"]) == (True, True, 0)
    assert dcs["loop_wait"] + 2 * dcs["retry_timeout"] <= dcs["ttl"], "Patroni's own rule"
    assert made["postgresql"]["remove_data_directory_on_diverged_timelines"] is True
    assert made["etcd3"]["hosts"] == ["a:2379", "b:2379", "c:2379"]
    assert json.loads(json.dumps(made)) == made
    words = patroni.etcd(server, {"a": "a.example", "b": "b.example"})
    assert "--pre-vote=true" in words
    assert words[words.index("--initial-cluster") + 1] == "a=http://a.example:2380,b=http://b.example:2380"
    clients = words[words.index("--listen-client-urls") + 1].split(",")
    assert all(url.endswith(":2379") for url in clients)


def test_a_cluster_is_whole_when_every_server_follows() -> None:
    leader = {"role": "leader", "state": "running"}
    follows, waits = {"role": "replica", "state": "streaming"}, {"role": "sync_standby", "state": "streaming"}
    assert patroni.is_whole({"members": [leader, follows, waits]}, 3)
    for members in ([leader, waits], [leader, follows, follows], [follows, waits, follows], []):
        assert not patroni.is_whole({"members": members}, 3)
    assert not patroni.is_whole(None, 3)
