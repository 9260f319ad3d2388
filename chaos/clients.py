"""Clients: each a session that submits, looks, waits, lists and cancels, by the client that users have."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from chaos.history import Ended, History, Operation
from parcs import errors
from parcs.client import Hub, calls
from parcs.contract import tasks as contract

_PAUSE_S: Final = 0.15
_KNOWN: Final = 200
_WAIT_S: Final = 3.0
_AT_ONCE: Final = 8
LABEL: Final = "chaos"


class Clients:
    """Some clients, each a thread."""

    def __init__(self, history: History, urls: str, token: str, seed: int, count: int) -> None:
        self._history, self._urls, self._token = history, urls, token
        self._known: deque[int] = deque(maxlen=_KNOWN)
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(i, random.Random(f"{seed} {i}"))) for i in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, when each has ended what it does."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _serve(self, client: int, chance: random.Random) -> None:
        verbs: list[Callable[..., None]] = [self._submit, self._look, self._wait, self._list, self._cancel]
        with Hub(self._urls, self._token) as hub:
            number = 0
            while not self._is_over.is_set():
                number += 1
                (verb,) = chance.choices(verbs, (8, 6, 2, 1, 2))
                verb(hub, client, f"{client}-{number}", chance)
                time.sleep(chance.expovariate(1 / _PAUSE_S))

    def _submit(self, hub: Hub, client: int, name: str, chance: random.Random) -> None:
        seconds = chance.choice((0, 0, 0.1, 0.5, 2))
        script = f"sleep {seconds}; echo $PARCS_TASK $PARCS_ATTEMPT"

        def do() -> dict[str, Any]:
            number = hub.submit(script, name=name, labels={LABEL: "yes"}, timeout_s=60).first
            self._known.append(number)
            return {"task": number}

        self._note(client, "submit", do, name=name)

    def _look(self, hub: Hub, client: int, _: str, chance: random.Random) -> None:
        self._with_task(client, "read", chance, lambda number: _seen([hub.task(number).task]))

    def _wait(self, hub: Hub, client: int, _: str, chance: random.Random) -> None:
        def do(number: int) -> dict[str, Any]:
            return _seen([hub.do(calls.detail(number, _WAIT_S)).task])

        self._with_task(client, "wait", chance, do)

    def _cancel(self, hub: Hub, client: int, _: str, chance: random.Random) -> None:
        self._with_task(client, "cancel", chance, lambda number: {"count": hub.cancel(number)})

    def _list(self, hub: Hub, client: int, _: str, chance: random.Random) -> None:
        query = contract.Query(labels={LABEL: "yes"})
        self._note(client, "list", lambda: _seen(hub.page(query, limit=chance.choice((10, 50))).tasks))

    def _with_task(
        self, client: int, verb: str, chance: random.Random, do: Callable[[int], dict[str, Any]]
    ) -> None:
        known = list(self._known)
        if known:
            number = known[-1 - min(len(known) - 1, int(chance.expovariate(0.1)))]
            self._note(client, verb, lambda: do(number), task=number)

    def _note(self, client: int, verb: str, do: Callable[[], dict[str, Any]], **more: Any) -> None:
        begun = self._history.now()
        try:
            more |= do()
            outcome, why = "ok", ""
        except (errors.HubUnavailableError, errors.DatabaseUnavailableError) as error:
            outcome, why = "unknown", str(error)
        except errors.HubError as error:
            outcome, why = "refused", str(error)
        self._history.add(
            Operation(client, verb, begun, self._history.now(), outcome, why=why, **more)  # type: ignore[arg-type]
        )


def _seen(tasks: Sequence[contract.Task]) -> dict[str, Any]:
    return {"seen": [(task.id, task.attempt, task.state) for task in tasks]}


def ends(hub: Hub) -> list[Ended]:
    """Every task of the clients, as it is now."""
    numbers = [task.id for task in hub.tasks(labels={LABEL: "yes"})]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda number: _ended(hub.task(number)), numbers))


def _ended(detail: contract.TaskDetail) -> Ended:
    attempts = [(each.number, each.state) for each in detail.attempts]
    output = detail.attempts[-1].output.get("stdout", "") if detail.attempts else ""
    now = detail.task
    return Ended(now.id, now.name, now.state, now.attempt, attempts, output)
