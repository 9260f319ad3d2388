"""What is public is what is said to be, and documents name what exists."""

from __future__ import annotations

import builtins
import importlib
import re
from pathlib import Path

import parcs

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in parcs.__all__:
        value = getattr(parcs, name)
        assert name == "__version__" or value.__doc__, name
    assert dir(parcs) == sorted(parcs.__all__)


def test_every_room_says_what_it_is_for() -> None:
    for path in sorted((ROOT / "src" / "parcs").rglob("*.py")):
        assert path.read_text().startswith('"""'), f"{path} has no head"


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "src" / "parcs").iterdir():
        room = path.stem
        if path.suffix in (".py", "") and not room.startswith("__") and room not in ("py", "version"):
            assert f"`{room}`" in text, f"{room} is not in docs/architecture.md"


def test_every_command_in_the_documents_exists() -> None:
    from typer.main import get_command

    from parcs.cli.app import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for document in DOCUMENTS:
        for name in re.findall(r"^(?:\S*/)?parcs ([a-z]+)", document.read_text(), re.MULTILINE):
            assert name in commands, f"{document.name}: parcs {name}"
        for script in re.findall(r"scripts/([\w-]+)", document.read_text()):
            assert (ROOT / "scripts" / script).is_file(), f"{document.name}: scripts/{script}"


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_setting_is_documented() -> None:
    text = "".join(
        (ROOT / "docs" / f"{name}.md").read_text()
        for name in ("modules", "protocol", "swarm", "tasks", "ha", "page")
    )
    source = "".join(path.read_text() for path in (ROOT / "src" / "parcs").rglob("*.py"))
    for variable in set(re.findall(r"\bPARCS_[A-Z_]+\b", source)):
        assert f"`{variable}" in text, f"{variable} is not documented"


def test_errors_named_in_documents_exist() -> None:
    errors = importlib.import_module("parcs.errors")
    for document in DOCUMENTS:
        for name in re.findall(r"`([A-Z]\w+Error)`", document.read_text()):
            assert hasattr(errors, name) or hasattr(builtins, name), f"{document.name}: {name}"
