import pytest

FACTS = [i for i in range(2, 12345) if 12345 % i == 0]


@pytest.mark.timeout(300)  # Go may have to be compiled first
@pytest.mark.parametrize("module", ["factor-go", "factor"])
def test_a_go_runner_drives_points_of_both_languages(run_example, module):
    assert run_example("factor-go", N=12345, P=3, MODULE=module)["result"] == FACTS
