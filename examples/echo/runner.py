import os

import numpy as np

from parcs.server import Runner, serve


class EchoRunner(Runner):
    """Sends values of every kind to one point, and counts those that come back the same."""

    def run(self):
        same = 0
        array = np.linspace(0, 1, 100_000)
        with self.engine.run("echo") as point:
            for _ in range(int(os.environ["TIMES"])):
                for value in (None, True, 2**100, 0.1, "Привіт", [1, [2]], {"a": {"b": None}}, b"\x00\xff"):
                    point.send(value)
                    same += point.recv() == value
                point.send(array)
                same += np.array_equal(point.recv(), array)
        return same


serve(EchoRunner())
