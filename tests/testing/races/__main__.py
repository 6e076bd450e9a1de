"""``python -m tests.testing.races [NAME ...]``: how soon the planted races are found.

For each race: how many seeds it takes until one breaks it (the median over several ranges of
seeds, "-" where a range of 1,000 has none), and how many runs of the same program on asyncio's own
loop it takes ("-" where 1,000 runs all pass). It takes some minutes.
"""

import argparse
import warnings
from statistics import median_low

from tests.testing.races.corpus import RACES
from tests.testing.races.measuring import SEEDS, first_run, first_seed, silence

warnings.simplefilter("ignore")  # broken programs leave coroutines behind

parser = argparse.ArgumentParser(prog="python -m tests.testing.races", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME")
parser.add_argument("--starts", type=int, default=5, help="ranges of seeds (5)")
parser.add_argument("--runs", type=int, default=1000, help="runs on asyncio's own loop (1000)")
options = parser.parse_args()

chosen = [race for race in RACES if not options.names or race.name in options.names]
ranges = [number * SEEDS for number in range(options.starts)]
print(f"{'race':36} {'seeds':>6} {'most':>6} {'runs':>6}")
missed, by_seeds, by_runs = 0, 0, 0
with silence():
    for race in chosen:
        found = sorted(first_seed(race.main, start) or SEEDS + 1 for start in ranges)
        run = first_run(race.main, options.runs)
        missed += sum(seed > SEEDS for seed in found)
        by_seeds += found[0] <= SEEDS
        by_runs += run is not None
        shown = [f"{seed if seed <= SEEDS else '-':>6}" for seed in (median_low(found), found[-1])]
        print(f"{race.name:36} {' '.join(shown)} {run or '-':>6}", flush=True)
total = len(chosen) * len(ranges)
print(f"{total - missed} of {total} ranges of {SEEDS:,} seeds find their race")
print(f"{by_seeds} of {len(chosen)} races are found by seeds, {by_runs} by {options.runs:,} runs")
