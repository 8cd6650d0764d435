"""Put twelve kinds of fault into small trainings of four architectures, and see what the monitor says of each.

A fault is found if its kind and its layer are named within three samples of the step at which it is put in; healthy
trainings must give no finding at all. Beside these, a fault that is taken away again and two at once. Exits with 1 if a
mark is missed.

    python scripts/check_monitor.py [--seeds 3] [--first-seed 0] [--only KIND] [--markdown]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import torch
from faults.nets import ARCHITECTURES
from faults.put import FAULTS
from faults.train import Outcome, healed, healthy, run_fault, two_at_once

FOUND, HEALTHY = 0.95, 24


def main() -> int:
    """Train, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds one of these, parted by commas")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    outcomes: list[Outcome] = []
    print(_row(["fault", *ARCHITECTURES, "also said"], arguments.markdown), flush=True)
    if arguments.markdown:
        print("|" + " --- |" * (len(ARCHITECTURES) + 2))
    for kind in [kind for kind in FAULTS if any(part in kind for part in arguments.only.split(","))]:
        cells, beside = [], Counter[str]()
        for architecture in ARCHITECTURES:
            each = [run_fault(kind, architecture, seed) for seed in seeds]
            outcomes += each
            cells.append(f"{sum(outcome.found for outcome in each)} of {len(each)}")
            beside.update(other for outcome in each for other in outcome.beside)
        also = ", ".join(f"{other} {count} ×" for other, count in beside.most_common())
        print(_row([kind, *cells, also], arguments.markdown), flush=True)
    for outcome in outcomes:
        if not outcome.found:
            print(f"  not found: {outcome.said}", file=sys.stderr)
    share = sum(outcome.found for outcome in outcomes) / max(1, len(outcomes))
    print(f"\n{share:.1%} of {len(outcomes)} faults found with the right kind and layer (mark {FOUND:.0%})")
    if arguments.only:
        return int(share < FOUND)
    alarms = [alarm for alarm in healthy(arguments.first_seed) if alarm]
    for alarm in alarms:
        print(f"  false alarm: {alarm}", file=sys.stderr)
    print(f"{len(alarms)} of {HEALTHY} healthy trainings with a finding (mark 0)")
    back = [healed(architecture, arguments.first_seed) for architecture in ARCHITECTURES]
    both = [two_at_once(architecture, arguments.first_seed) for architecture in ARCHITECTURES]
    print(f"a fault that is taken away: {sum(back)} of {len(back)} appear and disappear")
    print(f"two at once: both found in {sum(both)} of {len(both)}")
    print(f"{time.perf_counter() - begun:.0f} s")
    return int(share < FOUND or bool(alarms) or not all(back) or not all(both))


def _row(cells: list[str], markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(cells)} |"
    return "  ".join([cells[0].ljust(22), *(cell.ljust(12) for cell in cells[1:])])


if __name__ == "__main__":
    sys.exit(main())
