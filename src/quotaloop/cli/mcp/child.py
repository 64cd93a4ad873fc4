"""A process that runs statements of clients one after another, and that the kernel ends with one that takes too long.

DuckDB looks for an interrupt between chunks of rows only, so nothing less ends a long call of one function.
A request is a line of JSON on standard input, its answer one on standard output; at the end of input it ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from quotaloop.cli.mcp.selecting import select
from quotaloop.errors import QuotaloopError
from quotaloop.settings import Settings


def main() -> None:
    """Answer until the server has gone, also while a statement runs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever else is printed goes to standard error
        for line in sys.stdin.buffer:
            threading.Thread(target=_write, args=(line, answers), daemon=True).start()
        os._exit(0)


def _write(line: bytes, answers: BinaryIO) -> None:
    answers.write(json.dumps(_answer(json.loads(line)), default=str).encode() + b"\n")
    answers.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """The document, or what kind of error was raised and what it says; of a crash the stack is on standard error."""
    from jobs.work import Work

    work = Work(Settings(**request["settings"]))
    timed = _mortal(request["timeout_s"])
    try:
        return {"document": select(work, request["statement"], max_rows=request["max_rows"], timed=timed)}
    except QuotaloopError as error:
        return {"error": type(error).__name__, "said": str(error)}
    except Exception:
        traceback.print_exc()
        return {"error": "crash", "said": "the statement's process crashed"}


@contextmanager
def _mortal(seconds: float) -> Iterator[None]:
    """End this process by SIGALRM, whatever it is doing, unless what is within ends first."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
