"""``parcs up`` and ``parcs hub``."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from parcs import errors
from parcs.cli import output, place

if TYPE_CHECKING:
    from parcs.hub.settings import HubSettings
    from parcs.hub.state import Hub

PORT = 7000
DATABASE = "hub.db"
_END_S = 5.0
_DATABASE_S = 10.0
"""For how long a hub that starts waits for its database: they may start together."""

Port = Annotated[
    int, typer.Option("--port", "-p", min=0, max=65535, help="Where to listen; 0 takes a free one.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FOLDER", help="Where to keep the database.", show_default="~/.local/share/parcs"
    ),
]


def up(
    port: Port = PORT,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            "-n",
            min=0,
            help="Tasks at once on this machine; 0 for none.",
            show_default="its processors",
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Start a hub and an executor on this machine: tasks, with nothing else to install. Ctrl-C ends both.

    Where they run already, this prints a new link that logs in to the page.
    """
    try:
        _serve("sqlite", "127.0.0.1", port, data, slots=os.cpu_count() or 1 if slots is None else slots)
    except _RunsAlreadyError as error:
        _print_link(error.folder)


def hub(
    database: Annotated[
        str,
        typer.Option(
            "--database",
            metavar="URL",
            envvar="PARCS_HUB_DATABASE",
            help="sqlite, or postgresql://USER@HOST[,HOST...]/NAME, which several hubs may share. "
            "With a password, not here but in PARCS_HUB_DATABASE, or a file that PARCS_HUB_DATABASE_FILE names.",
        ),
    ] = "",
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 listens to other machines, once there is a token.")
    ] = "127.0.0.1",
    port: Port = PORT,
    data: Data = None,
) -> None:
    """Start a hub alone; executors join it with: parcs executor."""
    from parcs.client.place import from_file

    _serve(database or from_file("PARCS_HUB_DATABASE_FILE") or "sqlite", host, port, data, slots=0)


def hubs(url: place.At = None, as_json: output.AsJson = False) -> None:
    """List the hubs of one database: any of them does for anything."""
    from parcs.cli.tasks import ago

    with place.hub(url) as client:
        found = client.hubs()
    if as_json:
        output.print_json([vars(each) for each in found])
        return
    rows = [(each.id, each.address, each.version, ago(each.started), ago(each.last_seen)) for each in found]
    output.print_table(["id", "address", "version", "since", "seen"], rows)


def _serve(database: str, host: str, port: int, data: Path | None, *, slots: int) -> None:
    for module in ("fastapi", "sqlalchemy", "uvicorn", "argon2"):
        place.need(module, "hub")
    import uvloop

    from parcs.client import place as places
    from parcs.hub import settings
    from parcs.hub.state import Hub

    gc.set_threshold(50_000, 20, 50)  # a large submission has a million objects, and no cycles among them
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("alembic", "httpx", "httpx2", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    folder = data or places.data_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = _database_url(database, folder)
    with lock(folder if database == "sqlite" else None):
        listener = _listen(host, port)
        port = listener.getsockname()[1]
        own_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not bound
        address = f"http://{own_host}:{port}"
        the_hub = _open(Hub, settings.from_environment(os.environ, database=url, host=host, port=port))
        file = folder / places.FILE
        _keep_tokens(the_hub, file, address)
        is_given = _take_tokens(the_hub)
        if not _is_loopback(host) and not is_given and not _has_person(the_hub):
            raise errors.SettingsError(
                f"{host} is open to other machines, and nobody has a token of their own yet; "
                "start the hub on this machine "
                "first (parcs hub), make one (parcs user add NAME, parcs token add), then start it so"
            )
        link = the_hub.access.link("admin")
        print(f"hub: {address}")
        _say_link(the_hub.settings.address or address, link)
        print("try: parcs submit --wait -- echo hello", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(the_hub, listener, address, file, slots))


def _say_link(address: str, link: str) -> None:
    print(f"log in (once, within the hour): {address}/#/login/{link}", flush=True)


def _print_link(folder: Path) -> None:
    """For a hub of this user that runs: whoever may write its database may log in."""
    from parcs.client import place as places
    from parcs.hub.services.access import Access
    from parcs.hub.store.database import Database

    kept = places.read(folder / places.FILE)
    if kept is None:
        raise _RunsAlreadyError(folder)
    database = Database(_database_url("sqlite", folder))
    try:
        print(f"a hub runs already: {kept.urls[0]}")
        _say_link(kept.urls[0], Access(database, time.time).link("admin"))
    finally:
        database.close()


async def _run(the_hub: Hub, listener: socket.socket, address: str, file: Path, slots: int) -> None:
    from parcs.hub import app

    server = app.server(the_hub)
    child: subprocess.Popen[bytes] | None = None
    loop, is_stopping = asyncio.get_running_loop(), False

    def end(sign: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(the_hub.closing.set)
        uvicorn_ends(sign, frame)

    uvicorn_ends = server.handle_exit

    def stop(sign: int, frame: FrameType | None) -> None:
        """The executor first: it says goodbye to a hub that still hears it."""
        nonlocal is_stopping
        if child is None or child.poll() is not None or is_stopping:
            end(sign, frame)
            return
        is_stopping = True
        child.send_signal(signal.SIGINT)
        threading.Thread(target=end_after, args=(child, sign), daemon=True).start()

    def end_after(child: subprocess.Popen[bytes], sign: int) -> None:
        _wait(child)
        end(sign, None)

    server.handle_exit = stop  # type: ignore[method-assign, assignment]  # uvicorn has no other way in
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if slots and not serving.done():
            words = [sys.executable, "-m", "parcs", "executor", "--hub", address, "--slots", str(slots)]
            child = subprocess.Popen(
                [*words, "--token-file", str(file.with_name("executor.token")), "--end-with-parent"],
                start_new_session=True,
            )
        await serving
    finally:
        if child is not None:
            child.send_signal(signal.SIGINT)
            await asyncio.to_thread(_wait, child)


def _wait(child: subprocess.Popen[bytes]) -> None:
    """Until it has ended, but not for long."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_END_S)
    child.kill()
    child.wait()


def _open(make: Callable[[HubSettings], Hub], given: HubSettings) -> Hub:
    """The hub with its database, or why not."""
    import alembic.util
    import sqlalchemy as sa

    from parcs.hub.store.database import translated

    until = time.monotonic() + (0 if given.database.startswith("sqlite:") else _DATABASE_S)
    try:
        while True:
            try:
                return make(given)
            except (sa.exc.SQLAlchemyError, errors.DatabaseUnavailableError) as error:
                meaning = translated(error)
                if time.monotonic() > until or not isinstance(meaning, errors.DatabaseUnavailableError):
                    raise meaning from error
                logging.getLogger("parcs.hub").warning("%s; trying again", meaning)
                time.sleep(1)
    except alembic.util.CommandError as error:
        raise errors.SettingsError(f"this database is of a later version of PARCS: {error}") from error


def _keep_tokens(the_hub: Hub, file: Path, address: str) -> None:
    """The tokens of this machine's own command line and executor, kept in files of this user.

    Made once, and again where the database is another one than it was.
    """
    from parcs.client import place as places

    secret = the_hub.access.set_up()
    kept = places.read(file) if file.exists() else None
    if secret is None and (kept is None or not the_hub.access.is_known(kept.token)):
        secret = the_hub.access.make_now("this machine", "api")
    token = secret or (kept.token if kept else "")
    places.write(file, places.Place((address,), token))
    executor = file.with_name("executor.token")
    if not (executor.exists() and the_hub.access.is_known(executor.read_text().strip())):
        descriptor = os.open(executor, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as target:
            target.write(the_hub.access.make_now("this machine's executor", "executor"))


def _take_tokens(the_hub: Hub) -> bool:
    """Tokens that were made elsewhere, for hubs deployed together; False if there is none of an admin."""
    from parcs.client.place import from_file

    admin = from_file("PARCS_HUB_ADMIN_TOKEN_FILE")
    for secret, name, kind in (
        (admin, "deployed with the hub", "api"),
        (from_file("PARCS_HUB_EXECUTOR_TOKEN_FILE"), "deployed executors", "executor"),
    ):
        if secret:
            the_hub.access.take_now(secret, name, kind)
    return bool(admin)


def _has_person(the_hub: Hub) -> bool:
    """Whether somebody made a token: more than what this machine has for itself."""
    from parcs.hub.store import people

    return the_hub.database.run_now(
        lambda c: any(not t.name.startswith("this machine") for t in people.tokens(c, None))
    )


def _database_url(database: str, folder: Path) -> str:
    if database == "sqlite":
        return f"sqlite:///{folder / DATABASE}"
    if database.startswith("sqlite:"):
        return database
    if database.startswith(("postgresql://", "postgres://")):
        place.need("psycopg", "postgresql")
        return database
    raise errors.SettingsError(f"{database!r} is no database; for example postgresql://user@host/name")


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off for sockets that say they are TCP, which create_server's do not.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        return listener
    except OSError as error:
        listener.close()
        raise errors.SettingsError(
            f"cannot listen at {host}:{port}: {error.strerror}; choose another: --port"
        ) from error


class _RunsAlreadyError(errors.SettingsError):
    """A hub of this folder runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"a hub runs already with {folder}; another needs another folder: --data")
        self.folder = folder


@contextlib.contextmanager
def lock(folder: Path | None) -> Iterator[None]:
    """One hub for one folder."""
    if folder is None:
        yield
        return
    import fcntl

    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _RunsAlreadyError(folder) from None
        yield
