"""What is said of a command that failed."""

from __future__ import annotations

from parcs.sandbox import reasons


def test_of_what_was_written_the_printable_lines_at_the_end() -> None:
    lines = reasons.printable_lines(b"x" * 100_000 + b"\none\x00\x1b\n\n  two \xff\n\n" + b"y" * 1000 + b"\n")
    assert lines[1:] == ["one", "two \N{REPLACEMENT CHARACTER}", "y" * 200]
    assert len(lines[0]) == 200
    assert reasons.printable_lines(b"\x00\n \n") == []


def test_a_compiler_is_told_by_its_first_error() -> None:
    lines = ["main.c: In function 'main':", "main.c:1:5: error: expected ';'", "    1 | int x", "      | ^"]
    assert reasons.first_error(lines) == "main.c:1:5: error: expected ';'"
    assert reasons.first_error(lines[2:]) == reasons.last_line(lines) == "      | ^"
