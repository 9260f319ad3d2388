def test_every_leaf_is_counted(run_example):
    outcome = run_example("tree", DEPTH=2, FANOUT=3)
    assert outcome["result"] == 9
    assert outcome["summary"]["points"] == 1 + 3 + 9
