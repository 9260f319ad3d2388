import re
import sysconfig
from collections import Counter
from pathlib import Path

LICENCES = Path("/usr/share/common-licenses")
TEXTS = LICENCES if LICENCES.is_dir() else Path(sysconfig.get_path("stdlib")) / "json"


def test_the_counts_are_those_of_one_process(run_example):
    serial = Counter()
    files = [path for path in TEXTS.iterdir() if path.is_file()]
    for path in files:
        serial.update(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace").lower()))
    result = run_example("wordcount", FOLDER=TEXTS, TOP=25)["result"]
    assert result["files"] == len(files) > 3
    assert result["words"] == serial.total()
    assert sorted(map(tuple, result["top"]), key=lambda pair: -pair[1])[:5] == serial.most_common(5)
    assert all(serial[word] == count for word, count in result["top"])
