"""The background beat of a program's channels.

Twice a second each channel gets a chance to give a sign of life and to take in what came while nobody was
receiving; every other second, once somebody has been waiting on each of them for long. One thread serves them all;
it starts with the first channel and ends with `close`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from parcs.channel import sockets, waiting


class Keeper:
    """Calls ``beat`` each tick, on a thread of its own, from `start` until `close`.

    ``beat`` gives whether the next one may come after a longer tick (sockets.CALM_TICK_S).
    """

    def __init__(self, beat: Callable[[], bool]) -> None:
        self._beat = beat
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(
                    target=self._run, name=f"{waiting.OWN_THREAD}keeper", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """No beat starts after this."""
        self._over.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def _run(self) -> None:
        is_calm = False
        while not self._over.wait(sockets.CALM_TICK_S if is_calm else sockets.TICK_S):
            is_calm = self._beat()
