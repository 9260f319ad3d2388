"""The commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from parcs.cli import doctor, modules, new, run, study, version

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
app.command()(new.new)
app.command()(modules.modules)
app.command()(doctor.doctor)
app.command()(version.version)
