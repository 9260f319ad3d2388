"""Who runs what: where ready tasks, executors with free slots, and cancels meet.

A session is one executor's connection to this hub. All that matters is in the database; what is here is who is
connected and how much more each would take. So hubs need not know of each other: each gives tasks to its own
executors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from parcs import errors
from parcs.contract import executor as wire
from parcs.hub.services import checks
from parcs.hub.services.changes import Changes, News
from parcs.hub.settings import HubSettings
from parcs.hub.store import executors, leases, specs
from parcs.hub.store.database import Database
from parcs.hub.store.executors import Beat
from parcs.hub.store.statements import Change
from parcs.model.demand import Demand, Offer, objection
from parcs.model.task import TaskState
from parcs.version import VERSION

logger = logging.getLogger("parcs.hub")

NET_S: Final = 1.0
"""How often to look, whatever the news: another hub's work, and news that were missed."""
_GATHER_S: Final = 0.01
_GATHER_EACH_S: Final = 2e-6
"""Results wait so long for others, for each connected executor: 20 hardly notice it, and of 3,000 a commit is for
several, at a fraction of the statements a task."""
_SHORTEST_S: Final = 0.0002
_MOST: Final = 1000
"""Tasks that an executor is given at once."""
_TOLD: Final = 4000
"""Specs that an executor is taken to know; it keeps several times as many."""
_decode_spec = msgspec.msgpack.Decoder(wire.Spec).decode


class Session:
    """One executor's connection.

    Args:
        send: puts a message on its way.
    """

    def __init__(self, hello: wire.Hello, token: int, send: Callable[[wire.FromHub], None]) -> None:
        self.id, self.name, self.send, self.token = hello.id, hello.name, send, token
        self.number = 0
        """In the database: as long as it is the executor's last one, tasks can be given to it."""
        self.slots = hello.slots
        self.offer = Offer(tuple(hello.offer.levels), dict(hello.offer.labels), hello.offer.memory)
        self.more = 0
        """How many more tasks it would take, all that it was sent counted."""
        self.reserved = 0
        """So many of them some transaction just now gives tasks to."""
        self.sent = 0
        self.state = "active"
        self.told: set[int] = set()
        self.fits: dict[int, bool] = {}
        self.close: Callable[[], None] = lambda: None

    def free(self) -> int:
        """How many tasks can be given to it now."""
        return min(self.more - self.reserved, _MOST) if self.state == "active" else 0

    def wants(self, message: wire.Results | wire.Ready) -> None:
        """It has said how many more it would take; what was on its way to it then, it did not know of."""
        unseen = 0 if message.seen is None else self.sent - message.seen
        self.more = max(0, message.more - unseen)


class Arrived(NamedTuple):
    """Results that are to be committed."""

    session: Session
    message: wire.Results
    is_committed: asyncio.Future[None]


class Reserved(NamedTuple):
    """Free slots of a session, and the demands that it meets."""

    session: Session
    slots: int
    demands: list[int]


Given = list[tuple[Session, list[leases.Leased]]]
"""Which tasks were given to whom."""


class Dispatch:
    """Every session of this hub, and the loops that serve them."""

    def __init__(
        self, database: Database, changes: Changes, settings: HubSettings, clock: Callable[[], float]
    ) -> None:
        self._database, self._changes, self._settings, self._clock = database, changes, settings, clock
        self._sessions: dict[str, Session] = {}
        self._free: dict[str, Session] = {}
        self._arrived: list[Arrived] = []
        self._is_finishing = asyncio.Lock()
        self._demands: dict[int, Demand] = {}
        self.numbers: dict[str, int] = {}
        """The numbers of demands, by their content."""
        self._specs: dict[int, wire.Spec] = {}
        self._learnt_at = 0.0
        self._is_wanted = asyncio.Event()
        self.beats: dict[str, Beat] = {}
        """Signs of life that are to be written."""

    def sessions(self) -> list[Session]:
        """The executors that are connected here."""
        return list(self._sessions.values())

    def fits_here(self, demand: Demand) -> bool:
        """Whether an executor of this hub could run such a task."""
        return any(s.state == "active" and not objection(demand, s.offer) for s in self._sessions.values())

    def wake(self) -> None:
        """Something may be ready to run."""
        self._is_wanted.set()

    async def know(self, bodies: Iterable[str]) -> None:
        """There are tasks with these demands."""
        if not set(bodies) <= self.numbers.keys():
            await self._learn_demands()

    def publish(self, changed: Sequence[Change]) -> None:
        """Tell who watches, and go on with what follows from it."""
        self._changes.publish([News("task", c.task, c.state) for c in changed])
        if any(c.state == "queued" for c in changed):
            self.wake()

    async def open(self, hello: wire.Hello, token: int, send: Callable[[wire.FromHub], None]) -> Session:
        """An executor has come.

        Raises:
            ConflictError: it speaks another protocol.
        """
        if hello.protocol != wire.PROTOCOL:
            raise errors.ConflictError(
                f"this hub ({VERSION}) speaks protocol {wire.PROTOCOL}, "
                f"the executor ({hello.version}) {hello.protocol}; "
                "install the same version of PARCS on both"
            )
        session = Session(hello, token, send)
        now = self._clock()
        claimed = {(task, attempt) for task, attempt in hello.held}

        def work(connection: sa.Connection) -> tuple[str, int, list[tuple[int, int]], list[Change]]:
            state, number = executors.register(connection, hello, token, now, now + self._settings.lease_s)
            own = leases.held(connection, hello.id)
            missing = sorted(own - claimed)  # given out, and never arrived
            return state, number, sorted(claimed - own), leases.give_back(connection, hello.id, missing, now)

        session.state, session.number, dropped, changed = await self._database.write(work)
        before = self._sessions.get(hello.id)
        self._sessions[hello.id] = session
        self._free.pop(hello.id, None)
        if before is not None:
            before.state = "gone"
            before.close()
        send(wire.Welcome(wire.PROTOCOL, VERSION, self._settings.heartbeat_s, dropped))
        self.publish(changed)
        self._changes.publish([News("executor", hello.id, session.state)])
        logger.info("executor %s (%s) is connected: %d slots", hello.name, hello.id, hello.slots)
        return session

    async def close(self, session: Session, *, is_leaving: bool) -> None:
        """A connection has ended; the executor may come back, unless it said that it leaves."""
        session.state = "gone"
        if self._sessions.get(session.id) is not session:
            return
        del self._sessions[session.id]
        self._free.pop(session.id, None)
        logger.info(
            "executor %s (%s) is %s", session.name, session.id, "gone" if is_leaving else "not connected"
        )
        if is_leaving:
            now = self._clock()

            def work(connection: sa.Connection) -> list[Change]:
                executors.leave(connection, session.id)
                missed = sorted(leases.held(connection, session.id))  # on their way to it when it left
                return leases.give_back(connection, session.id, missed, now)

            self.publish(await self._database.write(work))
            self._changes.publish([News("executor", session.id, "gone")])

    async def take(self, session: Session, message: wire.ToHub) -> None:
        """What an executor says."""
        now = self._clock()
        if isinstance(message, wire.Results):
            await self._finish(session, message)
        elif isinstance(message, wire.Ready):
            before = session.more
            session.wants(message)
            self.note(session)
            if session.more > before:  # else whatever became ready has been offered to it already
                self.wake()
        elif isinstance(message, wire.Beat):
            self.beats[session.id] = Beat(
                session.id, min(max(message.busy, 0), session.slots),
                message.cpu_percent if 0 <= message.cpu_percent < 1e6 else 0.0,
                min(max(message.memory_used, 0), 1 << 60),
            )  # fmt: skip
        elif isinstance(message, wire.Progress):
            key = (message.task, message.attempt)
            self.publish(await self._database.write(lambda c: leases.progress(c, session.id, [key])))
        elif isinstance(message, wire.Output):
            await self._database.write(lambda c: leases.put_output(c, session.id, [message]))
            self._changes.publish([News("task", message.task, "output")])
        elif isinstance(message, wire.Returned):
            keys = message.attempts
            self.publish(await self._database.write(lambda c: leases.give_back(c, session.id, keys, now)))

    async def _finish(self, session: Session, message: wire.Results) -> None:
        """Commit results. All that come while a commit is under way, of whichever executor, share the next one."""
        mine = Arrived(session, message, asyncio.get_running_loop().create_future())
        self._arrived.append(mine)
        async with self._is_finishing:
            # Those of before come first, and may be all that one commit has.
            while not mine.is_committed.done():
                if (gather_s := min(_GATHER_S, _GATHER_EACH_S * len(self._sessions))) > _SHORTEST_S:
                    await asyncio.sleep(gather_s)
                batch = self._take_arrived()
                try:
                    await self._commit(batch)
                except BaseException as error:
                    said = str(error) if isinstance(error, Exception) else "the hub was interrupted"
                    for each in batch:
                        if each is not mine and not each.is_committed.done():
                            each.is_committed.set_exception(errors.DatabaseUnavailableError(said))
                            each.is_committed.exception()  # who waited for it may be gone
                    raise
                for each in batch:
                    if not each.is_committed.done():  # its connection may have ended meanwhile
                        each.is_committed.set_result(None)
        await mine.is_committed

    async def _commit_apart(self, batch: Sequence[Arrived]) -> None:
        """What the database does not take even by itself has failed: else it would come again for ever."""
        for session, message, _ in batch:
            for result in message.results:
                try:
                    changed = await self._keep_result(session, result)
                except errors.DatabaseUnavailableError:
                    raise
                except Exception as error:
                    logger.exception("task %d's result cannot be kept", result.task)
                    reason = (str(error).splitlines() or [""])[0].replace("\0", "")
                    why = f"its result cannot be kept: {type(error).__name__}: {reason}"
                    failed = wire.Result(
                        result.task, result.attempt, TaskState.FAILED, why, took_s=result.took_s
                    )
                    changed = await self._keep_result(session, failed)
                self.publish(changed)
            session.send(wire.Ack([(r.task, r.attempt) for r in message.results]))
            session.wants(message)
            self.note(session)
        self.wake()

    async def _keep_result(self, session: Session, result: wire.Result) -> list[Change]:
        now = self._clock()
        return await self._database.write(lambda c: leases.finish(c, [(session.id, result)], now))

    def _take_arrived(self) -> list[Arrived]:
        """As many as one transaction is to have, at least one: a large one takes so long that it looks stuck."""
        count = size = 0
        while count < len(self._arrived) and count < _MOST and size < wire.BATCH_BYTES:
            size += sum(result.size() for result in self._arrived[count].message.results)
            count += 1
        batch, self._arrived = self._arrived[:count], self._arrived[count:]
        return batch

    async def _commit(self, batch: Sequence[Arrived]) -> None:
        try:
            await self._commit_whole(batch)
        except errors.DatabaseUnavailableError:
            raise
        except Exception:
            logger.exception("a batch of results was not taken; each is tried by itself")
            await self._commit_apart(batch)

    async def _commit_whole(self, batch: Sequence[Arrived]) -> None:
        """Results, and in the same transaction the next tasks for who sent them."""
        now = self._clock()
        sessions = list({each.session: None for each in batch})
        ended = [(each.session.id, result) for each in batch for result in each.message.results]
        for each in batch:
            each.session.wants(each.message)
        reserved = self._reserve(sessions, _MOST)

        def work(connection: sa.Connection) -> tuple[list[Change], Given]:
            connected = self.connected(connection, reserved)
            changed = leases.finish(connection, ended, now)
            return changed, self.give(connection, connected)

        async with self.giving(reserved) as given:
            changed, given[:] = await self._database.write(work)
            for each in batch:
                each.session.send(wire.Ack([(r.task, r.attempt) for r in each.message.results]))
        self.publish(changed)

    async def serve(self) -> None:
        """Give out ready tasks, for ever."""
        while True:
            is_net = False
            try:
                await asyncio.wait_for(self._is_wanted.wait(), NET_S)
            except TimeoutError:
                is_net = True
            self._is_wanted.clear()
            try:
                await self._give_out(is_net=is_net)
            except errors.DatabaseUnavailableError as error:
                logger.warning("%s", error)
                await asyncio.sleep(NET_S)

    async def _give_out(self, *, is_net: bool) -> None:
        """Give ready tasks to executors with free slots. Without news (``is_net``) it looks before it writes."""
        if not self._free:
            return
        # Another hub's tasks may demand something new, however busy this one is.
        if is_net or time.monotonic() - self._learnt_at > NET_S:
            await self._learn_demands()
        if is_net and not await self._database.glance(
            lambda c: specs.waiting_demands(c, list(self._demands))
        ):
            return
        reserved = self.reserve(_MOST)
        async with self.giving(reserved) as given:
            given[:] = await self._database.write(lambda c: self.give(c, self.connected(c, reserved)))

    def reserve(self, most: int, executors: int | None = None) -> list[Reserved]:
        """Free slots, at most so many in each executor: nobody else gives them out until `giving` is over.

        Args:
            executors: how many executors to ask at most; None for all.
        """
        sessions = list(self._free.values())
        begin = random.randrange(len(sessions) or 1)  # noqa: S311  # fairness, no secret
        return self._reserve((sessions[begin:] + sessions[:begin])[:executors], most)

    def _reserve(self, sessions: Iterable[Session], most: int) -> list[Reserved]:
        reserved = [Reserved(s, min(most, s.free()), self._demands_of(s)) for s in sessions if s.free() > 0]
        for session, count, _ in reserved:
            session.reserved += count
            self.note(session)
        return reserved

    def note(self, session: Session) -> None:
        """How much it would take has changed."""
        if self._sessions.get(session.id) is not session:
            return
        if session.free() > 0:
            self._free[session.id] = session
        else:
            self._free.pop(session.id, None)

    def connected(self, connection: sa.Connection, reserved: Sequence[Reserved]) -> list[Reserved]:
        """Those whose executors are still connected here: the first part of a transaction that gives tasks.

        An executor that has come back meanwhile, here or at another hub, has been told what is its own. What it
        were given after that through its old session would never arrive, and be its own for ever.
        """
        held = executors.hold_sessions(
            connection, {each.session.id: each.session.number for each in reserved}
        )
        return [each for each in reserved if each.session.id in held]

    def give(self, connection: sa.Connection, reserved: Sequence[Reserved]) -> Given:
        """Give ready tasks to reserved slots of the `connected`: the last part of a transaction."""
        now = self._clock()
        waiting = {demand for each in reserved for demand in each.demands}
        if len(reserved) > 1:  # one executor's own question tells as much
            waiting = specs.waiting_demands(connection, waiting)
        alike: dict[tuple[int, ...], list[Reserved]] = {}
        for each in reserved:
            alike.setdefault(tuple(each.demands), []).append(each)
        given: Given = []
        for demands, some in alike.items():
            if not (fitting := [demand for demand in demands if demand in waiting]):
                continue
            wanted = [leases.Wanted(each.session.id, each.session.name, each.slots) for each in some]
            leased = leases.lease(connection, wanted, fitting, now)
            if sum(map(len, leased)) < sum(each.slots for each in some):
                waiting -= set(fitting)  # these took all that there was of them
            given += [(each.session, its) for each, its in zip(some, leased, strict=True) if its]
        return given

    @contextlib.asynccontextmanager
    async def giving(self, reserved: Sequence[Reserved]) -> AsyncIterator[Given]:
        """Around a transaction that gives tasks: what was given, to be filled when it is committed, is sent then;
        what was not needed of the reserved slots is free again.

        Where it does not come to an end, nobody knows what was given. So those executors have to come again:
        that finds it out.
        """
        given: Given = []
        try:
            yield given
        except (errors.DatabaseUnavailableError, asyncio.CancelledError):
            for each in reserved:
                each.session.close()
            raise
        finally:
            for session, leased in given:
                session.more -= len(leased)
                session.sent += len(leased)
            for session, count, _ in reserved:
                session.reserved -= count
                self.note(session)
        untold = [session for session, _ in given]
        try:
            for session, leased in given:
                await self._tell(session, leased)
                untold.remove(session)
        except errors.DatabaseUnavailableError as error:
            logger.warning("executors have to come again for their tasks: %s", error)
        finally:
            for session in untold:
                session.close()

    async def _tell(self, session: Session, leased: Sequence[leases.Leased]) -> None:
        if len(session.told) > _TOLD:
            session.told.clear()
        specs = await self._specs_of({each.spec for each in leased} - session.told)
        session.told |= specs.keys()
        leases = [wire.Lease(each.id, each.attempt, each.spec, each.parameters) for each in leased]
        session.send(wire.Leases(leases, specs))
        self._changes.publish([News("task", each.id, each.state) for each in leased])

    async def _specs_of(self, numbers: set[int]) -> dict[int, wire.Spec]:
        found = {number: self._specs[number] for number in numbers & self._specs.keys()}
        if missing := numbers - found.keys():
            bodies = await self._database.read(lambda c: specs.spec_bodies(c, missing))
            if not missing <= bodies.keys():
                raise errors.DatabaseUnavailableError("the database does not have what its tasks are to do")
            found |= {number: _decode_spec(body) for number, body in bodies.items()}
            if len(self._specs) > _TOLD:
                self._specs.clear()
            self._specs |= found
        return found

    def _demands_of(self, session: Session) -> list[int]:
        for number in self._demands.keys() - session.fits.keys():
            session.fits[number] = not objection(self._demands[number], session.offer)
        return [number for number, does in session.fits.items() if does]

    async def _learn_demands(self) -> None:
        self._learnt_at = time.monotonic()
        bodies = await self._database.glance(specs.demand_bodies)
        for number in bodies.keys() - self._demands.keys():
            self._demands[number] = checks.demand_from_json(bodies[number])
            self.numbers[bodies[number]] = number

    async def push_cancels(self) -> None:
        """Tell this hub's executors what is to be ended."""
        if self._sessions:
            found = await self._database.glance(leases.to_cancel)
            for executor, keys in found.items():
                if (session := self._sessions.get(executor)) is not None:
                    session.send(wire.Cancel(keys))
