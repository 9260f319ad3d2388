"""A module's parameters: declared in its manifest, given with ``-e NAME=VALUE``, passed as environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from parcs import errors


class Parameter(NamedTuple):
    """One declared parameter. ``default`` is None if it must be given."""

    name: str
    type: str
    default: str | None
    help: str
    least: float | None = None
    choices: tuple[str, ...] = ()


_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def _boolean(text: str) -> str:
    if text.lower() in _TRUE:
        return "1"
    if text.lower() in _FALSE:
        return "0"
    raise ValueError(f"{text!r} is neither true nor false")


_READERS: Final[dict[str, Callable[[str], str]]] = {
    "int": lambda text: str(int(text.replace("_", ""))),
    "float": lambda text: repr(float(text)),
    "bool": _boolean,
    "string": str,
    "path": os.path.abspath,
}


def parse_all(table: dict[str, Any], where: str) -> dict[str, Parameter]:
    """Read the ``[parameters]`` of a manifest.

    Raises:
        ManifestError: a parameter is declared wrongly.
    """
    parsed = {}
    for name, entry in table.items():
        fields = entry if isinstance(entry, dict) else {"default": entry}
        unknown = sorted(set(fields) - {"type", "default", "help", "min", "choices"})
        kind = fields.get("type") or _kind_of(fields.get("default"))
        if unknown or kind not in _READERS:
            raise errors.ManifestError(
                f"{where}: parameter {name}: "
                + (
                    f"unknown key {unknown[0]!r}"
                    if unknown
                    else f"type {kind!r}; there are {', '.join(_READERS)}"
                )
            )
        default = fields.get("default")
        parameter = Parameter(
            name,
            kind,
            None,
            str(fields.get("help", "")),
            fields.get("min"),
            tuple(str(choice) for choice in fields.get("choices", ())),
        )
        if default is not None:
            text = str(default)
            try:
                if kind != "path":
                    check_value(parameter, text)
            except errors.ParameterError as error:
                raise errors.ManifestError(f"{where}: its default: {error}") from None
            parameter = parameter._replace(default=text)
        parsed[name] = parameter
    return parsed


def _kind_of(default: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float")):
        if isinstance(default, kind):
            return name
    return "string"


def check_value(parameter: Parameter, text: str) -> str:
    """The value as it is passed on.

    Raises:
        ParameterError: it is not of the parameter's type, or not allowed.
    """
    try:
        value = _READERS[parameter.type](text)
    except ValueError:
        raise errors.ParameterError(
            f"{parameter.name}={text}: it should be of type {parameter.type}"
        ) from None
    if parameter.least is not None and float(value) < parameter.least:
        raise errors.ParameterError(f"{parameter.name}={text}: it should be at least {parameter.least:g}")
    if parameter.choices and value not in parameter.choices:
        raise errors.ParameterError(
            f"{parameter.name}={text}: it should be one of {', '.join(parameter.choices)}"
        )
    return value


def resolve(declared: Mapping[str, Parameter], given: Mapping[str, str], module: str) -> dict[str, str]:
    """The environment that a run with these ``-e`` values gets, defaults filled in.

    A module that declares no parameters takes any.

    Raises:
        ParameterError: one is unknown, missing, or of the wrong type.
    """
    if not declared:
        return dict(given)
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise errors.ParameterError(
                f"{module} has no parameter {name}; it has {', '.join(declared)}{hint}"
            )
    values = {}
    for name, parameter in declared.items():
        text = given.get(name, parameter.default)
        if text is None:
            raise errors.ParameterError(
                f"{module} needs {name} ({parameter.help or parameter.type}): -e {name}=..."
            )
        values[name] = check_value(parameter, text)
    return values


def split(assignment: str) -> tuple[str, str]:
    """``NAME=VALUE`` as two strings.

    Raises:
        ParameterError: it has no name or no ``=``.
    """
    name, equals, value = assignment.partition("=")
    if not name or not equals:
        raise errors.ParameterError(f"-e {assignment}: it should look like -e NAME=VALUE")
    return name, value
