import pytest


@pytest.mark.parametrize(("n", "p"), [(12345, 3), (5, 8), (1, 2), (97, 4)])
def test_the_divisors_are_complete_and_sorted(run_example, n, p):
    assert run_example("factor", N=n, P=p)["result"] == [i for i in range(2, n) if n % i == 0]
