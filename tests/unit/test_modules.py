"""parcs.toml, parameters, finding and making modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from parcs import errors
from parcs.module import create, find, manifest, parameters


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "parcs.toml").write_text(text)
    return folder


def test_a_manifest_is_read(tmp_path: Path) -> None:
    module = manifest.load(
        write(
            tmp_path / "m",
            'command = "python a.py --x"\nimage = "i"\n[resources]\nmemory = "1MiB"\n'
            '[parameters]\nN = { type = "int", default = 3, min = 1 }\nM = "text"\n',
        )
    )
    assert module.name == "m"
    assert module.command[1:] == ("a.py", "--x")
    assert module.needs.resources.memory == 1 << 20
    assert module.parameters["N"].default == "3"
    assert module.parameters["M"].type == "string"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "parcs.toml"),
        ('name = "x"', "it needs a command"),
        ('command = "a"\ncolour = "red"', "unknown key 'colour'"),
        ('command = "a"\nname = 3', "name should be a string"),
        ('command = "a \'b"', "command"),
        ("command = [1]", "list of strings"),
        ('command = "a"\nresources = 3', r"\[resources\]"),
        ('command = "a"\n[resources]\ncpu = 1', "unknown resource cpu"),
        ('command = "a"\n[parameters]\nN = { type = "integer" }', "type 'integer'"),
        ('command = "a"\n[parameters]\nN = { type = "int", default = "x" }', "its default"),
        ('command = "a"\n[parameters]\nN = { kind = "int" }', "unknown key 'kind'"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(errors.ManifestError, match=said):
        manifest.load(write(tmp_path / "m", text))


def test_a_folder_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.ManifestError, match="parcs new"):
        manifest.load(tmp_path)


DECLARED = parameters.parse_all(
    {
        "N": {"type": "int", "min": 1},
        "X": {"type": "float", "default": 0.5},
        "YES": {"type": "bool", "default": True},
        "MODE": {"type": "string", "default": "a", "choices": ["a", "b"]},
        "OUT": {"type": "path", "default": "out.png"},
    },
    "here",
)


def test_parameters_are_checked_and_filled_in() -> None:
    values = parameters.resolve(DECLARED, {"N": "1_000", "YES": "off"}, "m")
    assert values == {
        "N": "1000",
        "X": "0.5",
        "YES": "0",
        "MODE": "a",
        "OUT": str(Path("out.png").absolute()),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs N"),
        ({"N": "x"}, "of type int"),
        ({"N": "0"}, "at least 1"),
        ({"N": "1", "MODE": "c"}, "one of a, b"),
        ({"N": "1", "MODES": "a"}, "did you mean MODE"),
        ({"N": "1", "YES": "perhaps"}, "of type bool"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_reason(given: dict[str, str], said: str) -> None:
    with pytest.raises(errors.ParameterError, match=said):
        parameters.resolve(DECLARED, given, "m")


def test_a_module_without_parameters_takes_any() -> None:
    assert parameters.resolve({}, {"A": "1"}, "m") == {"A": "1"}


def test_a_module_is_found_by_path_folder_name_and_image(tmp_path: Path) -> None:
    write(tmp_path / "folder", 'name = "called"\ncommand = "a"\nimage = "org/called"')
    for name in (str(tmp_path / "folder"), "folder", "called", "org/called", "org/called:1.2"):
        assert find.find(name, [tmp_path]).name == "called"


def test_an_unknown_module_has_the_nearest_names_and_the_places(tmp_path: Path) -> None:
    write(tmp_path / "factor", 'command = "a"')
    with pytest.raises(errors.UnknownModuleError, match="did you mean factor") as caught:
        find.find("facto", [tmp_path])
    assert str(tmp_path) in str(caught.value)


def test_a_broken_neighbour_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path / "bad", "!!")
    write(tmp_path / "good", 'command = "a"')
    assert [module.name for module in find.modules([tmp_path, tmp_path / "nowhere"])] == ["good"]


@pytest.mark.parametrize("name", ["../up", "Upper", "1st", "", "a b", "x" * 100])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.ManifestError, match="cannot be a module's name"):
        create.create(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_module_is_not_made_over_another(tmp_path: Path) -> None:
    create.create("mine", tmp_path)
    with pytest.raises(errors.ManifestError, match="exists already"):
        create.create("mine", tmp_path)
