"""The commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from parcs.cli import (
    backup,
    conformance,
    deploy,
    doctor,
    engine,
    executor,
    hub,
    jobs,
    lab,
    module,
    modules,
    new,
    people,
    run,
    study,
    tasks,
    version,
)

app = typer.Typer(
    name="parcs",
    help="Run a program's parallel parts anywhere: points that talk over channels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        version.version()
        raise typer.Exit


@app.callback(help=app.info.help)
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """What all commands share."""


app.command(add_help_option=False, epilog=run.EPILOG)(run.run)
app.command()(study.study)
app.command()(jobs.jobs)
app.command()(jobs.ps)
app.command()(jobs.logs)
app.command()(jobs.stop)
app.command("rm")(jobs.remove)
app.command()(jobs.warm)
app.command()(tasks.submit)
app.command("tasks")(tasks.list_tasks)
app.command()(tasks.task)
app.command()(tasks.explain)
app.command()(tasks.cancel)
app.command()(tasks.rerun)
app.command()(tasks.get)
app.command()(tasks.wait)
app.command()(hub.up)
app.command("hub")(hub.hub)
app.command()(hub.hubs)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command()(executor.executor)
app.add_typer(executor.app, name="executors")
app.command()(people.login)
app.add_typer(people.tokens, name="token")
app.add_typer(people.users, name="user")
app.command("deploy")(deploy.deploy)
app.command()(deploy.undeploy)
app.command("gc")(jobs.collect)
app.add_typer(engine.app, name="engine")
app.add_typer(lab.app, name="lab")
app.add_typer(module.app, name="module")
app.command()(new.new)
app.command()(modules.modules)
app.command()(doctor.doctor)
app.command()(conformance.conformance)
app.command()(version.version)
