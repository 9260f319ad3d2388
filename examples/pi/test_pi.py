import math

import pytest


def test_it_is_pi(run_example):
    assert run_example("pi", N=200_000, P=3)["result"] == pytest.approx(math.pi, abs=1e-10)
