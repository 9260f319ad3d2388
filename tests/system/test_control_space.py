"""Programs as users write them, run by `parcs run` in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil

from tests.conftest import Modules, wait_until

ECHO = """
    from parcs.server import Service, serve

    class Echo(Service):
        def run(self):
            while True:
                self.send(self.recv())

    serve(Echo())
"""


def runner(body: str) -> str:
    lines = "\n".join(" " * 12 + line for line in body.strip().splitlines())
    return f"""
    import os, time
    import parcs
    from parcs import errors
    from parcs.server import Runner, serve

    class Main(Runner):
        def run(self):
{lines}

    serve(Main())
    """


def test_a_handle_has_everything_of_the_original(modules: Modules) -> None:
    modules.add("echo", ECHO)
    modules.add(
        "main",
        runner=runner("""
point = self.engine.run("echo")
point.send_all(1, [2, "x"], {"y": None})
got = [point.recv(), point.recv(), point.recv()]
names = [point.name, point.name()]
point.shutdown()
point.shutdown()
return [got, names]
"""),
    )
    assert modules.run("main")["result"] == [[1, [2, "x"], {"y": None}], ["echo-1", "echo-1"]]


def test_the_log_reads_as_in_the_original(modules: Modules) -> None:
    modules.add("echo", ECHO)
    modules.add("main", runner=runner('with self.engine.run("echo") as p: p.send(1); p.recv()'))
    done = subprocess.run(
        [sys.executable, "-m", "parcs", "run", "main"],
        env=modules.environment,
        cwd=modules.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    for line in (
        "Welcome to PARCS-Python!",
        "Running your program...",
        "Connection to echo-1 established",
        "Connection to echo-1 closed",
        "Bye!",
        "echo-1 | ",
    ):
        assert line in done.stderr
    assert "1 point · 2 messages" in done.stderr


def test_points_start_points(modules: Modules) -> None:
    modules.add(
        "tree",
        """
        from parcs.server import Service, serve

        class Tree(Service):
            def run(self):
                depth = self.recv()
                if depth == 0:
                    self.send(1)
                    return
                children = self.engine.run_all("tree", 2)
                for child in children:
                    child.send(depth - 1)
                self.send(sum(child.recv() for child in children))

        serve(Tree())
        """,
    )
    modules.add("main", runner=runner('root = self.engine.run("tree"); root.send(2); return root.recv()'))
    outcome = modules.run("main")
    assert outcome["result"] == 4
    assert outcome["summary"]["points"] == 7


def test_siblings_talk_over_a_channel_of_their_own(modules: Modules) -> None:
    modules.add(
        "ring",
        """
        from parcs.server import Service, serve

        class Member(Service):
            def run(self):
                first = self.recv()
                right, left = self.peer("right"), self.peer("left")
                if first:
                    right.send([self.name])
                    self.send(left.recv())
                else:
                    right.send([*left.recv(), self.name])

        serve(Member())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
members = self.engine.run_all("ring", 4)
for a, b in zip(members, members[1:] + members[:1]):
    a.link(b, "right", "left")
for member in members:
    member.send(member is members[0])
return members[0].recv()
"""),
    )
    outcome = modules.run("main")
    assert outcome["result"] == ["ring-1", "ring-2", "ring-3", "ring-4"]
    assert outcome["summary"]["messages"] == 4 + 4 + 1  # the ring's own messages are counted, once each


def test_a_point_hands_its_channel_on_and_nothing_is_lost(modules: Modules) -> None:
    modules.add("echo", ECHO)
    modules.add(
        "worker",
        """
        from parcs.server import Service, serve

        class Worker(Service):
            def run(self):
                channel = self.recv()
                got = [channel.recv() for _ in range(3)]
                channel.send("fresh")
                self.send([*got, channel.recv()])

        serve(Worker())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
echo, worker = self.engine.run("echo"), self.engine.run("worker")
echo.send_all("a", "b", "c")
worker.send(echo)
result = worker.recv()
try:
    echo.send("mine no more")
except errors.ChannelMovedError as error:
    result.append("worker-1" in str(error))
return result
"""),
    )
    assert modules.run("main")["result"] == ["a", "b", "c", "fresh", True]


def test_wait_any_gives_who_is_ready_first(modules: Modules) -> None:
    modules.add(
        "sleeper",
        """
        import time
        from parcs.server import Service, serve

        class Sleeper(Service):
            def run(self):
                seconds = self.recv()
                time.sleep(seconds)
                self.send(seconds)

        serve(Sleeper())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
points = self.engine.run_all("sleeper", 3)
for point, seconds in zip(points, (0.6, 0.0, 0.3)):
    point.send(seconds)
order = []
while points:
    for point in parcs.wait_any(points):
        order.append(point.recv())
        points.remove(point)
return order
"""),
    )
    assert modules.run("main")["result"] == [0.0, 0.3, 0.6]


def test_an_exception_in_a_service_arrives_with_its_traceback(modules: Modules) -> None:
    modules.add(
        "broken",
        """
        from parcs.server import Service, serve

        class Broken(Service):
            def run(self):
                self.recv()
                raise KeyError("the missing piece")

        serve(Broken())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
point = self.engine.run("broken")
point.send(1)
try:
    point.recv()
except errors.RemoteError as error:
    return [error.point, error.type_name, "raise KeyError" in error.remote_traceback]
"""),
    )
    assert modules.run("main")["result"] == ["broken-1", "KeyError", True]


def test_points_that_wait_for_each_other_are_named(modules: Modules) -> None:
    modules.add(
        "waiter",
        """
        from parcs.server import Service, serve

        class Waiter(Service):
            def run(self):
                self.peer(self.recv()).recv()

        serve(Waiter())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
a, b = self.engine.run_all("waiter", 2)
a.link(b)
a.send(b.name)
b.send(a.name)
try:
    a.recv()
except (errors.DeadlockError, errors.RemoteError) as error:
    return str(error)
"""),
    )
    begin = time.monotonic()
    result = modules.run("main")["result"]
    assert "waiter-1 -> waiter-2 -> waiter-1" in result
    assert time.monotonic() - begin < 10


def test_a_slow_answer_is_no_deadlock(modules: Modules) -> None:
    modules.add(
        "slow",
        """
        import threading
        from parcs.server import Service, serve

        class Slow(Service):
            def run(self):
                work = threading.Timer(2.5, lambda: self.send("done"))  # the main thread only waits
                work.start()
                self.recv()

        serve(Slow())
        """,
    )
    modules.add(
        "main",
        runner=runner('p = self.engine.run("slow"); answer = p.recv(); p.send(0); return answer'),
    )
    assert modules.run("main")["result"] == "done"


def test_runner_and_point_that_both_receive_are_a_deadlock(modules: Modules) -> None:
    modules.add("echo", ECHO)
    modules.add("main", runner=runner('self.engine.run("echo").recv()'))
    stderr = modules.run("main", code=1)["stderr"]
    assert "DeadlockError" in stderr and "echo-1 -> runner -> echo-1" in stderr
    assert "Traceback" not in stderr.split("DeadlockError")[0]


def test_a_killed_point_is_named_with_its_signal(modules: Modules) -> None:
    modules.add(
        "victim",
        """
        import os, signal
        from parcs.server import Service, serve

        class Victim(Service):
            def run(self):
                self.recv()
                print("my last words", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

        serve(Victim())
        """,
    )
    modules.add(
        "main",
        runner=runner("""
point = self.engine.run("victim")
point.send(1)
begin = time.monotonic()
try:
    point.recv()
except errors.PointDiedError as error:
    return [error.point, error.signal, "my last words" in error.last_lines, time.monotonic() - begin < 2]
"""),
    )
    assert modules.run("main")["result"] == ["victim-1", signal.SIGKILL, True, True]


def test_why_a_point_cannot_start_is_said(modules: Modules) -> None:
    modules.add("echo", ECHO)
    folder = modules.add("nocommand", "pass")
    (folder / "parcs.toml").write_text('name = "nocommand"\ncommand = "no-such-program --x"\n')
    modules.add("early", 'import sys\nprint("cannot find my data", file=sys.stderr)\nsys.exit(7)')
    modules.add(
        "main",
        runner=runner("""
said = []
for name in ("ecoh", "nocommand", "early"):
    try:
        self.engine.run(name)
    except (errors.PointStartError, errors.UnknownModuleError) as error:
        said.append(str(error))
return said
"""),
    )
    unknown, nocommand, early = modules.run("main")["result"]
    assert "did you mean echo" in unknown
    assert "command not found: 'no-such-program'" in nocommand
    assert "exited with status 7" in early and "cannot find my data" in early


def test_leaving_the_engine_ends_every_point(modules: Modules) -> None:
    modules.add("echo", ECHO)
    program = modules.folder / "program.py"
    program.write_text(
        "import parcs\n"
        "with parcs.connect() as engine:\n"
        "    points = engine.run_all('echo', 3)\n"
        "    points[0].send(5)\n"
        "    print(points[0].recv(), len(engine.points))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], env=modules.environment, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "5 3\n", done.stderr
    assert modules.processes() == []


LONG = """
    import subprocess, time
    from parcs.server import Service, serve

    class Long(Service):
        def run(self):
            subprocess.Popen(["sleep", "1000"])
            subprocess.Popen(["setsid", "sleep", "1000"])
            self.send("up")
            while True:
                time.sleep(1000)

    serve(Long())
"""
START_LONG = """
points = self.engine.run_all("long", 2)
for point in points:
    point.recv()
print("all up", flush=True)
time.sleep(1000)
"""


def start_long(modules: Modules, *command: str) -> subprocess.Popen[str]:
    modules.add("long", LONG)
    modules.add("main", runner=runner(START_LONG))
    process = modules.popen(*command, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "all up" in line:
            return process
    raise AssertionError("it never came up")


def test_kill_9_of_parcs_run_leaves_no_process(modules: Modules) -> None:
    process = start_long(modules, sys.executable, "-m", "parcs", "run", "main")
    assert len(modules.processes()) >= 7
    process.kill()
    process.communicate(timeout=10)
    wait_until(lambda: not modules.processes(), "no process is left", 5)


def test_kill_9_of_a_runner_that_is_its_own_engine_leaves_no_process(modules: Modules) -> None:
    process = start_long(modules, sys.executable, str(modules.folder / "main" / "runner.py"))
    process.kill()
    process.communicate(timeout=10)
    wait_until(lambda: not modules.processes(), "no process is left", 5)


def test_kill_9_of_the_runner_under_parcs_run_ends_the_job(modules: Modules) -> None:
    process = start_long(modules, sys.executable, "-m", "parcs", "run", "main")
    (victim,) = (
        child for child in psutil.Process(process.pid).children() if "runner.py" in " ".join(child.cmdline())
    )
    victim.kill()
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 137
    assert "the runner was killed" in output


def test_ctrl_c_ends_everything(modules: Modules) -> None:
    process = start_long(modules, sys.executable, "-m", "parcs", "run", "main")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 130, output
    assert "Interrupted" in output and "Traceback" not in output


def test_many_points_start_at_once(modules: Modules) -> None:
    modules.add("echo", ECHO)
    modules.add(
        "main",
        runner=runner("""
points = self.engine.run_all("echo", 16)
for i, point in enumerate(points):
    point.send(i)
return [point.recv() for point in points]
"""),
    )
    assert modules.run("main")["result"] == list(range(16))


def test_a_timeline_has_every_message(modules: Modules) -> None:
    import json

    modules.add("echo", ECHO)
    modules.add("main", runner=runner('p = self.engine.run("echo"); p.send("x" * 100); return len(p.recv())'))
    path = modules.folder / "run.json"
    modules.run("main", "--trace", str(path))
    events = json.loads(path.read_text())["traceEvents"]
    names = {e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    assert names == {"runner", "echo-1"}
    sends = [e for e in events if e["ph"] == "X" and e["name"].startswith("send")]
    assert sorted(e["args"]["bytes"] for e in sends) == [102, 102]
    assert {e["id"] for e in events if e["ph"] == "s"} == {e["id"] for e in events if e["ph"] == "f"}
