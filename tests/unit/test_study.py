"""The figures of a scaling study, against ones worked out by hand."""

from __future__ import annotations

import pytest

from parcs import study


def test_a_program_with_a_tenth_serial_has_that_serial_fraction() -> None:
    times = [(p, 10 * (0.1 + 0.9 / p), 0.0) for p in (1, 2, 4, 8)]  # Amdahl's law
    rows = study.figures(times)
    assert [row.speedup for row in rows] == pytest.approx([1, 1 / 0.55, 1 / 0.325, 1 / 0.2125])
    assert [row.efficiency for row in rows][-1] == pytest.approx(1 / 0.2125 / 8)
    assert [row.serial_fraction for row in rows[1:]] == pytest.approx([0.1, 0.1, 0.1])
    assert rows[0].serial_fraction is None


def test_a_study_that_begins_at_two_points_takes_them_as_perfect() -> None:
    rows = study.figures([(2, 5.0, 0.1), (4, 2.5, 0.2)])
    assert [row.speedup for row in rows] == [2, 4]
    assert [row.communication for row in rows] == [0.1, 0.2]
