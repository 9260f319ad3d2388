"""``parcs submit``, ``tasks``, ``task``, ``explain``, ``cancel``, ``rerun``, ``get``, ``wait``: a hub's tasks."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcs import errors
from parcs.cli import output, place
from parcs.cli.executor import pairs

if TYPE_CHECKING:
    from parcs.client import Hub
    from parcs.contract.tasks import Task, TaskDetail

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="The task's number.")]
States = Annotated[
    list[str] | None, typer.Option("--state", "-s", help="queued, running, failed, ...; may be repeated.")
]
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="May be repeated.")
]
_DONE = ("succeeded", "failed", "compile_failed", "timed_out", "cancelled", "lost")


def submit(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND...", help="What to run; one word with spaces is the shell's."),
    ] = None,
    compile_command: Annotated[
        str | None, typer.Option("--compile", help="A step before, in the same folder.")
    ] = None,
    compile_timeout: Annotated[float, typer.Option("--compile-timeout", metavar="SECONDS")] = 60.0,
    stdin: Annotated[
        str | None, typer.Option("--stdin", help="A text; @FILE is a file's, - this command's own.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", "-f", help="A file or folder to have there, or a zip or tar; may be repeated."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", "-t", metavar="SECONDS", help="0 is none.")
    ] = 3600.0,
    memory: Annotated[str | None, typer.Option("--memory", "-m", help="At most, as 512M or 2G.")] = None,
    cpu: Annotated[
        float | None, typer.Option("--cpu", metavar="SECONDS", help="At most of CPU time.")
    ] = None,
    processes: Annotated[int | None, typer.Option("--processes", help="At most at once.")] = None,
    no_network: Annotated[bool, typer.Option("--no-network", help="It must not reach any.")] = False,
    isolation: Annotated[
        str | None, typer.Option("--isolation", help="process, bubblewrap or docker.")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="For docker.")] = None,
    environment: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What to call it.")] = "",
    labels: LabelOption = None,
    priority: Annotated[int, typer.Option("--priority", help="Higher first.")] = 0,
    retries: Annotated[int, typer.Option("--retries", help="Run it again, so often, if it fails.")] = 0,
    after: Annotated[
        list[int] | None, typer.Option("--after", metavar="ID", help="Not before that one succeeded.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="A label that the executor must have."),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", "-o", metavar="PATTERN", help="Files to keep, as '*.png'.")
    ] = None,
    expected: Annotated[
        str | None, typer.Option("--expected", help="What it should print; @FILE is a file's text.")
    ] = None,
    array: Annotated[
        Path | None,
        typer.Option(
            "--array", metavar="CSV", help="One task a line; {column} stands for a value in the command."
        ),
    ] = None,
    is_waiting: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait, print its output, end as it does.")
    ] = False,
    url: place.At = None,
    as_json: output.AsJson = False,
) -> None:
    """Submit a task. For example: parcs submit --compile "g++ -o main main.cpp" -f main.cpp -- ./main"""
    from parcs.contract import tasks as contract

    if not command:
        raise errors.InvalidRequestError("what is to be run? For example: parcs submit -- echo hello")
    limits: dict[str, Any] = {
        "cpu_s": cpu,
        "memory": _bytes(memory),
        "network": False if no_network else None,
    }
    if processes is not None:
        limits["processes"] = processes
    words: str | list[str] = command[0] if len(command) == 1 and " " in command[0] else command
    request: dict[str, Any] = {
        "command": words, "name": name, "stdin": _text(stdin) or "", "timeout_s": timeout or None,
        "expected": _text(expected), "limits": contract.Limits(**limits), "environment": pairs(environment),
        "labels": pairs(labels), "priority": priority, "retries": retries, "after": after or [],
        "outputs": outputs or [], "isolation": isolation, "image": image, "where": pairs(where),
        "compile": None if compile_command is None else contract.Compile(compile_command, compile_timeout),
        "array": None if array is None else _rows(array),
    }  # fmt: skip
    packed = _archive(files or [])
    with place.hub(url) as hub:
        if packed is not None:
            request["archive"] = hub.upload(packed).digest
        done = hub.submit_all([contract.TaskRequest(**request)])
        if not is_waiting:
            if as_json:
                output.print_json(vars(done))
            elif done.count == 1:
                print(done.first)
            else:
                print(f"{done.first}..{done.first + done.count - 1}")
            if done.why:
                print(f"it waits: {done.why}", file=sys.stderr)
            return
        if done.why:
            print(f"it waits: {done.why}", file=sys.stderr)
        if done.count > 1:
            raise typer.Exit(_wait_for(hub, {"array": done.first}, as_json=as_json))
        raise typer.Exit(_attend(hub, done.first, as_json=as_json))


def list_tasks(
    states: States = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of that name.")] = None,
    labels: LabelOption = None,
    text: Annotated[str | None, typer.Option("--text", help="In the name or the command.")] = None,
    array: Annotated[int | None, typer.Option("--array", metavar="ID", help="Of that array.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    url: place.At = None,
    as_json: output.AsJson = False,
) -> None:
    """List tasks, the newest first, and how many there are in each state."""
    import itertools

    query: dict[str, Any] = {
        "states": states or [], "user": user, "name": name, "labels": pairs(labels), "text": text, "array": array
    }  # fmt: skip
    with place.hub(url) as hub:
        found = list(itertools.islice(hub.tasks(order="asc" if oldest else "desc", **query), limit))
        if as_json:
            output.print_json([vars(task) for task in found])
            return
        counts = hub.counts(**query)
    if not found:
        print(
            "no tasks; submit one: parcs submit -- echo hello" if not any(query.values()) else "no such tasks"
        )
        return
    rows = [
        (
            task.id,
            _coloured(task.state),
            f"{task.name or output_of(task.command, 40)}  {output_of(_values(task), 30)}".rstrip(),
            task.user,
            ago(task.created),
            _took(task),
            output_of(task.why, 50),
        )
        for task in found
    ]
    output.print_table(["id", "state", "what", "user", "submitted", "took", "why"], rows)
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count))


def task(number: Number, url: place.At = None, as_json: output.AsJson = False) -> None:
    """Show a task: how it was asked for, each attempt, and what it wrote."""
    import msgspec

    with place.hub(url) as hub:
        detail = hub.task(number)
        if as_json:
            output.print_json(msgspec.to_builtins(detail))
            return
        why = hub.explain(number)
    _print_detail(detail, why)


def explain(number: Number, url: place.At = None) -> None:
    """Say why a task waits, or why it ended."""
    with place.hub(url) as hub:
        detail = hub.task(number)
        print(f"task {number} is {detail.task.state}: {hub.explain(number)}")


def cancel(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="ID...", min=1)] = None,
    labels: LabelOption = None,
    array: Annotated[int | None, typer.Option("--array", metavar="ID", help="All of that array.")] = None,
    url: place.At = None,
) -> None:
    """Cancel tasks: those that wait at once, those that run within two seconds."""
    if not numbers and not labels and array is None:
        raise errors.InvalidRequestError("which tasks? parcs cancel ID..., --label NAME=VALUE, or --array ID")
    with place.hub(url) as hub:
        if numbers:
            for number in numbers:
                hub.task(number)  # one that is not there is said to be so
        count = hub.cancel(*(numbers or []), labels=pairs(labels), array=array)
    print(f"{count} cancelled" if count else "nothing to cancel: they are over")


def rerun(number: Number, url: place.At = None) -> None:
    """Submit the same task once more."""
    with place.hub(url) as hub:
        print(hub.rerun(number).first)


def get(
    number: Number,
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to put it.")] = Path(
        "."
    ),
    attempt: Annotated[int, typer.Option("--attempt", help="0 is the last.")] = 0,
    url: place.At = None,
) -> None:
    """Fetch all that a task wrote: its streams as files, and the files that it kept."""
    with place.hub(url) as hub:
        detail = hub.task(number)
        attempts = [a for a in detail.attempts if attempt in (0, a.number)]
        if not attempts:
            raise errors.NotFoundError(f"task {number} has no attempt {attempt or ''} yet")
        last = attempts[-1]
        folder.mkdir(parents=True, exist_ok=True)
        from parcs import archive

        for name, size in last.sizes.items():
            path = archive.checked_path(
                name.removeprefix("file/") if name.startswith("file/") else f"{name}.txt"
            )
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(hub.data(number, name, last.number))
            print(f"{target} ({size} bytes)")
    if not last.sizes:
        print("it wrote nothing", file=sys.stderr)


def wait(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="ID...", min=1)] = None,
    labels: LabelOption = None,
    array: Annotated[int | None, typer.Option("--array", metavar="ID", help="All of that array.")] = None,
    url: place.At = None,
    as_json: output.AsJson = False,
) -> None:
    """Wait until tasks are over; ends with 0 if all succeeded, else 1."""
    query: dict[str, Any] = {"ids": numbers or [], "labels": pairs(labels), "array": array}
    if not any(query.values()):
        raise errors.InvalidRequestError(
            "for which tasks? parcs wait ID..., --label NAME=VALUE, or --array ID"
        )
    with place.hub(url) as hub:
        raise typer.Exit(_wait_for(hub, query, as_json=as_json))


def follow(number: int, url: str | None, *, is_following: bool) -> None:
    """A task's output, for ``parcs logs``."""
    with place.hub(url) as hub:
        if is_following:
            _print_live(hub, number)
            return
        for stream in ("compile_stdout", "compile_stderr", "stdout", "stderr"):
            target = sys.stderr if stream.endswith("stderr") else sys.stdout
            target.write(hub.output(number, stream))


def ago(at: float) -> str:
    """A time as people say it."""
    seconds = max(0.0, time.time() - at)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now" if seconds < 2 else f"{seconds:.0f} s ago"


def _attend(hub: Hub, number: int, *, as_json: bool) -> int:
    """Wait for one task as if it ran here: its output, and its exit code."""
    import msgspec

    try:
        if not as_json:
            _print_live(hub, number)
        detail = hub.wait(number)
    except KeyboardInterrupt:
        hub.cancel(number)
        print(f"task {number} is cancelled", file=sys.stderr)
        return 130
    if as_json:
        output.print_json(msgspec.to_builtins(detail))
    task = detail.task
    if task.state != "succeeded" or task.matched is False:
        print(f"task {number} {task.state}: {task.why}", file=sys.stderr)
    if task.state == "succeeded":
        return 0 if task.matched is not False else 1
    return task.exit_code or (128 + task.signal if task.signal else 1)


def _print_live(hub: Hub, number: int) -> None:
    for piece in hub.follow(number):
        if piece.stream != "state":
            target = sys.stderr if piece.stream.endswith("stderr") else sys.stdout
            target.write(piece.text)
            target.flush()


def _wait_for(hub: Hub, query: dict[str, Any], *, as_json: bool) -> int:
    """A progress bar until all are over; 0 if all succeeded."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from parcs.contract.tasks import Query

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    asked = Query(**query)
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json) as progress:
            bar = progress.add_task("tasks", total=None)
            while True:
                counts = hub.wait_some(asked, 0.5)
                total, done = sum(counts.values()), sum(counts[state] for state in _DONE)
                bad = total and done - counts["succeeded"]
                words = f"{counts['running'] + counts['compiling']} running" + (
                    f", {bad} not well" if bad else ""
                )
                progress.update(bar, total=total, completed=done, description=words)
                if done == total:
                    break
    except KeyboardInterrupt:
        print("the tasks go on; wait again with: parcs wait", file=sys.stderr)
        return 130
    if not total:
        raise errors.NotFoundError("there are no such tasks")
    if as_json:
        output.print_json(counts)
    else:
        print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return 0 if counts["succeeded"] == total else 1


def _print_detail(detail: TaskDetail, why: str) -> None:
    from parcs.model.demand import describe_bytes

    task, request = detail.task, detail.request
    print(f"task {task.id}{f' ({task.name})' if task.name else ''}: {task.state}; {why}")
    print(f"  command    {task.command}")
    if request.compile is not None:
        print(f"  compile    {_shown(request.compile.command)}")
    if task.parameters:
        print(f"  values     {_values(task)}")
    if task.labels:
        print("  labels     " + ", ".join(f"{k}={v}" for k, v in task.labels.items()))
    print(f"  submitted  {ago(task.created)} by {task.user}")
    for attempt in detail.attempts:
        took = "" if attempt.ended is None else f", {attempt.ended - attempt.started:.2f} s"
        used = (
            ""
            if attempt.cpu_s is None
            else f", CPU {attempt.cpu_s:.2f} s, {describe_bytes(attempt.memory or 0)}"
        )
        print(f"  attempt {attempt.number}  on {attempt.executor}: {attempt.state}{took}{used} {attempt.why}")
        for stream, text in attempt.output.items():
            print(f"--- {stream} ({attempt.sizes[stream]} bytes)")
            print(text.rstrip("\n"))
        for name, size in attempt.sizes.items():
            if name.startswith("file/"):
                print(f"--- kept: {name.removeprefix('file/')} ({size} bytes)")


def _shown(command: str | Sequence[str]) -> str:
    return command if isinstance(command, str) else " ".join(command)


def output_of(text: str, most: int) -> str:
    """A text short enough for a table."""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= most else line[: most - 3] + "..."


def _values(task: Task) -> str:
    """What makes it different from the others of its array."""
    return ", ".join(f"{name}={value}" for name, value in task.parameters.items())


def _took(task: Task) -> str:
    if task.started is None:
        return ""
    return f"{(task.ended or time.time()) - task.started:.1f} s"


def _coloured(state: str) -> Any:
    from rich.text import Text

    style = {"succeeded": "green", "running": "cyan", "compiling": "cyan", "queued": "", "cancelled": "dim"}
    return Text(state, style.get(state, "red"))


def _text(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        if given == "-":
            return sys.stdin.read()
        return Path(given[1:]).read_text() if given.startswith("@") else given
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InvalidRequestError(str(error), given) from error


def _bytes(text: str | None) -> int | None:
    from parcs.model import settings

    return None if text is None else settings.parse_size(text, "--memory")


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="") as source:
            rows = list(csv.DictReader(source))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise errors.InvalidRequestError(str(error), "--array") from error
    if not rows or any(None in row or None in row.values() for row in rows):
        raise errors.InvalidRequestError(
            f"{file} needs a line of names, and as many values in each line after it", "--array"
        )
    return rows


def _archive(given: list[Path]) -> bytes | None:
    """Files and folders as one archive; a single archive as it is."""
    from parcs import archive

    if not given:
        return None
    try:
        if (
            len(given) == 1
            and given[0].is_file()
            and given[0].name.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"))
        ):
            return given[0].read_bytes()
        files: dict[str, archive.File] = {}
        for path in given:
            if path.is_dir():
                files |= archive.of_folder(path)
            else:
                files[path.name] = archive.File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        return archive.pack(files)
    except OSError as error:
        raise errors.InvalidRequestError(str(error), "--file") from error
