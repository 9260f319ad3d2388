"""``parcs login``, ``parcs token``, ``parcs user``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from parcs import errors
from parcs.cli import output, place

tokens = typer.Typer(help="Tokens: for people's command lines, and for executors.", no_args_is_help=True)
users = typer.Typer(help="Who may use a hub.", no_args_is_help=True)

_DAY_S = 86400.0


def login(
    url: Annotated[str, typer.Argument(help="The hub's address, or several with commas between them.")],
    source: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", help="A file with the token; - is standard input."),
    ] = None,
) -> None:
    """Keep a hub's address and a token for it, for all commands to come."""
    place.need("httpx2", "client")
    from parcs.client import Hub, calls
    from parcs.client import place as places

    if source == "-" or (source is None and not sys.stdin.isatty()):
        secret = sys.stdin.readline().strip()
    elif source is not None:
        try:
            with open(source) as file:
                secret = file.read().strip()
        except OSError as error:
            raise errors.SettingsError(f"--token-file: {error}") from error
    else:
        secret = typer.prompt("token", hide_input=True)
    with Hub(url, secret, budget_s=5) as hub:
        me = hub.do(calls.me())
        places.write(places.config_file(), hub.place)
    print(f"{url}: you are {me['name']}, {me['role']}")


@tokens.command("add")
def add_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    kind: Annotated[str, typer.Option("--kind", help="api, or executor.")] = "api",
    user: Annotated[str | None, typer.Option("--user", help="Whose.", show_default="your own")] = None,
    days: Annotated[
        float | None, typer.Option("--days", help="For how long.", show_default="until it is revoked")
    ] = None,
    url: place.At = None,
) -> None:
    """Make a token. It is shown this one time."""
    with place.hub(url) as hub:
        from parcs.client import calls

        made = hub.do(calls.add_token(name, kind, user, None if days is None else days * _DAY_S))
    print(f"token {made.token.id} for {made.token.user} ({kind}); it is not shown again:", file=sys.stderr)
    print(made.secret)


@tokens.command("ls")
def list_tokens(url: place.At = None, as_json: output.AsJson = False) -> None:
    """List tokens, without their secrets."""
    from parcs.cli.tasks import ago

    with place.hub(url) as hub:
        from parcs.client import calls

        found = hub.do(calls.tokens())
    if as_json:
        output.print_json([vars(t) for t in found])
        return
    rows = [
        (
            t.id,
            t.name,
            t.kind,
            t.user,
            "revoked" if t.revoked else ago(t.last_used) if t.last_used else "never used",
        )
        for t in found
    ]
    output.print_table(["id", "name", "kind", "user", "used"], rows)


@tokens.command("revoke")
def revoke(
    number: Annotated[int, typer.Argument(help="Its id; see: parcs token ls")], url: place.At = None
) -> None:
    """Revoke a token: within two seconds it is good for nothing."""
    with place.hub(url) as hub:
        from parcs.client import calls

        hub.do(calls.revoke(number))
    print(f"token {number} is revoked")


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Letters, digits, and ._-@")],
    role: Annotated[str, typer.Option("--role", help="admin, member or viewer.")] = "member",
    url: place.At = None,
) -> None:
    """Add somebody; then give them a token: parcs token add --user NAME."""
    with place.hub(url) as hub:
        from parcs.client import calls

        hub.do(calls.add_user(name, role, None))
    print(f"{name} is a {role}; a token for them: parcs token add --user {name} first")


@users.command("ls")
def list_users(url: place.At = None, as_json: output.AsJson = False) -> None:
    """List who may use the hub."""
    with place.hub(url) as hub:
        from parcs.client import calls

        found = hub.do(calls.users())
    if as_json:
        output.print_json([vars(u) for u in found])
        return
    output.print_table(
        ["name", "role", ""], [(u.name, u.role, "shut out" if u.disabled else "") for u in found]
    )


@users.command("set")
def set_user(
    name: Annotated[str, typer.Argument(help="Whose.")],
    role: Annotated[str | None, typer.Option("--role", help="admin, member or viewer.")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Shut them out, or let them in.")
    ] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new one, for the page.")] = False,
    url: place.At = None,
) -> None:
    """Change somebody's role or password, or shut them out."""
    change: dict[str, object] = {}
    if role is not None:
        change["role"] = role
    if disabled is not None:
        change["disabled"] = disabled
    if password:
        change["password"] = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    with place.hub(url) as hub:
        from parcs.client import calls

        hub.do(calls.change_user(name, change))
    print(f"{name}: changed")
