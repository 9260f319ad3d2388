"""``python -m chaos --seed 1 --minutes 2``: break everything, and check that nothing was lost. Needs root."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from chaos import checker, database, report
from chaos.clients import Clients, ends
from chaos.history import History, read
from chaos.hosts import Hosts, sweep
from chaos.nemesis import Nemesis
from parcs import errors
from parcs.client import Hub
from parcs.contract import tasks as contract

_RECOVER_S = 180.0
_WELL_S = 3.0


def main() -> int:
    """Run, or check what was kept of a run."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="for the same faults again; random if none is given")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--every", type=float, default=14.0, metavar="SECONDS", help="from fault to fault")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--report", type=Path, metavar="FILE", help="Markdown; the picture goes beside it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where history and logs are left")
    parser.add_argument("--check", type=Path, metavar="HISTORY", help="only check a history that was kept")
    options = parser.parse_args()
    if options.check is not None:
        return _tell(read(options.check), options.report)
    database.check()
    history = run(
        random.randrange(10**6) if options.seed is None else options.seed,
        options.minutes, options.every, options.clients, options.keep,
    )  # fmt: skip
    return _tell(history, options.report)


def run(seed: int, minutes: float, every_s: float, clients: int, keep: Path | None) -> History:
    """Up, harm, heal, look, down."""
    folder = Path(tempfile.mkdtemp(prefix="parcs-chaos-"))
    hosts = Hosts(folder)
    sweep()

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what is up has to come down
        sys.exit(1)

    signal.signal(signal.SIGTERM, stop)
    try:
        print(f"seed {seed}; three hosts come up ...", file=sys.stderr, flush=True)
        hosts.up()
        history = History(facts={
            "seed": seed, "minutes": minutes, "clients": clients,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": f"{os.cpu_count()} processors",
        })  # fmt: skip
        with Hub(hosts.urls, hosts.token, budget_s=60) as hub:
            _wait_for_executors(hub, len(hosts.all))
            done = threading.Event()
            sessions = Clients(history, hosts.urls, hosts.token, seed, clients)
            telling = threading.Thread(target=_progress, args=(history, minutes * 60, done), daemon=True)
            nemesis = Nemesis(hosts, history, seed, lambda: _is_well(history))
            sessions.start()
            telling.start()
            try:
                time.sleep(2)
                nemesis.run(minutes * 60, every_s)
                hosts.heal()
                # A loss may show only after those that were cut off are back.
                time.sleep(min(20.0, minutes * 5))
            finally:
                sessions.stop()
                done.set()
            print("\nhealed; waiting for the last tasks ...", file=sys.stderr, flush=True)
            _wait_for_tasks(hub)
            history.ends = ends(hub)
            time.sleep(5)
            again = ends(hub)
            if again != history.ends:
                raise SystemExit("what was over has changed once more")
        return history
    finally:
        hosts.down()
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(NameError):
                history.write(keep / "history.jsonl")
            shutil.copytree(folder / "logs", keep / "logs", dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _is_well(history: History) -> bool:
    """Whether submissions are acknowledged again."""
    now = history.now()
    recent = [o for o in history.operations[-500:] if o.verb == "submit" and o.outcome == "ok"]
    return bool(recent) and now - recent[-1].ended < _WELL_S


def _wait_for_executors(hub: Hub, count: int) -> None:
    while sum(executor.state == "active" for executor in hub.executors()) < count:
        time.sleep(0.5)


def _wait_for_tasks(hub: Hub) -> None:
    deadline = time.monotonic() + _RECOVER_S
    while time.monotonic() < deadline:
        with contextlib.suppress(errors.HubError):
            counts = hub.wait_some(contract.Query(), 5)
            if not any(counts[state] for state in ("queued", "compiling", "running")):
                return


def _progress(history: History, seconds: float, done: threading.Event) -> None:
    while not done.wait(5):
        acknowledged = sum(o.outcome == "ok" for o in list(history.operations))
        last = history.events[-1].kind if history.events else "nothing yet"
        line = f"{history.now():5.0f} of {seconds:.0f} s, {acknowledged} acknowledged, {len(history.events)} faults"
        print(f"\r{line} (last: {last})          ", end="", file=sys.stderr, flush=True)


def _tell(history: History, file: Path | None) -> int:
    violations = checker.check(history)
    picture = file.with_suffix(".png") if file is not None else None
    said = report.text(history, violations, picture.name if picture else "history.png")
    print(said)
    if file is not None and picture is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said)
        report.draw(history, picture)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
