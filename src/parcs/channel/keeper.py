"""The background beat of a program's channels.

Twice a second each channel gets a chance to give a sign of life and to take in what came while nobody was
receiving. One thread serves them all; it starts with the first channel and ends with `close`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from parcs.channel import sockets, waiting


class Keeper:
    """Calls ``beat`` each tick, on a thread of its own, from `start` until `close`."""

    def __init__(self, beat: Callable[[], None]) -> None:
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
        while not self._over.wait(sockets.TICK_S):
            self._beat()
