"""Put random networks through viztool, beside slow and plain oracles, and count what is wrong.

    python scripts/fuzz.py [--networks N | --seconds S] [--seed SEED] [--only SEED] [--check NAME]

Exits with 1 if anything is. `--only` runs one network again, and prints it.
"""

from __future__ import annotations

import os
import sys
import time
import warnings

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported: threads that spin while they wait cost a core

import click
from fuzzing.checks import CHECKS
from fuzzing.judge import Judge
from fuzzing.networks import make
from fuzzing.one_case import look
from fuzzing.table import table


@click.command(help=__doc__)
@click.option("--networks", default=0, help="How many; without end if 0 and no --seconds.")
@click.option("--seconds", default=0.0, help="Start no further network after so many.")
@click.option("--seed", default=0, help="Of the first network; the others follow.")
@click.option("--only", default=None, type=int, help="Run the network of this seed alone, and print it.")
@click.option("--check", "wanted", multiple=True, type=click.Choice(list(CHECKS)), help="Run these checks alone.")
def main(networks: int, seconds: float, seed: int, only: int | None, wanted: tuple[str, ...]) -> None:
    """Run, print, exit."""
    warnings.simplefilter("ignore")
    judge = Judge()
    start, done = time.perf_counter(), 0
    chosen = {name: CHECKS[name] for name in wanted or CHECKS}
    if only is not None:
        case = make(only)
        print(case.net, tuple(case.x.shape), case.x.dtype, sorted(case.traits), case.words, sep="\n")
        look(case, judge, chosen)
        done = 1
    else:
        if not networks and not seconds:
            networks = 100
        while (not networks or done < networks) and (not seconds or time.perf_counter() - start < seconds):
            look(make(seed + done), judge, chosen)
            done += 1
    print(table(judge))
    print(f"{done} networks from seed {seed if only is None else only}, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(judge.wrong))


if __name__ == "__main__":
    main()
