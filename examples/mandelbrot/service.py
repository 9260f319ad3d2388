import numpy as np

from parcs.errors import EndOfChannelError
from parcs.server import Service, serve


def escape(c: np.ndarray, iterations: int) -> np.ndarray:
    """How fast z = z^2 + c leaves, smoothed to a fraction of a step; 0 where it never does."""
    z = np.zeros_like(c)
    left = np.zeros(c.shape)
    inside = np.ones(c.shape, dtype=bool)
    for i in range(iterations):
        z[inside] = z[inside] ** 2 + c[inside]
        out = inside & (np.abs(z) > 16)
        left[out] = i + 1 - np.log2(np.log2(np.abs(z[out])))
        inside &= ~out
    return left


class Painter(Service):
    """Computes bands of rows until its creator has no more."""

    def run(self):
        width, height, iterations = self.recv()
        x = np.linspace(-2.2, 0.8, width)
        y = np.linspace(-1.0, 1.0, height)
        try:
            while True:
                a, b = self.recv()
                self.send(escape(x[None, :] + 1j * y[a:b, None], iterations))
        except EndOfChannelError:
            return


serve(Painter())
