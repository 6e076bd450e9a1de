"""A script that runs in a process of its own and is sent signals."""

import signal
import subprocess
from pathlib import Path

from tests.children import LONGEST_S, left_of

SCRIPT = '''
import asyncio, multiprocessing, os, signal, sys, threading, time

def say(text):
    """Write a line in one piece: several processes write to this pipe, and a signal may come."""
    line = f"{text}\\n".encode()
    while line: line = line[os.write(1, line):]

if __name__ != "__main__": say("booting")  # a worker process, long before it works
from contextlib import suppress
from itertools import count
from math import inf
from kaygraph import BatchGraph, BatchNode, Graph, Node, ParallelBatchNode, Pipeline, RunInterrupted

class Shape(ParallelBatchNode):
    """Tells of each item that it has done, and in the end of all that it hands over."""
    max_workers = 4
    seconds = 0.01
    def prep(self, shared): return count()
    def post(self, shared, items, results): say(f"handed {results}")
    def done(self, item):
        say(f"done {item}")
        if item == 9: say("begun")
        moment.item()
        return item

class Async(Shape):
    async def exec(self, item):
        await asyncio.sleep(self.seconds)
        return self.done(item)

class Thread(Shape):
    def exec(self, item):
        time.sleep(self.seconds)
        return self.done(item)

class Process(Shape):
    run_in = "process"
    max_workers = 2
    def exec(self, item):
        time.sleep(0.05)
        say(f"done {item}")
        if item == 1: say("begun")
        return item

class PlainBatch(BatchNode):
    """In the calling thread, and never waits for anything."""
    def prep(self, shared): return count()
    def exec(self, item):
        time.sleep(0.01)
        return Shape.done(None, item)
    def post(self, shared, items, results): say(f"handed {results}")

class Plain(Node):
    def exec(self, _):
        say("begun")
        time.sleep(0.5)
        say("done 0")
        return [0]
    def post(self, shared, _, results): say(f"handed {results}")

class Endless(Async):
    """Its source has nothing more to give and does not end."""
    given = 10
    async def prep(self, shared):
        async def items():
            try:
                for item in range(self.given): yield item
                say("waits")
                await asyncio.sleep(1000)
            finally:
                say("closed")
        return items()

class Pass(ParallelBatchNode):
    def prep(self, shared): return count()
    async def exec(self, item): return item

class Last(Async):
    def post(self, shared, _, report): pass

class Stream(Pipeline):
    def __init__(self): super().__init__(Pass(), Pass(), Last(max_workers=2), buffer=4)
    def post(self, shared, _, results): say(f"handed {results}")

class Swallows(Async):
    """Makes a result of its cancellation."""
    quick = inf  # how many items do not wait for it
    async def exec(self, item):
        if item == self.quick + 3: say("begun")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(self.seconds if item < self.quick else 1000)
        return self.done(item)

class SwallowsLate(Swallows):
    quick = 5

class LastSwallows(SwallowsLate):
    def post(self, shared, _, report): pass

class Floods(Pass):
    """Fills the buffer behind it, and makes a result of its cancellation."""
    max_workers, ordered = 2, False
    async def exec(self, item):
        if item == 0:
            with suppress(asyncio.CancelledError): await asyncio.sleep(1000)
        return item

class SwallowingStream(Stream):
    def __init__(self): Pipeline.__init__(self, Pass(), Floods(), LastSwallows(), buffer=1)

class Rounds(BatchGraph):
    def __init__(self): super().__init__(Round() >> Round2(), max_workers=3)
    def prep(self, shared): return ({"number": number} for number in count())
    def post(self, shared, _, actions): say(f"handed {[int(action) for action in actions]}")

class Round(Node):
    async def exec(self, _): await asyncio.sleep(0.005)

class Round2(Round):
    def post(self, shared, _, result):
        Shape.done(None, self.params["number"])
        return str(self.params["number"])

class TriesAgain(Graph):
    """Fails, and is the way out of its own failure."""
    def __init__(self):
        fails = Fails()
        fails - "error" >> fails
        super().__init__(fails)

class Fails(Node):
    async def exec(self, _):
        await asyncio.sleep(0.01)
        say("begun")
        raise ValueError("broken")

# What does not end by itself, in so many ways.

class BlockedThread(Shape):
    def exec(self, item):
        if item == 1: say("begun")
        time.sleep(1000)

class BusyProcess(Process):
    def exec(self, item):
        if item == 1: say("begun")
        while True: pass

class LongFinally(Shape):
    async def exec(self, item):
        if item < 4: return self.done(item)
        if item == 6: say("begun")
        try: await asyncio.sleep(1000)
        finally:
            if sys.argv[2:] != ["0.2"]: await asyncio.sleep(1000)

class Prints(LongFinally):
    """As people do it, into the buffer of a file."""
    def done(self, item):
        print("done", item)
        moment.item()

class Blocked(Node):
    def exec(self, _):
        say("begun")
        time.sleep(1000)

class BlockedLoop(Node):
    def post(self, shared, _, __):
        say("begun")
        time.sleep(1000)

class BusyAndBlocked(Graph):
    """The loop is blocked, and cannot end the processes."""
    def __init__(self): super().__init__([BusyProcess(), BlocksLater()])

class BlocksLater(Node):
    async def exec(self, _):
        while not multiprocessing.active_children(): await asyncio.sleep(0)
    def post(self, shared, _, __):
        while True: time.sleep(0.01)

class BlockedBesidePool(ParallelBatchNode):
    """In one long call, while the run has threads of its own."""
    def prep(self, shared): return range(4)
    def exec(self, item): return item
    def post(self, shared, _, __):
        say("begun")
        time.sleep(1000)

class ReadLate(BlockedBesidePool):
    """The thread that reads signals still acts on the first one when the run has ended."""
    def post(self, shared, _, __):
        loop, read = asyncio.get_running_loop(), threading.Semaphore(0)
        class Slow:
            def write(self, text):
                read.release()
                while loop.is_running(): time.sleep(0.001)
                sys.stderr = sys.__stderr__
                sys.stderr.write(text)
        def send():
            stat = f"/proc/self/task/{threading.main_thread().native_id}/stat"
            while open(stat).read().rpartition(")")[2].split()[0] != "S": pass
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        sys.stderr = Slow()
        threading.Thread(target=send).start()
        read.acquire()

class BlockedEndless(Endless):
    given = 3
    def exec(self, item): time.sleep(1000)

class Never(Node):
    def prep(self, shared): say("never")

class Moment:
    """Sends this process the signals after so many items, or steps of the loop."""
    def __init__(self, after="", *numbers):
        self.kind, _, left = after.partition("=")
        self.left = int(left or -1)
        self.numbers = [int(number) for number in numbers]
    def item(self):
        if self.kind == "items": self.passed()
    def step(self):
        if self.kind != "steps": return
        self.passed()
        if self.left >= 0: asyncio.get_running_loop().call_soon(self.step)
    def passed(self):
        self.left -= 1
        if self.left == -1:
            for number in self.numbers: os.kill(os.getpid(), number)

class Counts(Node):
    def prep(self, shared): moment.step()

if __name__ == "__main__":
    moment = Moment(*sys.argv[3:])
    grace = float(sys.argv[2]) if sys.argv[2:] and sys.argv[2] else 10
    node = globals()[sys.argv[1]]()
    start = [Counts(), node >> Never()] if moment.kind == "steps" else node >> Never()
    try:
        Graph(start).run({}, grace=grace)
    except RunInterrupted as end:
        say(f"drained {end.drained}")
        if end.__cause__ is not None: say(f"cause {end.__cause__!r}")
        raise
    finally:
        left = [thread.name for thread in threading.enumerate() if "kaygraph-" in thread.name]
        if left: say(f"left {left}")
        say("end")
else:
    moment = None
'''


class Script:
    """The script at work."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.output, self.errors = process.stdout, process.stderr
        self.lines: list[str] = []
        self.notices: list[str] = []  # the lines shown after the first signal

    def until(self, text: str) -> None:
        """Wait until it prints a line."""
        for line in self.output:
            self.lines.append(line.strip())
            if line.strip() == text:
                return
        raise AssertionError(self.ended())

    def asleep(self) -> None:
        """Wait until its main thread waits for something."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "S":
            pass

    def ended(self) -> str:
        """Wait for its end, read what else it printed and return its errors; nothing is left.

        The lines shown after the first signal are not errors.
        """
        self.process.wait(LONGEST_S)
        assert left_of(self.process) == []
        self.lines += self.output.read().splitlines()
        errors = self.errors.read().splitlines(keepends=True)
        self.notices = [line for line in errors if line.startswith("stopping: ")]
        return "".join(line for line in errors if line not in self.notices)

    def numbers(self, word: str) -> list[int]:
        """The items of all lines that begin with a word."""
        found = [line.removeprefix(word) for line in self.lines if line.startswith(word)]
        return [int(number) for line in found for number in line.strip(" []").split(", ") if number]

    def checked(self, number: signal.Signals) -> None:
        """It ended as a drained run does: what was done is handed over once, and reported."""
        err = self.ended()
        assert (self.process.returncode, err) == (128 + number, ""), self.lines
        assert len(self.notices) == 1
        handed, done = self.numbers("handed"), self.numbers("done")
        assert self.lines[-2:] == ["drained True", "end"]
        assert "never" not in self.lines
        assert len(set(handed)) == len(handed)
        assert sorted(handed) == sorted(set(done))
