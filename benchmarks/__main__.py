"""``python -m benchmarks [NAME ...]``: measure all rows, or those named (B4 is B4 and B4-…)."""

import argparse
import sys
from collections.abc import Iterator

from benchmarks import (
    against,
    auto_limit,
    b01_def_nodes,
    b03_compat,
    b04_limits,
    b08_chain,
    b08_diamond,
    b08_fan_out,
    b09_parallel_stages,
    b10_csv,
    b11_sql,
    b12_http,
    b13_processes,
    b14_threads,
    b15_word_count,
    b16_rounds,
    b17_ready_made,
    c1_cluster,
    d1_journal,
    e2_page,
    e3_progress,
    e6_traces,
    e7_timeline,
    table,
    v1_drawing,
    w1_watching,
    w3_task_per_item,
    w6_stream,
    w7_import,
    w8_planning,
)
from benchmarks.harness import Benchmark, measured

MODULES = (
    b01_def_nodes,
    b03_compat,
    b04_limits,
    b08_chain,
    b08_fan_out,
    b08_diamond,
    b09_parallel_stages,
    b10_csv,
    b11_sql,
    b12_http,
    b13_processes,
    b14_threads,
    b15_word_count,
    b16_rounds,
    b17_ready_made,
    c1_cluster,
    d1_journal,
    e2_page,
    e3_progress,
    e6_traces,
    e7_timeline,
    v1_drawing,
    w1_watching,
    w3_task_per_item,
    w6_stream,
    w7_import,
    w8_planning,
    auto_limit,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="small sizes: does it work?")
    parser.add_argument("--peers", action="store_true", help="also those peers that are installed")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="for machines")
    shown.add_argument("--page", action="store_true", help="as the page docs/benchmarks.md")
    shown.add_argument("--against", metavar="COMMIT", help="this build and an older one")
    parser.add_argument("--exactly", action="store_true", help="no B4-… where B4 is named")
    options = parser.parse_args()

    found = list(chosen(options.names, 10 if options.smoke else 1, options.exactly, parser))
    if options.against is not None:
        if not against.is_commit(options.against):
            parser.error(f"no commit {options.against!r} here; give one that 'git log' shows")
        smoke = ["--smoke"] if options.smoke else []
        against.compare(options.against, [benchmark.name for benchmark in found], smoke)
        return
    in_lines = not (options.json or options.page)
    rows = []
    if in_lines:
        print(table.header())
    for benchmark in found:
        rows.append(measured(benchmark, options.peers))
        if in_lines:
            print(table.line(rows[-1]), flush=True)
    if options.json:
        print(table.as_json(rows))
    elif options.page:
        given = [argument for argument in sys.argv[1:] if argument != "--page"]
        print(table.as_page(rows, " ".join(["python -m benchmarks", *given])), end="")


def chosen(
    names: list[str], size: int, exactly: bool, parser: argparse.ArgumentParser
) -> Iterator[Benchmark]:
    """Yield the benchmarks of some names, or all, in the order of their numbers."""
    every = [case for module in MODULES for case in module.cases(size)]
    every.sort(key=lambda case: (case.name[0] != "B", number(case.name)))
    for name in names or [""]:
        found = [
            case
            for case in every
            if not name or case.name == name or (not exactly and case.name.startswith(f"{name}-"))
        ]
        if not found:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(c.name for c in every)}")
        yield from found


def number(name: str) -> int:
    """Return the number in a name: 4 for ``B4-suspends``."""
    digits = name.split("-")[0][1:].rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits.isdigit() else 0


if __name__ == "__main__":
    main()
