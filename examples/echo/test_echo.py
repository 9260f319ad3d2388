def test_every_value_comes_back_the_same(run_example):
    outcome = run_example("echo", TIMES=3)
    assert outcome["result"] == 3 * 9
    assert outcome["summary"]["messages"] == 2 * 3 * 9
