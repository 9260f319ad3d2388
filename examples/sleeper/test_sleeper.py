def test_all_sleep_at_the_same_time(run_example):
    elapsed = run_example("sleeper", P=8, S=0.4)["result"]
    assert 0.4 <= elapsed < 8 * 0.4 / 2
