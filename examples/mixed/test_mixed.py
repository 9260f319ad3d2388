import pytest


@pytest.mark.timeout(300)  # Go may have to be compiled first
def test_points_of_two_languages_work_together(run_example):
    found = run_example("mixed", N=12345, P=5)
    assert found["result"] == [i for i in range(2, 12345) if 12345 % i == 0]
    assert found["summary"]["languages"] == {"python": 3, "go": 2}
