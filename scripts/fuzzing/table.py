"""What was found, as text."""

from __future__ import annotations

from fuzzing.judge import Judge


def table(judge: Judge) -> str:
    """A row for each kind of comparison, then what was wrong, then what was refused."""
    kinds = sorted({*judge.counts, *judge.refused})
    width = max(map(len, [*kinds, "kind"]))
    lines = [f"{'kind':<{width}}  {'compared':>8}  {'wrong':>6}  {'refused':>7}  seeds"]
    for kind in kinds:
        wrong = judge.wrong.get(kind, [])
        seeds = sorted({seed for seed, _ in wrong})
        refused = sum(judge.refused.get(kind, {}).values())
        lines.append(
            f"{kind:<{width}}  {judge.counts[kind]:>8}  {len(wrong):>6}  {refused:>7}  {' '.join(map(str, seeds[:8]))}"
        )
    lines.append(f"{'all':<{width}}  {judge.counts.total():>8}  {sum(map(len, judge.wrong.values())):>6}")
    for kind, found in judge.wrong.items():
        lines += [f"wrong: {kind}: seed {seed}: {what}" for seed, what in found[:6]]
    for kind, said in judge.refused.items():
        lines += [f"refused: {kind}: {count} × {line}" for line, count in said.most_common(3)]
    return "\n".join(lines)
