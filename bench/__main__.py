"""``python -m bench``: measure, write ``bench/results.json``, show it in ``docs/performance.md``.

``evaluate`` says how good limits are, not how fast: it has a file and a page of its own, for whatever machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from bench.data import ROOT, Data, generated
from bench.machine import machine, versions
from bench.measurements import (
    edge,
    evaluate,
    growth,
    increment,
    landing,
    limiter,
    parse,
    quantiles,
    recount,
    replay,
    tables,
    yarn,
)
from bench.page import between, render
from bench.results import Results, Row, merged, read, write

LINES, ROUNDS = 4_000_000, 3
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
EVALUATION = ROOT / "bench" / "evaluation.json"
EVALUATION_PAGE = ROOT / "docs" / "evaluation.md"
MEASUREMENTS: dict[str, Callable[[Data, int], list[Row]]] = {
    "land": landing.measure,
    "parse": parse.measure,
    "tables": tables.measure,
    "recount": recount.measure,
    "increment": increment.measure,
    "quantiles": quantiles.measure,
    "yarn": yarn.measure,
    "limiter": limiter.measure,
    "edge": edge.measure,
    "replay": replay.measure,
}
GROWTH = "growth"  # the only one that also tells of stages
EVALUATE = "evaluate"


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for; rows that are not measured stay, if they are of the same size and machine."""
    options = _options(arguments)
    if not options.render and options.only != EVALUATE:
        results = _measured(options)
        before = read(RESULTS) if options.only and RESULTS.exists() else None
        write(merged(before, results), RESULTS)
    if not options.render and options.only in (None, EVALUATE):
        print(f"{EVALUATE} ...", file=sys.stderr, flush=True)
        evaluate.write(evaluate.measure(), EVALUATION)
    render(read(RESULTS), PAGE)
    between(evaluate.tables(evaluate.read(EVALUATION)), EVALUATION_PAGE)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure quotaloop beside yardsticks.")
    parser.add_argument(
        "--lines", type=int, default=LINES, help="default: %(default)s; growth also takes a quarter and four times that"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="runs of each side, in turn, but for growth; default: %(default)s"
    )
    parser.add_argument("--only", choices=[*MEASUREMENTS, GROWTH, EVALUATE], help="one measurement; other rows stay")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page from the results again")
    options = parser.parse_args(arguments)
    if options.lines < 1000 or options.rounds < 1:
        parser.error("at least 1000 lines and 1 round")
    return options


def _measured(options: argparse.Namespace) -> Results:
    data = generated(options.lines)
    results = Results(_command(options), machine(), versions(), [], [])
    for name in [options.only] if options.only else [*MEASUREMENTS, GROWTH]:
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        if name == GROWTH:
            rows, stages = growth.measure(data)
            results.stages.extend(stages)
        else:
            rows = MEASUREMENTS[name](data, options.rounds)
        results.rows.extend(rows)
        for row in rows:
            print(f"  {row.name}: {row.value.median:.4g} {row.unit}, target {row.target}", file=sys.stderr)
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return results


def _command(options: argparse.Namespace) -> str:
    lines = f" --lines {options.lines}" if options.lines != LINES else ""
    return f"python -m bench{lines}" + (f" --rounds {options.rounds}" if options.rounds != ROUNDS else "")


if __name__ == "__main__":
    main()
