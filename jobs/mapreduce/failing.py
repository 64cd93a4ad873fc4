"""Why a recount failed: one line, as the error whose exit code fits."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mrjob.step import StepFailedException

from quotaloop.errors import QuotaloopError, ServiceUnreachable

_UNREACHABLE = re.compile(r"\b(?:Connect|ConnectTimeout|NoRouteToHost|SocketTimeout|UnknownHost)Exception\b")
_LAUNCHING = re.compile(r"^\s*(Error [Ll]aunching job.*)$", re.MULTILINE)
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$", re.MULTILINE)


@contextmanager
def listening() -> Iterator[list[str]]:
    """What mrjob and ``hadoop jar`` report as errors, line by line; nothing of it gets to the terminal."""
    heard: list[str] = []
    logger = logging.getLogger("mrjob")
    handler = _Listener(heard)
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(record.getMessage())


def failure(error: StepFailedException, scratch: Path, heard: Sequence[str]) -> QuotaloopError:
    """What to raise for a step that failed, whose local files lie in ``scratch``."""
    said = "\n".join(heard)
    launching = _LAUNCHING.search(said)
    if launching and _UNREACHABLE.search(said):
        return ServiceUnreachable(f"the recount cannot be started on YARN: {launching[1]}")
    cause = _of_a_task(error, scratch) or _raised(said) or (launching and launching[1]) or " ".join(str(error).split())
    return QuotaloopError(f"the recount failed: {_place(error)}: {cause}")


def _place(error: StepFailedException) -> str:
    task, number = getattr(error, "task_type", None), getattr(error, "task_num", None)
    return f"{task} {number} of step {error.step_num + 1}" if task else "a task"


def _of_a_task(error: StepFailedException, scratch: Path) -> str | None:
    """What the failed task raised, if it ran on this machine."""
    task, number = getattr(error, "task_type", None), getattr(error, "task_num", None)
    for log in sorted(scratch.glob(f"**/{task or '*'}/{number or 0:05d}/stderr")):
        if raised := _raised(log.read_text("utf-8", "replace")):
            return raised
    return None


def _raised(text: str) -> str | None:
    """The last line of a traceback."""
    _, found, trace = text.rpartition("Traceback (most recent call last):\n")
    raised = _RAISED.search(trace)
    return raised[0] if found and raised else None
