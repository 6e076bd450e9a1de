"""Programs that use worker processes: where their classes are found, and how they begin and end."""

import os
import select
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.children import child, python

pytestmark = pytest.mark.proofs  # each test runs a program

# Classes, functions and settings of a program, and what it does with them.
CLASSES = dedent(
    """
    import os, threading
    from kaygraph import Graph, Node, Retry
    from kaygraph.nodes import node, parallel_node

    lock = threading.Lock()  # which no pickle takes, and exec does not need

    class Busy(Exception):
        def __init__(self, code, text):
            super().__init__(text)
            self.code = code

    class Point:
        def __init__(self, x):
            self.x = x

    class Moves(Node):
        run_in = "process"

        def prep(self, shared):
            with lock:
                return Point(3)

        def exec(self, point):
            if self.attempt < 3:
                raise Busy(503, "slow")
            assert isinstance(point, Point)
            return Point(point.x + 1)

        def post(self, shared, _, point):
            with lock:
                shared["point"] = point

    class Fails(Moves):
        def exec(self, point):
            raise Busy(503, "slow")

    @node(writes="pid", run_in="process")
    def process_of():
        return os.getpid()

    @parallel_node(reads="numbers", writes="squares", run_in="process", limit_by=lambda _: 0)
    async def square(number):
        return number * number
    """
)
WORK = dedent(
    """
    shared = {"numbers": [1, 2, 3]}
    moves = Moves(retry=Retry(attempts=3, on=lambda error: isinstance(error, Busy)))
    Graph(moves >> process_of >> square).run(shared)
    assert isinstance(shared["point"], Point)
    assert shared["pid"] != os.getpid()
    print(shared["point"].x, shared["squares"])
    try:
        Fails(retry=Retry(attempts=2, on=Busy)).run({})
    except Busy as error:
        print(vars(error).keys() == {"code", "__notes__"}, type(error) is Busy)
        print(error.code, *[note for note in error.__notes__ if "attempt" in note])
    """
)
SAID = "4 [1, 4, 9]\nTrue True\n503 in node 'Fails', attempt 2 of 2\n"

WITHOUT_CLOUDPICKLE = "import sys\nsys.modules['cloudpickle'] = None\n"


@pytest.fixture
def cloudpickle() -> None:
    pytest.importorskip("cloudpickle")


@pytest.mark.usefixtures("cloudpickle")
@pytest.mark.parametrize("way", ["-c", "pipe", "package"])
def test_program_that_no_process_can_import_works(way: str, tmp_path: Path) -> None:
    """Its classes and functions go there themselves; what comes back is of its own classes."""
    program = CLASSES + WORK
    if way == "-c":
        done = python("-c", program)
    elif way == "pipe":
        done = python("-", text=program)
    else:
        package = tmp_path / "program"
        package.mkdir()
        (package / "__main__.py").write_text(program)
        done = python("-m", "program", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (SAID, "")


@pytest.mark.parametrize("way", ["file", "module"])
def test_program_that_a_process_can_import_needs_nothing_else(way: str, tmp_path: Path) -> None:
    """A script with a guard, a module of a package: with lambdas in settings, and by name."""
    guarded = "\nif __name__ == '__main__':\n" + indent(WORK, "    ")
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_CLOUDPICKLE + CLASSES + guarded)
    how = [str(program)] if way == "file" else ["-m", "program"]
    done = python(*how, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (SAID, "")


def test_without_cloudpickle_a_class_of_an_interpreter_says_what_to_do() -> None:
    """Both ways out: a module, or cloudpickle."""
    done = python("-c", WITHOUT_CLOUDPICKLE + CLASSES + WORK)
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if "Error" in line][-1]
    assert "Moves is defined in a notebook" in last
    assert "put it at the top level of a module" in last
    assert "pip install cloudpickle" in last
    assert "AttributeError" not in done.stderr


def test_class_that_only_the_program_itself_defines_says_so(tmp_path: Path) -> None:
    """Under the guard, where a process that imports the file does not see it."""
    program = tmp_path / "program.py"
    program.write_text(
        "if __name__ == '__main__':\n"
        "    from kaygraph import Node\n"
        "    class Late(Node):\n"
        "        def exec(self, _): return 1\n"
        "    Late(run_in='process').run({})\n"
    )
    done = python(program)
    assert "AttributeError: Can't get attribute 'Late'" in done.stderr
    assert "has to be at the top level, and not under if __name__ == '__main__':" in done.stderr


@pytest.mark.usefixtures("cloudpickle")
def test_cells_of_a_notebook_work() -> None:
    """In the shell that runs them: a class, then its run, then the class once more, changed."""
    pytest.importorskip("IPython")
    cells = [
        CLASSES,
        WORK,
        CLASSES.replace("point.x + 1", "point.x + 2"),
        "shared = {}\nMoves(retry=Retry(attempts=3)).run(shared)\nprint(shared['point'].x)",
    ]
    done = python(
        "-c",
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"for cell in {cells!r}:\n"
        "    shell.run_cell(cell).raise_error()\n",
    )
    assert done.stdout == SAID + "5\n", done.stderr


def test_local_class_and_its_lambdas_work(tmp_path: Path) -> None:
    """What stands within a function goes there itself."""
    pytest.importorskip("cloudpickle")
    program = tmp_path / "program.py"
    program.write_text(
        "from kaygraph import Node\n"
        "def made(by):\n"
        "    class Local(Node):\n"
        "        times = staticmethod(lambda number: number * by)\n"
        "        def prep(self, shared): return lambda: 4\n"
        "        def exec(self, give): return self.times(give())\n"
        "        def post(self, shared, _, result): shared['result'] = result\n"
        "    return Local(run_in='process')\n"
        "if __name__ == '__main__':\n"
        "    made(3).run(shared := {})\n"
        "    print(shared['result'])\n"
    )
    done = python(program)
    assert (done.stdout, done.stderr) == ("12\n", "")


# --- how processes begin ---


def test_script_without_a_guard_gets_an_error_about_it(tmp_path: Path) -> None:
    """The process that imports it does not start processes in turn."""
    program = tmp_path / "program.py"
    program.write_text(
        "from kaygraph import Node\n"
        "class Works(Node):\n"
        "    def exec(self, _): return 1\n"
        "Works(run_in='process').run({})\n"
    )
    done = python(program)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2]
    assert "WorkerStartError: the worker process " in last
    assert "ended with exit code 1 before it had begun" in last
    assert "A script starts its run under: if __name__ == '__main__':" in last
    assert "put the run under if __name__ == '__main__':" in done.stderr


SLOW_TO_IMPORT = """
import os, sys, time
from pathlib import Path
from kaygraph import Node

if __name__ != "__main__":
    time.sleep(float(sys.argv[1]))

class Works(Node):
    def exec(self, seconds):
        time.sleep(seconds)
        return "done"
    def post(self, shared, _, result):
        print(result)
    def prep(self, shared):
        return float(sys.argv[2])

if __name__ == "__main__":
    settings = dict(zip(sys.argv[3::2], map(float, sys.argv[4::2])))
    try:
        Works(run_in="process", **settings).run({})
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("2 0 timeout 0.5", "done"),
        ("0 60 timeout 0.5", "AttemptTimeoutError exec of 'Works' ran longer than timeout=0.5 s"),
        ("600 0 start_timeout 0.5", "WorkerStartError the worker process"),
        ("600 0 deadline 0.5", "DeadlineExceededError"),
    ],
)
def test_start_of_a_process_is_no_part_of_the_attempt(
    arguments: str, said: str, tmp_path: Path
) -> None:
    """What it imports takes as long as it may; ``timeout`` counts from when exec begins."""
    program = tmp_path / "program.py"
    program.write_text(SLOW_TO_IMPORT)
    done = python(program, *arguments.split())
    assert done.stdout.startswith(said), done


# --- how they end ---

HANGS = """
import os, re, sys, time
from kaygraph import Node

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

class Hangs(Node):
    run_in = "process"

    def exec(self, how):
        say(os.getpid())
        if how == "python":
            while True:
                pass
        elif how == "native":  # holds the interpreter's lock
            re.match("(a+)+$", "a" * 60 + "b")
        elif how == "nested":
            Hangs().run("python")
        else:
            time.sleep(600)

    def prep(self, shared):
        return shared

if __name__ == "__main__":
    Hangs().run(sys.argv[1])
"""


@pytest.mark.parametrize("how", ["python", "native", "sleep", "nested"])
def test_process_ends_with_a_program_that_is_killed(how: str, tmp_path: Path) -> None:
    """At a SIGKILL, which the program cannot handle, and whatever exec does."""
    program = tmp_path / "program.py"
    program.write_text(HANGS)
    with child(sys.executable, program, how) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2 if how == "nested" else 1)]
        with ExitStack() as handles:
            opened = [handles.enter_context(Handle(pid)) for pid in pids]
            os.kill(parent.pid, signal.SIGKILL)
            assert all(handle.ended() for handle in opened)


class Handle:
    """A process by its pid; it is killed when nobody looks any more."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)

    def ended(self) -> bool:
        return bool(select.select([self._handle], [], [], 20)[0])

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        os.close(self._handle)
