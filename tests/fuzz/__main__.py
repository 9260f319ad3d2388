"""``python -m tests.fuzz [--count N] [--seed N]``."""

from __future__ import annotations

import argparse
import random
import time

from tests.fuzz import mutate

parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
parser.add_argument("--count", type=int, default=200_000, help="mutated streams")
parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="for the same streams again")
options = parser.parse_args()
print(f"seed {options.seed}")
begin = time.monotonic()
for ending, times in mutate.run(options.count, options.seed).most_common():
    print(f"{times:>9,}  {ending}")
print(f"{options.count:,} streams in {time.monotonic() - begin:.1f} s, every one ended in a documented way")
