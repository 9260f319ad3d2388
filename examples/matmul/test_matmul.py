import pytest


@pytest.mark.parametrize(("n", "block"), [(200, 50), (101, 40), (3, 10)])
def test_the_product_is_that_of_numpy(run_example, n, block):
    result = run_example("matmul", N=n, BLOCK=block, P=2)["result"]
    assert result["largest_error"] < 1e-9
    assert result["blocks"] == (-(-n // block)) ** 2
