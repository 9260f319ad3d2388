import os

import numpy as np
from PIL import Image

from parcs import wait_any
from parcs.server import Runner, serve

BAND = 16


class Mandelbrot(Runner):
    """Gives each point a band of rows, and another whenever one comes back; then colours the whole."""

    def run(self):
        width, height, iterations = (int(os.environ[name]) for name in ("WIDTH", "HEIGHT", "ITERATIONS"))
        bands = [(a, min(a + BAND, height)) for a in range(0, height, BAND)]
        points = self.engine.run_all("mandelbrot", min(int(os.environ["P"]), len(bands)))
        left = np.zeros((height, width))
        doing = {}
        for point in points:
            point.send([width, height, iterations])
            doing[point] = bands.pop()
            point.send(doing[point])
        while doing:
            for point in wait_any(list(doing)):
                a, b = doing.pop(point)
                left[a:b] = point.recv()
                if bands:
                    doing[point] = bands.pop()
                    point.send(doing[point])
        Image.fromarray(colour(left)).save(os.environ["OUT"])
        return {"picture": os.environ["OUT"], "inside": float((left == 0).mean())}


def colour(left: np.ndarray) -> np.ndarray:
    """Black inside; outside from deep blue over white to gold, as RGB bytes."""
    phase = np.sqrt(np.maximum(left, 0))[..., None] * 0.55 + np.array([3.6, 3.9, 4.4])
    rgb = 255 * (0.5 + 0.5 * np.cos(phase)) * (left != 0)[..., None]
    return rgb.astype(np.uint8)


serve(Mandelbrot())
