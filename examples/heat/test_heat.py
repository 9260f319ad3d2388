import pytest


@pytest.mark.parametrize(("n", "p"), [(60, 3), (31, 2), (20, 1), (9, 8)])
def test_the_result_is_that_of_one_process_to_the_last_bit(run_example, n, p):
    outcome = run_example("heat", N=n, STEPS=40, P=p)
    assert outcome["result"]["equal"] is True
    points = min(p, n // 3)
    assert outcome["summary"]["messages"] == 2 * points + 2 * 40 * (points - 1)
