"""The slots of an executor, as its agent holds them: processes, each at the other end of a socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from parcs.contract import executor as contract
from parcs.sandbox import slot as protocol

logger = logging.getLogger("parcs.executor")

Said = contract.Progress | contract.Output | contract.Result
_STOP_S = 3.0


class SlotProcess:
    """One slot's process.

    Args:
        number: its place, from 0.
        on_said: is called with the place and what it says.
        on_died: is called with the place when the process has gone unasked.
    """

    def __init__(
        self, number: int, root: Path, on_said: Callable[[int, Said], None], on_died: Callable[[int], None]
    ) -> None:
        self.number, self._root = number, root
        self._on_said, self._on_died = on_said, on_died
        self._is_stopping = False
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._unsaid: list[bytes] = []
        """What it was given before it was there."""
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the process.

        Raises:
            OSError: this machine cannot have one more just now.
        """
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-m", "parcs.sandbox.slot", str(self._root), str(self.number)]
        try:
            self._process = subprocess.Popen(words, stdin=theirs.fileno(), start_new_session=True)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._writer.writelines(self._unsaid)
        self._unsaid.clear()
        self._reading = asyncio.create_task(self._read(reader))

    def run(self, lease: contract.Lease, spec: contract.Spec, archive: str) -> None:
        """Have it run a task, after those that it was given before."""
        self._say(protocol.Run(lease, spec, archive))

    def cancel(self, key: tuple[int, int]) -> None:
        """Have it end a task."""
        self._say(protocol.Cancel(*key))

    async def stop(self) -> None:
        """End the process, and with it its task."""
        self._is_stopping = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, _STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    def _say(self, message: protocol.ToSlot) -> None:
        data = contract.encode(message)
        if self._writer is None:
            self._unsaid.append(protocol.LENGTH.pack(len(data)) + data)
        elif not self._writer.is_closing():  # else its end is about to be noticed, and what it had is told
            self._writer.write(protocol.LENGTH.pack(len(data)) + data)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = protocol.LENGTH.unpack(await reader.readexactly(protocol.LENGTH.size))[0]
                said = protocol.decode(await reader.readexactly(size))
                self._on_said(self.number, said.result if isinstance(said, protocol.SlotResult) else said)
        except (asyncio.IncompleteReadError, OSError) as error:
            logger.debug("slot %d: %s", self.number, error)  # a write to it may have failed first
        except Exception:
            logger.exception("slot %d does not say what it should", self.number)
        if not self._is_stopping:
            if self._process is not None:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
            self._on_died(self.number)
