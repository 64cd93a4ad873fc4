"""A stage alone, on the session that ``spark-submit`` opened."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from jobs.work import Work
from quotaloop.errors import QuotaloopError
from quotaloop.marts.candidate import Candidate
from quotaloop.settings import load


def main(stage: Callable[[Work], Candidate | None], does: str | None) -> int:
    """Run the stage on ``--store``; the exit code of the command line."""
    parser = argparse.ArgumentParser(description=does)
    parser.add_argument("--store", help="where everything lies")
    options = parser.parse_args()
    try:
        work = Work(load(flags={"store": options.store}))
        with work.spark():
            made = stage(work)
    except QuotaloopError as error:
        sys.stderr.write(f"quotaloop: {error}\n")
        return error.exit_code
    if made is not None:
        sys.stdout.write(f"revision {made.revision}: {len(made.emit)} hours\n")
    return 0
