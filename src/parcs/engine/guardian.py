"""Outlives a killed engine just long enough to end what it started.

Run as a script of its own, with a pipe as standard input: ``add PGID`` and ``drop PGID`` lines (process
groups of points), and the end of the pipe when the engine is gone, for whatever reason. Then every group
still on the list is killed, and every process whose environment says that it belongs to this control space
(one that left its group by making a session of its own). Imports only the standard library: it starts
in 10 ms.
"""

import os
import signal
import sys

KILL = signal.SIGKILL


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        verb, number = line.split()
        if verb == "add":
            groups.add(int(number))
        else:
            groups.discard(int(number))
    for group in groups:
        try:
            os.killpg(group, KILL)
        except OSError:
            continue  # it has ended by itself
    marks = [f"PARCS_SPACE={sys.argv[1]}".encode()]
    while _kill_marked(marks):
        pass


def _kill_marked(marks: list[bytes]) -> bool:
    found = False
    if not os.path.isdir("/proc/self"):
        return found
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    belongs = not set(marks).isdisjoint(file.read().split(b"\0"))
                if belongs:
                    os.kill(int(name), KILL)
                    found = True
            except OSError:
                continue  # it has ended, or is not ours to look at
    return found


if __name__ == "__main__":
    main()
