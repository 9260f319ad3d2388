"""Settings, addresses, the life of a point, what an error says."""

from __future__ import annotations

import itertools

import pytest

from parcs import errors
from parcs.engine.space import ControlSpace
from parcs.model import address, lifecycle, resources, settings
from parcs.model.lifecycle import Ending, PointEvent, PointState


def test_settings_come_from_the_environment() -> None:
    read = settings.from_environment(
        {"PARCS_FRAME_LIMIT": "64MiB", "PARCS_KEEPALIVE": "0", "PARCS_SILENCE": "3"}
    )
    assert (read.frame_limit, read.keepalive_s, read.silence_s) == (64 << 20, 0.0, 3.0)
    assert settings.from_environment({}) == settings.Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PARCS_FRAME_LIMIT", "a lot"),
        ("PARCS_FRAME_LIMIT", "-1"),
        ("PARCS_FRAME_LIMIT", "10"),
        ("PARCS_FRAME_LIMIT", "99999999999GiB"),
        ("PARCS_KEEPALIVE", "-1"),
        ("PARCS_KEEPALIVE", "nan"),
        ("PARCS_SILENCE", "soon"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(variable: str, value: str) -> None:
    with pytest.raises(errors.SettingsError, match=variable):
        settings.from_environment({variable: value})


def test_addresses_are_read_and_written() -> None:
    assert address.parse("tcp://127.0.0.1:80") == ("127.0.0.1", 80, "tcp")
    assert str(address.parse("tcp://[::1]:80")) == "tcp://[::1]:80"
    for wrong in ("127.0.0.1:80", "tcp://host", "tcp://host:0", "tcp://host:99999", "udp://h:1", "tcp://:1"):
        with pytest.raises(errors.SettingsError):
            address.parse(wrong)


def test_a_point_moves_along_its_table_only() -> None:
    for state, event in itertools.product(PointState, PointEvent):
        allowed = lifecycle.TRANSITIONS[state].get(event)
        if allowed is None:
            with pytest.raises(ValueError, match=state.value):
                lifecycle.advance(state, event)
        else:
            assert lifecycle.advance(state, event) is allowed
    assert {state for state in PointState if state.is_final} == {
        PointState.SUCCEEDED,
        PointState.FAILED,
        PointState.STOPPED,
    }


def test_an_ending_says_how_in_words() -> None:
    assert "SIGKILL" in Ending(None, 9, "here", []).describe()
    assert (
        "exited with status 3 on here; its last lines:\n    boom"
        in Ending(3, None, "here", ["boom"]).describe()
    )
    assert Ending.from_json(Ending(1, None, "n", ["x"])._asdict()) == Ending(1, None, "n", ["x"])


def test_resources_are_read() -> None:
    assert resources.parse({"cpus": 2, "memory": "1KiB"}, "x") == ((2.0, 1024, 0), ((), 0))
    placed = resources.parse({"constraints": ["node.role==worker"], "per_node": 1}, "x")
    assert placed.placement == (("node.role==worker",), 1)
    wrongs: list[dict[str, object]] = [
        {"cpu": 1}, {"cpus": "many"}, {"memory": "lots"}, {"gpus": -1}, {"per_node": -1}, {"constraints": [1]},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(errors.ManifestError):
            resources.parse(wrong, "x")


def test_names_in_a_space_are_unique_and_short() -> None:
    space = ControlSpace("s")
    names = [space.add(module, "python", "runner").name for module in ("a", "a", "org/a:1.2", "b")]
    assert names == ["a-1", "a-2", "a-3", "b-1"]


def test_every_error_of_the_tree_is_drawn_and_used() -> None:
    import re
    from pathlib import Path

    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(["ParcsError", *drawn]) == sorted(errors.__all__)
    source = "".join(
        path.read_text() for path in Path(errors.__file__).parent.rglob("*.py") if path.name != "errors.py"
    )
    bases = {"ProtocolError", "ChannelError", "ModuleError", "PointError"}
    for name in set(errors.__all__) - bases:
        assert f"errors.{name}" in source, f"{name} is never used"
