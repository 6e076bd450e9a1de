"""``python -m benchmarks [--smoke] [NAME ...]``: run them all, or those named."""

import argparse
from collections.abc import Callable

from benchmarks import (
    auto_limit,
    w1_chain,
    w3_fan_out,
    w3_task_per_item,
    w4_diamond,
    w6_stream,
    w7_import,
    w8_planning,
)
from benchmarks.harness import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="W1 W2 W3 W3s W3t W4 W5 W6 W8 …")
    parser.add_argument("--smoke", action="store_true", help="small sizes: does it work?")
    options = parser.parse_args()
    size = 10 if options.smoke else 1
    suspended = w3_fan_out.Suspended()
    benchmarks: dict[str, Callable[[], None]] = {
        "W1": lambda: run(lambda: w1_chain.chain(50_000 // size)),
        "W2": lambda: run(lambda: w1_chain.loop(50_000 // size)),
        "W3": lambda: run(
            lambda: w3_fan_out.fan_out(
                10_000 // size, w3_fan_out.Items(), "W3", "items that do nothing", "<= 4"
            )
        ),
        "W3s": lambda: run(
            lambda: w3_fan_out.fan_out(
                10_000 // size, suspended, "W3s", "items that suspend once", "<= 1.5"
            )
        ),
        "W4": lambda: run(lambda: w4_diamond.diamond(10_400 // size)),
        "W4w": lambda: run(lambda: w4_diamond.writing(10_400 // size, 50, 0, "W4w")),
        "W4w-keys": lambda: run(lambda: w4_diamond.writing(10_400 // size, 50, 10_000, "W4w-keys")),
        "W4w-10": lambda: run(lambda: w4_diamond.writing(10_400 // size, 10, 0, "W4w-10")),
        "W4w-wide": lambda: run(
            lambda: w4_diamond.writing(10_000 // size, 10_000 // size, 0, "W4w-wide")
        ),
        "W5": lambda: run(lambda: w3_fan_out.sleepers(2_000)),
        "W6": lambda: run(lambda: w6_stream.stream(100_000 // size)),
        "W6y": lambda: run(
            lambda: w6_stream.one_to_many(
                400_000 // size, w6_stream.Many(), "W6y", "values that one item yields", "<= 5"
            )
        ),
        "W6y-thread": lambda: run(
            lambda: w6_stream.one_to_many(
                400_000 // size,
                w6_stream.ManyInThread(),
                "W6y-thread",
                "the same from a thread",
                "<= 12",
            )
        ),
        "W7": lambda: w7_import.importing(9 // min(size, 3)),
        "W8": lambda: run(lambda: w8_planning.planning(10_000 // size)),
        "W8r": lambda: run(lambda: w8_planning.rerun(500 // size, 1000 // size)),
        "auto": lambda: auto_limit.simulated(size),
        "auto-http": lambda: auto_limit.real(size),
        "W3t": lambda: run(
            lambda: w3_task_per_item.fan_outs(
                10_000 // size, w3_fan_out.Items(), "W3t", "items that do nothing"
            )
        ),
        "W3ts": lambda: run(
            lambda: w3_task_per_item.fan_outs(
                10_000 // size, suspended, "W3ts", "items that suspend once"
            )
        ),
        "W3t-memory": lambda: w3_task_per_item.memory(100_000 // size),
        "memory-100k": lambda: w3_fan_out.memory(100_000 // size, "<= 10"),
        "memory-1M": lambda: w3_fan_out.memory(1_000_000 // size, "<= 60"),
    }
    for name in options.names or benchmarks:
        if name not in benchmarks:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(benchmarks)}")
        benchmarks[name]()


if __name__ == "__main__":
    main()
