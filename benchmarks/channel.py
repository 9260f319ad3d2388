"""A channel against bare blocking sockets: round trip, throughput, small messages, memory."""

from __future__ import annotations

import time
from typing import Any

import numpy

from benchmarks import peers
from benchmarks.report import Row, interleaved, percentile

FLOOR = "bare blocking sockets"
MESSAGE = {"n": 12345678, "range": [2, 4115227], "name": "factor-1"}
BIG = 64 << 20


def rows(*, quick: bool) -> list[Row]:
    return [
        *_round_trip(2000 if quick else 10000),
        *_throughput(4 if quick else 24),
        _small(quick),
        _memory(),
    ]


def _round_trip(count: int) -> list[Row]:
    def measure(send: Any, recv: Any) -> list[float]:
        times = peers.round_trips(count, MESSAGE, send, recv)
        return [percentile(times, 0.5), percentile(times, 0.99)]

    def reference() -> list[float]:
        with peers.bare_peer("bare-echo") as sock:
            return measure(lambda value: peers.bare_send(sock, value), lambda: peers.bare_recv(sock))

    def ours() -> list[float]:
        with peers.peer("echo") as channel:
            return measure(channel.send, channel.recv)

    mine, theirs = interleaved(5, ours, reference)
    return [
        Row("round trip, small JSON, p50", mine[0], theirs[0], "us", FLOOR, "<= 1.5"),
        Row("round trip, small JSON, p99", mine[1], theirs[1], "us", FLOOR, "<= 2"),
    ]


def _throughput(count: int) -> list[Row]:
    payloads: dict[str, Any] = {"bytes": bytes(BIG), "float64 array": numpy.zeros(BIG // 8)}

    def reference() -> list[float]:
        with peers.bare_peer("bare-sink") as sock:
            sock.sendall(peers.LENGTH.pack(BIG) + peers.LENGTH.pack(count))
            begin = time.perf_counter()
            for _ in range(count):
                sock.sendall(payloads["bytes"])
            sock.recv(1)
            return [BIG * count / (time.perf_counter() - begin) / 1e9]

    def ours(payload: Any) -> list[float]:
        with peers.peer("sink") as channel:
            channel.recv()
            channel.send(count)
            begin = time.perf_counter()
            for _ in range(count):
                channel.send(payload)
            channel.recv()
            return [BIG * count / (time.perf_counter() - begin) / 1e9]

    found = []
    for name, payload in payloads.items():
        mine, theirs = interleaved(5, lambda payload=payload: ours(payload), reference)  # type: ignore[misc]
        found.append(Row(f"throughput, 64 MiB messages, {name}", mine[0], theirs[0], "GB/s", FLOOR, ">= 0.8"))
    return found


def _small(quick: bool) -> Row:
    count = 20_000 if quick else 100_000

    def reference() -> list[float]:
        with peers.bare_peer("bare-count") as sock:
            sock.sendall(peers.LENGTH.pack(count))
            begin = time.perf_counter()
            for _ in range(count):
                peers.bare_send(sock, MESSAGE)
            sock.recv(1)
            return [count / (time.perf_counter() - begin)]

    def ours() -> list[float]:
        with peers.peer("sink") as channel:
            channel.recv()
            channel.send(count)
            begin = time.perf_counter()
            for _ in range(count):
                channel.send(MESSAGE)
            channel.recv()
            return [count / (time.perf_counter() - begin)]

    mine, theirs = interleaved(3, ours, reference)
    return Row(f"{count:,} small messages one way", mine[0], theirs[0], "1/s", FLOOR, ">= 0.5")


def _memory() -> Row:
    with peers.peer("memory") as channel:
        channel.recv()
        channel.send(numpy.ones(BIG // 8))
        return Row(
            "peak memory of a receiver, 64 MiB array",
            channel.recv() / 2**20,
            BIG / 2**20,
            "MiB",
            "the message",
            "<= 1.1",
        )
