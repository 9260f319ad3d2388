"""A machine that vanishes: a network namespace whose link is cut, so that not even a reset comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from parcs import errors
from parcs.channel import Endpoint
from parcs.model.settings import Settings
from tests.conftest import SOURCE

PEER = """
import sys
from parcs.channel import Endpoint
from parcs.model.settings import Settings
endpoint = Endpoint("far", b"token", Settings(), host=sys.argv[2])
channel = endpoint.dial(sys.argv[1], "link", "far", "tester")
channel.send("up")
channel.recv()
"""

can = os.geteuid() == 0 and shutil.which("ip") is not None
pytestmark = pytest.mark.skipif(
    not can and not os.environ.get("CI"), reason="needs root and the ip command (apt-get install iproute2)"
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def far_host() -> Iterator[tuple[str, str, str]]:
    """A namespace; gives its name, this side's address and the other's."""
    name, number = f"parcs-{os.getpid()}", os.getpid() % 200
    here, there = f"10.231.{number}.1", f"10.231.{number}.2"
    ip("netns", "add", name)
    try:
        ip("link", "add", f"ph{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{here}/24", "dev", f"ph{number}")
        ip("link", "set", f"ph{number}", "up")
        ip("-n", name, "addr", "add", f"{there}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name, here, there
    finally:
        ip("netns", "del", name)


def test_a_machine_that_vanishes_is_noticed_within_seconds(far_host: tuple[str, str, str]) -> None:
    name, here, there = far_host
    endpoint = Endpoint("tester", b"token", Settings(), host=here)
    far = subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, "-c", PEER, str(endpoint.listener.address), there],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    try:
        channel = endpoint.adopt(endpoint.listener.claim("far", 20), "far", "far")
        assert channel.recv(10) == "up"
        ip("-n", name, "link", "set", "eth0", "down")
        begin = time.monotonic()
        with pytest.raises(errors.ChannelBrokenError):
            channel.recv()
        assert time.monotonic() - begin < 8
    finally:
        far.kill()
        far.wait()
        endpoint.close()
