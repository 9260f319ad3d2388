"""Runs one measurement inside the cluster, and gives its figures as the job's result."""

import time

BEGIN = time.time()  # the runner's first line

import json  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import statistics  # noqa: E402
import struct  # noqa: E402

from parcs.server import Runner, serve  # noqa: E402

LENGTH = struct.Struct(">Q")
SMALL = {"point": 1, "values": [1, 2, 3]}
ROUNDS = 300
SIZE, COUNT = 16 << 20, 12


def factor(engine, count):
    """Divisors of N on ``count`` points; gives how long it took from this program's first line."""
    n = int(os.environ.get("N", "12345678"))
    points = engine.run_all("bench", count)
    for i, point in enumerate(points):
        point.send(["factor", n, 2 + (n - 2) * i // count, 2 + (n - 2) * (i + 1) // count])
    facts = [fact for point in points for fact in point.recv()]
    return {"elapsed": time.time() - BEGIN, "facts": len(facts)}


def warm(engine, count):
    """Takes ``count`` warm points, and has each answer."""
    engine.warm("bench", count)
    begin = time.time()
    points = engine.run_all("bench", count)
    for point in points:
        point.send(["echo", 1])
        point.send(SMALL)
    for point in points:
        point.recv()
    return {"elapsed": time.time() - begin}


def channel(engine, _):
    """Round trips and throughput between two nodes: a channel, and bare sockets in the same containers."""
    elsewhere = "node.hostname!=" + os.environ["PARCS_NODE"]
    point = engine.run("bench", resources={"constraints": ["node.role==worker", elsewhere]})
    point.send(["bare"])
    where = tuple(point.recv())
    figures = {"trip": [], "bare_trip": [], "rate": [], "bare_rate": [], "relay_trip": [], "relay_rate": []}
    body = bytes(SIZE)
    is_relayed = "BARE_RELAY_PORT" in os.environ
    for _ in range(25):  # a wake-up on the same processor costs half of one on another: many short turns
        figures["bare_trip"].append(bare_trip(dialled(where)))
        figures["trip"].append(trip(point))
        if is_relayed:
            figures["relay_trip"].append(bare_trip(dialled_through_relay(where)))
    for _ in range(5):
        figures["bare_rate"].append(bare_rate(dialled(where), body))
        figures["rate"].append(rate(point, body))
        if is_relayed:
            figures["relay_rate"].append(bare_rate(dialled_through_relay(where), body))
    return {name: statistics.median(values) for name, values in figures.items() if values}


def relay(engine, _):
    """As `channel`, but this program talks to its point as one outside would: through the relay."""
    from parcs.model import address
    from parcs.model.settings import Settings
    from parcs.swarm.remote import Access, Remote

    access = Access(
        address.parse(os.environ["ADDRESS"]), os.environ["FINGERPRINT"], os.environ["TOKEN"].encode()
    )
    with Remote(access, Settings()).open_engine("relayed") as outside:
        return channel(outside, _)


def trip(point):
    point.send(["echo", ROUNDS])
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        point.send(SMALL)
        point.recv()
    return (time.perf_counter() - begin) / ROUNDS


def rate(point, body):
    point.send(["sink", COUNT])
    begin = time.perf_counter()
    for _ in range(COUNT):
        point.send(body)
    point.recv()
    return SIZE * COUNT / (time.perf_counter() - begin)


def dialled(where):
    sock = socket.create_connection(where)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dialled_through_relay(where):
    from parcs.model import address

    engine = address.parse(os.environ["PARCS_ENGINE"])
    sock = dialled((engine.host, int(os.environ["BARE_RELAY_PORT"])))
    sock.sendall("{} {}\n".format(*where).encode())
    return sock


def bare_trip(sock):
    with sock:
        sock.sendall(LENGTH.pack(0) + LENGTH.pack(ROUNDS))
        begin = time.perf_counter()
        for _ in range(ROUNDS):
            body = json.dumps(SMALL).encode()
            sock.sendall(LENGTH.pack(len(body)) + body)
            size = LENGTH.unpack(sock.recv(8, socket.MSG_WAITALL))[0]
            json.loads(sock.recv(size, socket.MSG_WAITALL))
        return (time.perf_counter() - begin) / ROUNDS


def bare_rate(sock, body):
    with sock:
        sock.sendall(LENGTH.pack(SIZE) + LENGTH.pack(COUNT))
        begin = time.perf_counter()
        for _ in range(COUNT):
            sock.sendall(body)
        sock.recv(1)
        return SIZE * COUNT / (time.perf_counter() - begin)


def one_after_another(engine, count):
    """Starts, uses and ends ``count`` points, one at a time."""
    for i in range(count):
        point = engine.run("bench")
        point.send(["echo", 1])
        point.send(i)
        if point.recv() != i:
            raise AssertionError(i)
        point.shutdown()
        if i % 50 == 49:
            print(f"{i + 1} points so far", flush=True)
    return {"elapsed": time.time() - BEGIN}


def silent(engine, minutes):
    """A channel on which nothing is said for a long time, and then something."""
    point = engine.run("bench")
    point.send(["echo", 2])
    point.send(1)
    point.recv()
    time.sleep(60 * minutes)
    point.send(2)
    return {"answer": point.recv(timeout=10)}


MEASURES = {f.__name__: f for f in (factor, warm, channel, relay, one_after_another, silent)}


class BenchRunner(Runner):
    def run(self):
        return MEASURES[os.environ["MEASURE"]](self.engine, int(os.environ.get("COUNT", "1")))


serve(BenchRunner())
