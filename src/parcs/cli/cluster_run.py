"""``parcs run --on swarm``: the runner as a job of the cluster, its output and its ending here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from parcs import errors
from parcs.cli import output, target
from parcs.engine.console import Console
from parcs.module import find, parameters
from parcs.module.manifest import Module


class Request(NamedTuple):
    """What to run. ``given`` are parameters as the user gave them."""

    module: str
    given: Mapping[str, str]
    is_detached: bool
    as_json: bool
    is_quiet: bool


def run(url: str, request: Request) -> int:
    """Run it; gives its exit code."""
    target.check(url)
    from parcs.model import settings as options
    from parcs.swarm import outside
    from parcs.swarm.remote import Remote

    found = _find(request.module)
    environment = dict(request.given)
    if found is not None:
        environment = parameters.resolve(found.parameters, environment, found.name)
    environment = {
        **options.passed_on(os.environ),
        **environment,
    }  # as a program on this machine inherits them
    if request.is_quiet:
        environment["PARCS_QUIET"] = "1"
    access = outside.access(url, target.tell)
    image, aliases = (request.module, {}) if found is None else _build(url, found)
    with Remote(access, options.from_environment(os.environ)) as remote:
        job = str(remote.run(image, environment, {}, aliases)["job"])
        if request.is_detached:
            print(job)
            print(f"see it with: parcs logs -f {job}", file=sys.stderr)
            return 0
        return follow(remote, job, as_json=request.as_json)


def follow(remote: Any, job: str, *, as_json: bool) -> int:
    """Show a job's output until it is over, then its result; gives its exit code."""
    console = Console(all_to_stderr=as_json)
    after = 0
    is_interrupted = False
    while True:
        # The question is asked in here too: Ctrl-C may come at any moment, also just after an answer.
        try:
            if is_interrupted:
                is_interrupted = False
                if _wants_to_stop(job):
                    print(f"stopping {job} and its points …", file=sys.stderr)
                    remote.stop(job)
                    break
                print(f"{job} goes on", file=sys.stderr)
            for line in remote.lines(job, is_following=True, after=after):
                after = line.number
                show(console, line)
            break
        except KeyboardInterrupt:
            is_interrupted = True
    about = remote.ps(job)
    code = int(about["exit_code"] if about["exit_code"] is not None else 1)
    if as_json:
        keys = ("job", "exit_code", "result", "summary")
        output.print_json({key: about[key] for key in keys})
        return code
    if about["result"] is not None:
        print(f"result: {output.shorten(about['result'])}", flush=True)
    if about["why"]:
        print(f"{job}: the runner {about['why']}", file=sys.stderr)
    if about["description"]:
        print(about["description"], file=sys.stderr)
    return code


def show(console: Console, line: Any) -> None:
    """One line, with the program and the node it comes from."""
    where = f"{line.source}@{line.node}" if line.node else line.source
    console.write(where, line.text, is_error=line.stream == 2)


def _find(name: str) -> Module | None:
    """The module's folder, if it is here; otherwise the registry has it under this name."""
    from parcs.job import find_module

    try:
        return find_module(name)
    except errors.UnknownModuleError:
        return None


def _build(url: str, module: Module) -> tuple[str, dict[str, str]]:
    """The module's image, and those of the modules it uses, by name."""
    from parcs.image.build import Builder
    from parcs.swarm import deploy, outside

    if url.startswith("tls://"):
        return module.name, {}  # no Docker Engine here to build with: the registry has it, or not
    docker = outside.docker_of(url)
    builder = Builder(docker, deploy.registry_of(deploy.find(docker)), target.tell)
    places = find.search_path(os.environ, module.folder)
    aliases = {name: builder.module(find.find(name, places)).pinned for name in module.uses}
    return builder.module(module).pinned, aliases


def _wants_to_stop(job: str) -> bool:
    if not sys.stdin.isatty():
        return True
    try:
        answer = input(f"\nStop {job} and its points? [y/N] (N: go on watching; again Ctrl-C: stop) ")
    except (KeyboardInterrupt, EOFError):
        return True
    return answer.strip().lower() in ("y", "yes")
