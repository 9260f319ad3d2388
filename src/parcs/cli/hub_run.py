"""``parcs run MODULE --hub URL``: a job is a task whose command is ``parcs run``, with the module's files."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any

from parcs import archive, errors, job
from parcs.cli import output, place
from parcs.module import find, parameters
from parcs.module.manifest import Module

LABEL = "job"
"""The label by which jobs are found: its value is the module's name."""


def run(
    url: str | None, name: str, given: dict[str, str], *, is_detached: bool, as_json: bool, is_quiet: bool
) -> int:
    """Queue a module as a job; wait for it, unless it is detached. Gives the exit code."""
    module = job.find_module(name)
    values = parameters.resolve(module.parameters, given, module.name)
    words = [
        "run",
        f"./{module.folder.name}",
        *(w for k, v in values.items() for w in ("-e", f"{k}={v}")),
        "--json",
    ]
    # The executor's own Python: PARCS is installed there, but perhaps on no PATH.
    command = f'"$PARCS_PYTHON" -m parcs {shlex.join(words)}'
    files = archive.pack(_files(module))
    with place.hub(url) as hub:
        digest = hub.upload(files).digest
        number = hub.submit(
            command, archive=digest, name=module.name, labels={LABEL: module.name}, timeout_s=None
        ).first
        if is_detached:
            print(number)
            return 0
        print(f"job {number} of the hub; its state: parcs explain {number}", file=sys.stderr)
        try:
            for piece in hub.follow(number):
                if piece.stream == "stderr" and not is_quiet:
                    sys.stderr.write(piece.text)
                    sys.stderr.flush()
        except KeyboardInterrupt:
            hub.cancel(number)
            print(f"job {number} is cancelled", file=sys.stderr)
            return 130
        detail = hub.wait(number)
        outcome = result_of(hub.output(number))
    if as_json:
        output.print_json({"job": number, "state": detail.task.state, "why": detail.task.why, **outcome})
    elif detail.task.state == "succeeded":
        if outcome.get("result") is not None:
            print(f"result: {output.shorten(outcome['result'])}")
    else:
        print(f"job {number} {detail.task.state}: {detail.task.why}", file=sys.stderr)
    if detail.task.state == "succeeded":
        return 0
    return detail.task.exit_code or 1


def result_of(text: str) -> dict[str, Any]:
    """What ``parcs run --json`` printed; empty if it came to nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(module: Module) -> dict[str, archive.File]:
    """The module's folder, and beside it those of the modules that it uses."""
    places = find.search_path(os.environ, module.folder)
    folders = {module.folder, *(find.find(used, places).folder for used in module.uses)}
    if len({folder.name for folder in folders}) < len(folders):
        raise errors.ManifestError(f"{module.name} uses a module whose folder has the name of another's")
    return {
        f"{folder.name}/{path}": file
        for folder in folders
        for path, file in archive.of_folder(folder).items()
    }
