"""``spark-submit --py-files CODE.zip submit_parse.py --store URL``: parse what has landed."""

from __future__ import annotations

import argparse
import sys

from jobs import stages
from jobs.work import Work
from quotaloop.errors import QuotaloopError
from quotaloop.settings import load


def main(arguments: list[str] | None = None) -> int:
    """Parse on the session that was submitted; the exit code of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", help="where everything lies")
    options = parser.parse_args(arguments)
    work = Work(load(flags={"store": options.store}))
    try:
        with work.spark():
            stages.parse(work)
    except QuotaloopError as error:
        sys.stderr.write(f"quotaloop: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
