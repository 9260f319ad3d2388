"""A point that divides, echoes, takes, or is a bare socket, as it is told."""

import json
import os
import socket
import struct
import threading

from parcs.channel.sockets import address_towards
from parcs.model import address
from parcs.server import Service, serve

LENGTH = struct.Struct(">Q")


def read_exactly(sock, size):
    data = sock.recv(size)
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def bare(server):
    """The floor: blocking sockets and nothing else, in this very container."""
    while True:
        sock, _ = server.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size, count = LENGTH.unpack(read_exactly(sock, 8))[0], LENGTH.unpack(read_exactly(sock, 8))[0]
        if not size:
            for _ in range(count):
                body = read_exactly(sock, LENGTH.unpack(read_exactly(sock, 8))[0])
                answer = json.dumps(json.loads(body)).encode()
                sock.sendall(LENGTH.pack(len(answer)) + answer)
        else:
            buffer = memoryview(bytearray(size))
            for _ in range(count):
                filled = 0
                while filled < size:
                    filled += sock.recv_into(buffer[filled:])
            sock.sendall(b"x")
        sock.close()


class Bench(Service):
    def run(self):
        while True:
            kind, *values = self.recv()
            if kind == "factor":
                n, a, b = values
                self.send([i for i in range(a, b) if n % i == 0])
            elif kind == "echo":
                for _ in range(values[0]):
                    self.send(self.recv())
            elif kind == "sink":
                for _ in range(values[0]):
                    self.recv()
                self.send("x")
            elif kind == "bare":
                where = address.parse(os.environ["PARCS_ENGINE"])
                server = socket.create_server((address_towards(where.host, where.port), 0))
                threading.Thread(target=bare, args=(server,), name="parcs-bare", daemon=True).start()
                self.send(list(server.getsockname()[:2]))
            elif kind == "end":
                return


serve(Bench())
