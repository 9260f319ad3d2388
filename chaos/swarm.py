"""``python -m chaos.swarm``: hubs and a database on a real Swarm, and machines of it that lose their power.

A lab of three managers, ``parcs deploy`` with the replicated PostgreSQL that it brings, clients at work, and one
node after another killed as a power failure does and started again, that with the primary first. Needs root and
Docker, and about eight minutes, most of them for images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from typing import Any

from parcs.client import Hub
from parcs.lab import Lab, Plan, base_image

_LONGEST_S = 30.0
_BASE = "database-base"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.swarm", description=__doc__)
    parser.add_argument("--kills", type=int, default=2, help="how many nodes lose their power")
    options = parser.parse_args()
    image = base_image.ensure("etcd-server", "postgresql")
    lab = Lab.up(f"cs{os.getpid() % 1_000_000}", Plan(nodes=3, managers=3), tell)
    try:
        base = f"{lab.registry}/{_BASE}"
        lab.nodes[0].docker("import", "--change", 'CMD ["python3"]', str(image), base)
        lab.nodes[0].docker("push", "--quiet", base)
        environment = {**os.environ, "PARCS_REGISTRY": lab.registry, "PARCS_DATABASE_BASE": base}
        place = Deployed(lab, environment)
        worst = 0.0
        with Work(place.urls, place.token) as work:
            for _ in range(options.kills):
                worst = max(worst, lose_one(place, work))
        lost = work.check()
        place.parcs("undeploy")
        place.parcs("deploy")  # the database was left, and so is what it has
        with Hub(place.urls, place.token, budget_s=60) as hub:
            left = sum(hub.counts().values())
        print(f"{len(work.acknowledged)} tasks acknowledged, {lost} lost; longest without one: {worst:.1f} s; "
              f"after undeploy and deploy there are {left} tasks")  # fmt: skip
        return int(lost > 0 or worst > _LONGEST_S or left != len(work.acknowledged))
    finally:
        lab.down()


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Deployed:
    """What ``parcs deploy`` made."""

    def __init__(self, lab: Lab, environment: dict[str, str]) -> None:
        self.lab, self._environment = lab, environment
        said = self.parcs("deploy")
        self.urls = re.findall(r"^hubs: (\S+)$", said, re.M)[0]
        self.token = re.findall(r"^token: (\S+)$", said, re.M)[0]

    def parcs(self, *words: str) -> str:
        """Run a parcs command for the Swarm."""
        manager = next(node for node in self.lab.nodes if node.is_up())
        done = subprocess.run(
            [sys.executable, "-m", "parcs", *words, "--on", "swarm"], check=True, stdout=subprocess.PIPE, text=True,
            env={**self._environment, "DOCKER_HOST": manager.url},
        )  # fmt: skip
        return done.stdout

    def primary(self) -> str:
        """The node with the primary: whichever database server's log says last that it is the leader."""
        for node in self.lab.nodes:
            names = node.docker("ps", "--format", "{{.Names}}").split()
            for name in names:
                if name.startswith("parcs-database-") and "leader" in _role(node, name):
                    return node.name
        raise SystemExit("no server is the primary")


def _role(node: Any, container: str) -> str:
    script = (
        "import json, urllib.request as r; "
        "print(json.load(r.urlopen('http://127.0.0.1:8008/patroni', timeout=3))['role'])"
    )
    role = node.docker("exec", container, "python3", "-c", script).strip()
    return "leader" if role in ("primary", "master") else role


class Work:
    """Clients that submit all the time."""

    def __init__(self, urls: str, token: str, clients: int = 2) -> None:
        self._urls, self._token = urls, token
        self.acknowledged: list[tuple[float, int]] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._serve) for _ in range(clients)]

    def __enter__(self) -> Work:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        with Hub(self._urls, self._token) as hub:
            while not self._is_over.wait(0.1):
                number = hub.submit("sleep 0.1; echo ok").first
                self.acknowledged.append((time.monotonic(), number))

    def longest_gap(self, since: float) -> float:
        """Between two acknowledgements."""
        times = [since, *sorted(at for at, _ in self.acknowledged if at > since)]
        return max(b - a for a, b in itertools.pairwise(times))

    def check(self) -> int:
        """How many acknowledged tasks did not come to their one result."""
        with Hub(self._urls, self._token) as hub:
            ends = [hub.wait(number, 180) for _, number in self.acknowledged]
        return sum(
            end.task.state != "succeeded" or [a.state for a in end.attempts].count("succeeded") != 1
            for end in ends
        )


def lose_one(place: Deployed, work: Work) -> float:
    """The power of the primary's node fails, and comes back; gives how long nothing was acknowledged."""
    time.sleep(5)
    name, since = place.primary(), time.monotonic()
    tell(f"the power of {name} fails")
    place.lab.node(name).kill()
    time.sleep(45)
    gap = work.longest_gap(since)
    tell(f"{gap:.1f} s without an acknowledgement; {name} is started again")
    place.lab.heal(name)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        parts = json.loads(place.parcs("deploy", "--status", "--json"))
        if sum(part["state"] == "running" for part in parts) == 9:
            break
        time.sleep(1)
    time.sleep(20)  # the server that was away follows again, or the next loss would be one too many
    return gap


if __name__ == "__main__":
    sys.exit(main())
