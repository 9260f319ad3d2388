import operator
import os
import re
from collections import Counter
from pathlib import Path

from parcs import map_reduce
from parcs.server import Runner, serve


def count_words(path: str) -> Counter:
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return Counter(re.findall(r"\w+", text.lower()))


class WordCount(Runner):
    """Counts each file's words on a worker; the counts are added up there, too."""

    def run(self):
        files = sorted(str(path) for path in Path(os.environ["FOLDER"]).iterdir() if path.is_file())
        counts = map_reduce(
            count_words, operator.add, files, engine=self.engine, workers=int(os.environ["P"])
        )
        return {
            "files": len(files),
            "words": counts.total(),
            "top": counts.most_common(int(os.environ["TOP"])),
        }


serve(WordCount())
